"""A real address for every page of the table, and who opens it.

A page whose path has a variable part needs a row in ``SAMPLES``: a function that finds or makes an
object of a running server and returns the value. A page without one fails ``test_all_pages.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.support import desk, paid_things
from tests.support.residents import invitation, one_time, sign_up_link, team
from tests.support.webhooks import webhook_with_delivery
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.table import PAGES

if TYPE_CHECKING:
    from tests.browser.conftest import Site

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")

# path of the table without "/{lang}" -> the values of its parts besides lang and org
SAMPLES: dict[str, Callable[[Site], dict[str, str]]] = {
    "/console/{org}/requests/{id}": lambda site: {"id": site.server.chat().request_id},
    "/console/{org}/requests/{id}/content": lambda site: {"id": site.server.chat().request_id},
    "/admin/requests/{id}": lambda site: {"id": site.server.chat().request_id},
    "/console/{org}/keys/{key}": lambda site: {"key": site.server.get("/key").json["id"]},
    "/console/{org}/webhooks/{endpoint}": lambda site: webhook_with_delivery(
        site.server.data, site.org_id
    ),
    "/console/{org}/webhooks/{endpoint}/deliveries/{delivery}": lambda site: webhook_with_delivery(
        site.server.data, site.org_id
    ),
    "/console/{org}/teams/{team}": lambda site: {
        "team": team(site.server.data, site.org_id, "Sample")
    },
    "/sign-up/{token}": lambda site: {"token": sign_up_link(site.server.data, "who@example.test")},
    "/invite/{token}": lambda site: {
        "token": invitation(site.server.data, site.org_id, "new@example.test", "developer")
    },
    "/welcome/{token}": lambda site: {"token": one_time(site.server.data, "welcome", "")},
    "/verify/{token}": lambda site: {
        "token": one_time(site.server.data, "verify", site.people["viewer"].user_id)
    },
    "/reset/{token}": lambda site: {
        "token": one_time(site.server.data, "reset", site.people["viewer"].user_id)
    },
    "/console/{org}/billing/top-up/{order}": lambda site: {
        "order": paid_things.waiting_order(site.server.data, site.org_id)
    },
    "/console/{org}/billing/top-up/{order}/test": lambda site: {
        "order": paid_things.waiting_order(site.server.data, site.org_id)
    },
    "/console/{org}/billing/invoices/{invoice}": lambda site: {
        "invoice": paid_things.invoice(site.server.data, site.org_id)
    },
    "/admin/codes/{batch}": lambda site: {"batch": paid_things.batch(site.server.data).row.id},
    "/models/{vendor}/{model:path}": lambda _site: {
        "vendor": "tokenmarket",
        "model": "sandbox-chat",
    },
    "/docs/{path:path}": lambda _site: {"path": "quickstart"},
    "/legal/{topic}": lambda _site: {"topic": "terms"},
    "/admin/providers/{name}": lambda _site: {"name": "deepseek"},
    "/admin/routes/{provider}/{model:path}": lambda _site: {
        "provider": "sandbox",
        "model": "sandbox-chat",
    },
    "/admin/prices/new/{provider}/{model:path}": lambda _site: {
        "provider": "sandbox",
        "model": "sandbox-chat",
    },
    "/admin/models/{model:path}": lambda _site: {"model": "DeepSeek-V4-pro"},
    "/admin/prices/versions/{change}": lambda site: {"change": desk.draft_price(site.server.data)},
    "/admin/groups/{group}": lambda site: {"group": desk.make_group(site.server.data, "sample")},
    "/admin/users/{user}": lambda site: {"user": site.people["viewer"].user_id},
    "/admin/reconcile/{run}": lambda site: {
        "run": desk.proof_with_difference(site.server.data),
    },
}
# Pages that answer something else than a page to everybody: redirects, files, one-time links.
NOT_SHOWN = frozenset(
    {
        "/llms.txt",
        "/{lang}/console",
        "/{lang}/console/{org}/playground",
        "/{lang}/console/{org}/requests/{id}/json",
        "/{lang}/console/{org}/usage/csv",
        "/{lang}/admin/requests/{id}/json",
        "/{lang}/console/{org}/billing/ledger.csv",
        "/{lang}/console/{org}/billing/invoices/{invoice}/csv",
        "/{lang}/console/{org}/billing/invoices/{invoice}/pdf",
        "/{lang}/currency/{code}",
    }
)


def shown() -> list[Page]:
    """Every page that is looked at: asked for with GET."""
    return [page for page in PAGES if "GET" in page.methods and page.path not in NOT_SHOWN]


def role_for(page: Page) -> str | None:
    """The person who may open it; None = nobody in particular."""
    if page.policy.kind == "public":
        return None
    return "operator" if page.policy.kind == "operator" else "owner"


def address(page: Page, site: Site) -> str:
    """The path without language, with every variable part filled in."""
    path = page.path.removeprefix("/{lang}") or "/"
    values = {"org": site.org_id}
    if set(_PARAMETER.findall(path)) - {"org"}:
        values |= SAMPLES[path](site)
    return _PARAMETER.sub(lambda found: values[found[1]], path)
