"""Terms, privacy, acceptable use, refunds: what the program does, and what the operator must add.

TokenMarket is run by whoever installed it; the law of that place is theirs to write. The pages say
truthfully how data and money are treated by the program.
"""

from __future__ import annotations

from starlette.responses import Response

from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import PUBLIC
from tokenmarket.web.site.visit import Visit

TOPICS = ("terms", "privacy", "acceptable-use", "refunds")


async def legal(visit: Visit) -> Response:
    """One of TOPICS."""
    topic = visit.params["topic"]
    if topic not in TOPICS:
        raise visit.not_found()
    return await visit.render("public/legal.html", topic=topic)


PAGES = [Page("/{lang}/legal/{topic}", legal, PUBLIC)]
