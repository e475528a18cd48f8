"""The letter that an endpoint was turned off, to the owners and administrators of its organisation.

Each gets it in the language of their account. Without a mail server the page of the endpoint, the
audit log and the overview say it alone.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from tokenmarket.accounts.letters import letter
from tokenmarket.core.roles import may
from tokenmarket.mail import Mail
from tokenmarket.store.database import Database
from tokenmarket.store.members import members_of
from tokenmarket.store.webhook_endpoints import EndpointRow


class OffLetters:
    """``base_url`` gives the address of the site, without a slash at the end."""

    def __init__(self, database: Database, mail: Mail, base_url: Callable[[], str]) -> None:
        self._database = database
        self._mail = mail
        self._base_url = base_url

    async def tell(self, endpoint: EndpointRow) -> None:
        """Hand the letters to the mail server, which is tried in the background."""
        if not self._mail.is_set:
            return
        async with self._database.read() as conn:
            found = await members_of(conn, endpoint.org_id)
        kind = "webhook_gone" if endpoint.disabled_reason == "gone" else "webhook_failing"
        host = urlsplit(endpoint.url).netloc
        path = f"/console/{endpoint.org_id}/webhooks/{endpoint.id}"
        for member in found:
            person = member.user
            if may(member.role, "settings") and person.disabled_at_s is None:
                link = f"{self._base_url()}/{person.language}{path}"
                self._mail.post(letter(kind, person.email, person.language, host=host, link=link))
