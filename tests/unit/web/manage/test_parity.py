"""Everything that a page does has an endpoint of the management API, or a reason why not.

Three tables are held against the pages: what each form does, what each page of the console and of
the operator shows, and the actions that one form chooses between. A new page, form or action fails
here until it stands in them. An endpoint asks for the page's own permission.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

import tokenmarket.web
from tokenmarket.web.manage.endpoint import OPERATOR, Endpoint
from tokenmarket.web.manage.table import ENDPOINTS
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.table import PAGES


class Because(NamedTuple):
    """Why something has no endpoint."""

    reason: str


OWN = Because("a person's own matter: keys of the management API belong to organizations")
EYES = Because("a session of a person, in whose eyes an operator looks; nothing to manage")
PRETENDS = Because("the test provider's own page, which stands for another company's site")
PLAYS = Because("inference, which the public API is for; drafts stay in the browser")

# path of a page with a form -> what its form does -> the endpoint that does the same
WRITES: dict[str, Because | dict[str, str | Because]] = {
    "/sign-in": OWN,
    "/sign-out": OWN,
    "/sign-up/{token}": OWN,
    "/sign-up": OWN,
    "/invite/{token}": OWN,
    "/welcome/{token}": OWN,
    "/verify/{token}": OWN,
    "/forgot": OWN,
    "/reset/{token}": OWN,
    "/account/confirm": OWN,
    "/account/profile": OWN,
    "/account/preferences": OWN,
    "/account/security/password": OWN,
    "/account/security/sessions": OWN,
    "/account/security/two-factor": OWN,
    "/console/new": OWN,
    "/console/{org}/keys/new": {"make": "POST /keys"},
    "/console/{org}/keys/{key}": {"change": "PATCH /keys/{id}"},
    "/console/{org}/keys/{key}/roll": {"roll": "POST /keys/{id}/roll"},
    "/console/{org}/keys/{key}/disable": {"disable": "DELETE /keys/{id}"},
    "/console/{org}/members": {
        "role": "PATCH /members/{id}",
        "remove": "DELETE /members/{id}",
        "revoke": "DELETE /invitations/{id}",
    },
    "/console/{org}/members/invite": {"invite": "POST /invitations"},
    "/console/{org}/leave": OWN,
    "/console/{org}/teams/new": {"make": "POST /teams"},
    "/console/{org}/teams/{team}": {"change": "PATCH /teams/{id}"},
    "/console/{org}/teams/{team}/people": {
        "in": "POST /teams/{id}/members",
        "out": "DELETE /teams/{id}/members/{user_id}",
    },
    "/console/{org}/teams/{team}/remove": {"remove": "DELETE /teams/{id}"},
    "/console/{org}/settings": {"change": "PATCH /organization"},
    "/console/{org}/settings/contents": {"switch": "PUT /organization/content"},
    "/console/{org}/requests/{id}/content/delete": {"delete": "DELETE /requests/{id}/content"},
    "/console/{org}/settings/api/new": {"make": "POST /management-keys"},
    "/console/{org}/settings/api/{key}/disable": {"disable": "DELETE /management-keys/{id}"},
    "/console/{org}/billing/redeem": {"redeem": "POST /redeem"},
    "/console/{org}/billing/alerts": {"set": "PUT /balance-alert"},
    "/console/{org}/billing/alerts/remove": {"remove": "DELETE /balance-alert"},
    "/console/{org}/billing/top-up": {"order": "POST /top-ups"},
    "/console/{org}/billing/top-up/{order}/check": {"ask": "GET /top-ups/{id}"},
    "/console/{org}/billing/top-up/{order}/test": PRETENDS,
    "/console/{org}/billing/invoices": {"change": "PUT /billing-details"},
    "/console/{org}/billing/invoices/{invoice}/fapiao": {"ask": "POST /invoices/{id}/tax-invoice"},
    "/console/{org}/webhooks/new": {"make": "POST /webhooks"},
    "/console/{org}/webhooks/callback-secret": {"make": "POST /video-callbacks/secret"},
    "/console/{org}/webhooks/{endpoint}": {"change": "PATCH /webhooks/{id}"},
    "/console/{org}/webhooks/{endpoint}/turn": {"on or off": "PATCH /webhooks/{id}"},
    "/console/{org}/webhooks/{endpoint}/rotate": {"rotate": "POST /webhooks/{id}/rotate"},
    "/console/{org}/webhooks/{endpoint}/test": {"send": "POST /webhooks/{id}/test"},
    "/console/{org}/webhooks/{endpoint}/delete": {"delete": "DELETE /webhooks/{id}"},
    "/console/{org}/webhooks/{endpoint}/deliveries/{delivery}/resend": {
        "resend": "POST /webhooks/{id}/deliveries/{delivery_id}/resend"
    },
    "/admin/settings/api/new": {"make": "POST /admin/management-keys"},
    "/admin/settings/api/{key}/disable": {"disable": "DELETE /admin/management-keys/{id}"},
    "/admin/codes/new": {"make": "POST /admin/code-batches"},
    "/admin/codes/{batch}/disable": {"disable": "DELETE /admin/code-batches/{id}"},
    "/admin/invoices/{request}": {"answer": "POST /admin/tax-invoices/{id}/answer"},
    "/admin/orgs/{org}/credit": {"book": "POST /admin/organizations/{id}/adjustments"},
    "/admin/providers/new": {"make": "PUT /admin/providers/{name}"},
    "/admin/providers/{name}": {
        "test": "POST /admin/providers/{name}/test",
        "save": "PUT /admin/providers/{name}",
        "enable": "PUT /admin/providers/{name}",
        "disable": "PUT /admin/providers/{name}",
        "reset": "DELETE /admin/cool-downs/{provider}",
        "shipped": "DELETE /admin/providers/{name}",
        "add_key": "POST /admin/providers/{name}/keys",
        "remove_key": "DELETE /admin/providers/{name}/keys/{key}",
        "add_route": "PUT /admin/routes/{provider}/{model}",
    },
    "/admin/routes/{provider}/{model:path}": {
        "save": "PUT /admin/routes/{provider}/{model}",
        "reset": "DELETE /admin/cool-downs/{provider}/{model}",
        "shipped": "DELETE /admin/routes/{provider}/{model}",
    },
    "/admin/models/{model:path}": {
        "save": "PATCH /admin/models/{model}",
        "shipped": "DELETE /admin/models/{model}",
    },
    "/admin/prices/new/{provider}/{model:path}": {"draft": "POST /admin/price-changes"},
    "/admin/prices/versions/{change}": {
        "schedule": "POST /admin/price-changes/{change}/schedule",
        "cancel": "POST /admin/price-changes/{change}/cancel",
    },
    "/admin/groups/new": {"make": "POST /admin/groups"},
    "/admin/groups/{group}": {
        "save": "PUT /admin/groups/{group}",
        "remove": "DELETE /admin/groups/{group}",
    },
    "/admin/orgs/{org}": {
        "suspend": "PATCH /admin/organizations/{organization}",
        "restore": "PATCH /admin/organizations/{organization}",
        "limits": "PATCH /admin/organizations/{organization}",
        "group": "PATCH /admin/organizations/{organization}",
        "tax": "PUT /admin/organizations/{organization}/tax",
    },
    "/admin/users/{user}": {
        "suspend": "PATCH /admin/users/{user}",
        "restore": "PATCH /admin/users/{user}",
        "operator": "PATCH /admin/users/{user}",
        "no_operator": "PATCH /admin/users/{user}",
    },
    "/admin/users/{user}/look": EYES,
    "/admin/announcements": {"announce": "POST /admin/announcements"},
    "/admin/announcements/{announcement}/withdraw": {
        "withdraw": "DELETE /admin/announcements/{announcement}"
    },
    "/admin/reconcile": {"prove": "POST /admin/proofs"},
    "/admin/settings": {"rate": "PATCH /admin/settings", "people": "PATCH /admin/settings"},
}

# page of an organization or of the operator -> where a program reads the same
READS: dict[str, Because | tuple[str, ...]] = {
    "/console": OWN,
    "/console/new": OWN,
    "/console/{org}": ("/usage", "/requests", "/balance", "/balance-alert"),
    "/console/{org}/keys": ("/keys",),
    "/console/{org}/keys/new": ("/keys",),
    "/console/{org}/keys/{key}": ("/keys/{id}",),
    "/console/{org}/members": ("/members", "/invitations"),
    "/console/{org}/members/invite": ("/invitations",),
    "/console/{org}/teams": ("/teams",),
    "/console/{org}/teams/new": ("/teams",),
    "/console/{org}/teams/{team}": ("/teams/{id}",),
    "/console/{org}/settings": ("/organization",),
    "/console/{org}/settings/contents": ("/organization/content",),
    "/console/{org}/audit": ("/audit",),
    "/console/{org}/settings/api": ("/management-keys",),
    "/console/{org}/settings/api/new": ("/management-keys",),
    "/console/{org}/playground": PLAYS,
    "/console/{org}/playground/chat": PLAYS,
    "/console/{org}/playground/image": PLAYS,
    "/console/{org}/playground/audio": PLAYS,
    "/console/{org}/playground/video": PLAYS,
    "/console/{org}/playground/rerank": PLAYS,
    "/console/{org}/playground/embeddings": PLAYS,
    "/console/{org}/billing": ("/balance", "/top-ups"),
    "/console/{org}/billing/ledger": ("/ledger",),
    "/console/{org}/billing/ledger.csv": ("/ledger.csv",),
    "/console/{org}/billing/redeem": ("/redeemed",),
    "/console/{org}/billing/alerts": ("/balance-alert",),
    "/console/{org}/billing/top-up": ("/top-up-options",),
    "/console/{org}/billing/top-up/{order}": ("/top-ups/{id}",),
    "/console/{org}/billing/top-up/{order}/test": PRETENDS,
    "/console/{org}/billing/invoices": ("/invoices", "/billing-details"),
    "/console/{org}/billing/invoices/{invoice}": ("/invoices/{id}", "/invoices/{id}/tax-invoices"),
    "/console/{org}/billing/invoices/{invoice}/pdf": ("/invoices/{id}/pdf",),
    "/console/{org}/billing/invoices/{invoice}/csv": ("/invoices/{id}/csv",),
    "/console/{org}/webhooks": ("/webhooks", "/video-callbacks"),
    "/console/{org}/webhooks/new": ("/webhooks",),
    "/console/{org}/webhooks/{endpoint}": ("/webhooks/{id}", "/webhooks/{id}/deliveries"),
    "/console/{org}/webhooks/{endpoint}/deliveries/{delivery}": (
        "/webhooks/{id}/deliveries/{delivery_id}",
    ),
    "/console/{org}/requests": ("/requests",),
    "/console/{org}/requests/{id}": ("/requests/{id}",),
    "/console/{org}/requests/{id}/json": ("/requests/{id}",),
    "/console/{org}/requests/{id}/content": ("/requests/{id}/content",),
    "/console/{org}/usage": ("/usage",),
    "/console/{org}/usage/csv": ("/usage.csv",),
    "/admin": ("/admin/health", "/admin/price-changes"),
    "/admin/settings/api": ("/admin/management-keys",),
    "/admin/settings/api/new": ("/admin/management-keys",),
    "/admin/codes": ("/admin/code-batches",),
    "/admin/codes/new": ("/admin/code-batches",),
    "/admin/codes/{batch}": ("/admin/code-batches/{id}",),
    "/admin/invoices": ("/admin/tax-invoices",),
    "/admin/orgs/{org}/credit": ("/admin/organizations/{organization}", "/admin/ledger"),
    "/admin/providers": ("/admin/providers",),
    "/admin/providers/new": ("/admin/providers",),
    "/admin/providers/{name}": ("/admin/providers/{name}", "/admin/routes"),
    "/admin/routes": ("/admin/routes", "/admin/cool-downs"),
    "/admin/routes/{provider}/{model:path}": (
        "/admin/routes/{provider}/{model}",
        "/admin/price-changes",
    ),
    "/admin/models": ("/admin/models",),
    "/admin/models/{model:path}": ("/admin/models/{model}",),
    "/admin/prices": ("/admin/price-changes",),
    "/admin/prices/new/{provider}/{model:path}": ("/admin/routes/{provider}/{model}",),
    "/admin/prices/versions/{change}": ("/admin/price-changes/{change}",),
    "/admin/groups": ("/admin/groups",),
    "/admin/groups/new": ("/admin/groups",),
    "/admin/groups/{group}": ("/admin/groups/{group}", "/admin/organizations"),
    "/admin/orgs": ("/admin/organizations",),
    "/admin/orgs/{org}": ("/admin/organizations/{organization}", "/admin/audit"),
    "/admin/users": ("/admin/users",),
    "/admin/users/{user}": ("/admin/users/{user}", "/admin/audit"),
    "/admin/announcements": ("/admin/announcements",),
    "/admin/reconcile": ("/admin/proofs", "/admin/proof-state", "/admin/provider-costs"),
    "/admin/reconcile/{run}": ("/admin/proofs/{id}",),
    "/admin/settings": ("/admin/settings",),
    "/admin/audit": ("/admin/audit", "/admin/audit-check"),
    "/admin/requests": ("/admin/requests",),
    "/admin/requests/{id}": ("/admin/requests/{id}",),
    "/admin/requests/{id}/json": ("/admin/requests/{id}",),
    "/admin/ledger": ("/admin/ledger",),
}

# template in which forms choose an ``action`` -> the page that takes them
CHOOSING = {
    "admin/provider.html": "/admin/providers/{name}",
    "admin/route.html": "/admin/routes/{provider}/{model:path}",
    "admin/model.html": "/admin/models/{model:path}",
    "admin/price.html": "/admin/prices/versions/{change}",
    "admin/group.html": "/admin/groups/{group}",
    "admin/org.html": "/admin/orgs/{org}",
    "admin/user.html": "/admin/users/{user}",
    "admin/settings.html": "/admin/settings",
}
_CHOICE = re.compile(r'name="action" value="(\w+)"|\bact\("(\w+)"|"action": "(\w+)"')
# permissions of pages that show more than their one endpoint does
WIDER = {"/console/{org}/teams", "/console/{org}/teams/new", "/console/{org}/teams/{team}"}


def path_of(page: Page) -> str:
    return page.path.removeprefix("/{lang}")


WITH_FORM = [page for page in PAGES if "POST" in page.methods]
READ = [
    page
    for page in PAGES
    if "GET" in page.methods and path_of(page).split("/")[1] in ("console", "admin")
]
BY_NAME: dict[str, Endpoint] = {f"{row.method} {row.path}": row for row in ENDPOINTS}


def asks_the_same(page: Page, endpoint: Endpoint) -> bool:
    if page.policy.kind == "operator":
        return endpoint.policy == OPERATOR
    return endpoint.policy == page.policy.permission


@pytest.mark.parametrize("page", WITH_FORM, ids=path_of)
def test_a_form_has_an_endpoint(page: Page) -> None:
    named = WRITES.get(path_of(page))
    assert named is not None, "give this form its endpoint in WRITES, or say why it has none"
    if isinstance(named, Because):
        return
    for action, name in named.items():
        if isinstance(name, str):
            assert name in BY_NAME, (action, name)
            # asking a payment provider changes nothing that is ours to permit
            assert asks_the_same(page, BY_NAME[name]) or name.startswith("GET "), (action, name)


@pytest.mark.parametrize("page", READ, ids=path_of)
def test_a_page_has_an_endpoint(page: Page) -> None:
    named = READS.get(path_of(page))
    assert named is not None, "say in READS where a program reads this, or why nowhere"
    if isinstance(named, Because):
        return
    endpoints = [BY_NAME[f"GET {name}"] for name in named]
    if path_of(page) not in WIDER and "POST" not in page.methods:
        assert any(asks_the_same(page, one) for one in endpoints)


def test_the_tables_name_no_page_that_is_gone() -> None:
    assert set(WRITES) == {path_of(page) for page in WITH_FORM}
    assert set(READS) == {path_of(page) for page in READ}


def test_every_action_of_a_form_stands_in_the_table() -> None:
    folder = Path(tokenmarket.web.__file__).parent / "templates"
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*.html")):
        choices = {one for groups in _CHOICE.findall(path.read_text()) for one in groups if one}
        if choices:
            found[path.relative_to(folder).as_posix()] = choices
    assert set(found) == set(CHOOSING)
    for template, choices in found.items():
        named = WRITES[CHOOSING[template]]
        assert isinstance(named, dict)
        assert choices <= set(named), template
