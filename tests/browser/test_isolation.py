"""Nobody reaches what is somebody else's: generated over all routes of the program.

Three tables are walked, so a new row is covered the moment it is there: the operations of the
public API, the endpoints of the management API, and the pages. Each row is asked by nobody, by
another organisation (for objects that really exist), and by roles that lack the permission. No
browser is needed; the server with its people is the one of the browser tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from tests.browser.addresses import SAMPLES, address
from tests.browser.conftest import Site
from tests.support import desk, paid_things
from tests.support.residents import ROLES, team
from tests.support.server import Answer, until
from tokenmarket.core.roles import PERMISSIONS, may
from tokenmarket.web.manage.endpoint import ANY, OPERATOR, PREFIX, Endpoint
from tokenmarket.web.manage.table import ENDPOINTS
from tokenmarket.web.openapi import document
from tokenmarket.web.openapi.operation import Operation
from tokenmarket.web.openapi.operations import OPERATIONS
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.table import PAGES

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


@pytest.fixture(scope="module")
def keys(site: Site) -> dict[str, str]:
    """API and management keys of the organisation ``demo`` and of another one, and operators'."""
    server = site.server
    made = {
        "other": server.create_key(org="other"),
        "other owner": server.run("manage-key", "create", "--org", "other")["key"],
        "operator": server.run("manage-key", "create")["key"],
    }
    for role in ROLES:
        one = server.run("manage-key", "create", "--org", "demo", "--role", role)
        made[role] = one["key"]
    return made


# --- the public API -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def objects(site: Site) -> dict[str, str]:
    """Ids of things that belong to ``demo``, by where their path begins."""
    server = site.server
    request = server.chat().request_id
    order = {"model": "sandbox-video", "prompt": "A", "seconds": 4, "size": "1280x720"}
    video = server.post("/videos", order).json["id"]
    until(lambda: server.get(f"/videos/{video}").json["status"] == "completed", "the video is made")
    return {"/api/v1/requests/": request, "/api/v1/generation": request, "/api/v1/video": video}


def object_of(row: Operation, objects: dict[str, str]) -> str:
    return next(found for start, found in objects.items() if row.path.startswith(start))


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.id)
def test_an_operation_needs_a_key(site: Site, row: Operation) -> None:
    path = _PARAMETER.sub("x", row.path)
    body = {} if row.method == "POST" else None
    answer = site.server.call(row.method, path, body, key=None)
    if row.public:
        assert answer.status in (200, 404)  # of a file only its signed address is known
    else:
        assert (answer.status, answer.json["error"]["code"]) == (401, "AUTH_001")


OF_OBJECTS = [row for row in OPERATIONS if "{id}" in row.path or row.id == "getGeneration"]


@pytest.mark.parametrize("row", OF_OBJECTS, ids=lambda row: row.id)
def test_an_object_is_its_organisations(
    site: Site, keys: dict[str, str], objects: dict[str, str], row: Operation
) -> None:
    found = object_of(row, objects)
    path = row.path.replace("{id}", found)
    if row.id == "getGeneration":
        path += f"?id={found}"
    body = {"prompt": "B"} if row.method == "POST" else None
    answer = site.server.call(row.method, path, body, key=keys["other"])
    assert (answer.status, answer.json["error"]["code"]) == (404, "REQUEST_004"), answer.body
    if row.method == "GET":  # it is there, and answers to whose it is
        assert site.server.call("GET", path).status == 200


def test_lists_hold_nothing_of_others(
    site: Site, keys: dict[str, str], objects: dict[str, str]
) -> None:
    listed = [row for row in OPERATIONS if row.method == "GET" and "{" not in row.path]
    for row in listed:
        if row.id != "getGeneration":
            answer = site.server.call("GET", row.path, key=keys["other"])
            assert answer.status == 200
            for found in objects.values():
                assert found.encode() not in answer.body, row.path


# --- the management API -------------------------------------------------------------------------

# path of a list in the table -> makes one object of ``demo`` and returns its id, for lists that are
# empty at first. Asked with the path that was found so far, and the owner's key.
MADE: dict[str, Callable[[Site, str, str], str]] = {
    "/requests": lambda site, _path, _key: site.server.chat().request_id,
    "/admin/requests": lambda site, _path, _key: site.server.chat().request_id,
    "/top-ups": lambda site, _path, _key: paid_things.waiting_order(site.server.data, site.org_id),
    "/invoices": lambda site, _path, _key: paid_things.invoice(site.server.data, site.org_id),
    "/webhooks": lambda site, path, key: posted(
        site, path, key, {"url": "https://receiver.example/in", "events": ["video.completed"]}
    ),
    "/invitations": lambda site, path, key: posted(
        site, path, key, {"email": "invited@example.test", "role": "viewer"}
    ),
    "/teams": lambda site, _path, _key: team(site.server.data, site.org_id, "Isolation"),
    "/admin/code-batches": lambda site, _path, _key: paid_things.batch(site.server.data).row.id,
    "/admin/price-changes": lambda site, _path, _key: desk.draft_price(site.server.data),
    "/admin/groups": lambda site, _path, _key: desk.make_group(site.server.data, "Isolation"),
    "/admin/proofs": lambda site, _path, _key: desk.proof_with_difference(site.server.data),
    "/admin/routes": lambda _site, _path, _key: "sandbox",
    "/admin/routes/{provider}": lambda _site, _path, _key: "sandbox-chat",
    "/teams/{id}/members": lambda site, path, key: joined(site, path, key),
    "/webhooks/{id}/deliveries": lambda site, path, key: posted(
        site, path.removesuffix("/deliveries") + "/test", key, {}
    ),
}


def posted(site: Site, path: str, key: str, body: dict[str, Any]) -> str:
    answer = site.server.call("POST", PREFIX + path, body, key=key)
    assert answer.status == 200, answer.body
    return answer.json["id"]


def joined(site: Site, path: str, key: str) -> str:
    """Somebody who is in the team of ``path``."""
    user_id = site.people["viewer"].user_id
    posted(site, path, key, {"user_id": user_id})
    return user_id


def managed(site: Site, row: Endpoint, key: str | None, path: str) -> Answer:
    body = {} if row.body is not None else None
    return site.server.call(row.method, PREFIX + path, body, key=key)


def whole_path(site: Site, keys: dict[str, str], row: Endpoint) -> str:
    """The path with ids of objects that exist: the first of the list that each stands in."""
    owner = keys["operator"] if row.policy == OPERATOR else keys["owner"]
    path = row.path
    for name in row.parameters:
        listed = path[: path.index(f"/{{{name}}}")]
        if (make := MADE.get(row.path[: row.path.index(f"/{{{name}}}")])) is not None:
            found = make(site, listed, owner)
        else:
            answer = site.server.call("GET", PREFIX + listed, key=owner)
            assert answer.status == 200, f"give {listed} a row in MADE: {answer.body!r}"
            data: list[dict[str, Any]] = answer.json["data"]
            assert data, f"give {listed} a row in MADE"
            found = next(str(data[0][key]) for key in ("id", "name", "user_id") if key in data[0])
        path = path.replace(f"{{{name}}}", found, 1)
    return path


def ids_of(row: Endpoint) -> str:
    return f"{row.method} {row.path}"


@pytest.mark.parametrize("row", ENDPOINTS, ids=ids_of)
def test_an_endpoint_needs_a_management_key(site: Site, row: Endpoint) -> None:
    """Keys of other kinds, of which an address may try 100 a minute: ``unit/web/manage``."""
    answer = managed(site, row, None, _PARAMETER.sub("x", row.path))
    assert (answer.status, answer.json["error"]["code"]) == (401, "AUTH_001")


@pytest.mark.parametrize("row", ENDPOINTS, ids=ids_of)
def test_an_endpoint_answers_no_lower_role(site: Site, keys: dict[str, str], row: Endpoint) -> None:
    assert row.policy in (*PERMISSIONS, OPERATOR, ANY)
    path = _PARAMETER.sub("x", row.path)
    refused = [
        role
        for role in (*ROLES, "operator")
        if row.policy != ANY
        and not (
            role == "operator"
            if row.policy == OPERATOR
            else role != "operator" and may(role, row.policy)
        )
    ]
    for role in refused:
        answer = managed(site, row, keys[role], path)
        assert (answer.status, answer.json["error"]["code"]) == (403, "AUTH_002"), role


@pytest.mark.parametrize("row", [row for row in ENDPOINTS if row.method == "GET"], ids=ids_of)
def test_what_can_be_read_is_as_described(site: Site, keys: dict[str, str], row: Endpoint) -> None:
    """And it can be read at all, by whose role it is."""
    key = keys["operator"] if row.policy == OPERATOR else keys["owner"]
    answer = managed(site, row, key, whole_path(site, keys, row))
    assert answer.status == 200, answer.body[:500]
    described = document.manage_document(ENDPOINTS)
    shown = described["paths"][PREFIX + row.path]["get"]["responses"]["200"]
    if row.file:
        assert answer.headers["content-type"].startswith(row.file)
        assert shown["content"][row.file]["schema"] == {"type": "string"}
        return
    schema = shown["content"]["application/json"]["schema"]
    rooted = {**schema, "components": described["components"]}
    jsonschema.Draft202012Validator(rooted).validate(answer.json)


@pytest.mark.parametrize(
    "row",
    [row for row in ENDPOINTS if row.parameters and row.policy != OPERATOR],
    ids=ids_of,
)
def test_an_endpoints_object_is_its_organisations(
    site: Site, keys: dict[str, str], row: Endpoint
) -> None:
    path = whole_path(site, keys, row)
    answer = managed(site, row, keys["other owner"], path)
    if row.body is None:
        assert answer.status == 404, (path, answer.body)
    else:  # an empty body may be refused before anything is looked up
        assert answer.status in (400, 404), (path, answer.body)
    assert "error" in answer.json


def test_a_file_is_the_pages_own(site: Site, keys: dict[str, str]) -> None:
    invoice = paid_things.invoice(site.server.data, site.org_id)
    for page_, endpoint in (
        ("usage/csv?range=7d&by=model", "/usage.csv?range=7d&group_by=model"),
        ("billing/ledger.csv?kind=topup", "/ledger.csv?kind=topup"),
        (f"billing/invoices/{invoice}/csv", f"/invoices/{invoice}/csv"),
    ):
        cookie = {"Cookie": f"tm_session={site.people['owner'].token}"}
        path = f"/en/console/{site.org_id}/{page_}"
        downloaded = site.server.call("GET", path, key=None, headers=cookie)
        got = site.server.call("GET", PREFIX + endpoint, key=keys["owner"])
        assert (downloaded.status, got.status) == (200, 200)
        assert downloaded.body == got.body, endpoint


# --- pages --------------------------------------------------------------------------------------


def name_of(page: Page) -> str:
    return f"{page.methods[0]} {page.path}"


CLOSED = [page for page in PAGES if page.policy.kind != "public"]
MEMBERS = [page for page in PAGES if page.policy.kind == "member"]
OBJECTS = [page for page in MEMBERS if set(_PARAMETER.findall(page.path)) - {"lang", "org"}]


def asked(
    site: Site, page: Page, role: str | None, *, path: str | None = None, method: str | None = None
) -> Answer:
    """The page as this person gets it, without following redirects."""
    token = {} if role is None else {"Cookie": f"tm_session={site.people[role].token}"}
    method = method or ("GET" if "GET" in page.methods else "POST")
    form = {"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}
    body = b"a=b" if method == "POST" else None
    where = f"/en{path or any_address(page, site)}"
    return site.server.call(method, where, body, key=None, headers={**token, **form})


def any_address(page: Page, site: Site) -> str:
    """A path of this shape, of an object that exists only where the test says so."""
    path = page.path.removeprefix("/{lang}").replace("{org}", site.org_id)
    return _PARAMETER.sub("x", path)


@pytest.mark.parametrize("page_", CLOSED, ids=name_of)
def test_a_page_wants_somebody_signed_in(site: Site, page_: Page) -> None:
    for method in page_.methods:
        answer = asked(site, page_, None, method=method)
        if method == "GET":
            assert answer.status == 303
            assert answer.headers["location"].startswith("/en/sign-in?next=")
        else:
            assert answer.status == 401


@pytest.mark.parametrize("page_", CLOSED, ids=name_of)
def test_a_form_without_its_token_is_refused(site: Site, page_: Page) -> None:
    if "POST" not in page_.methods:
        pytest.skip("no form")
    role = "operator" if page_.policy.kind == "operator" else "owner"
    answer = asked(site, page_, role, method="POST")
    # a fresh password is asked for first where it is wanted
    assert answer.status == 403 or (page_.step_up and answer.status == 303)


OPERATORS = [page for page in PAGES if page.policy.kind == "operator"]


@pytest.mark.skipif(not OPERATORS, reason="no pages for operators yet")
@pytest.mark.parametrize("page_", OPERATORS, ids=name_of)
def test_an_operators_page_is_not_there_for_others(site: Site, page_: Page) -> None:
    for role in ("owner", "stranger"):
        assert asked(site, page_, role).status == 404


@pytest.mark.parametrize("page_", MEMBERS, ids=name_of)
def test_an_organisations_page_is_not_there_for_strangers(site: Site, page_: Page) -> None:
    for method in page_.methods:
        for who in ("stranger", "operator"):
            assert asked(site, page_, who, method=method).status == 404, who


@pytest.mark.parametrize("page_", MEMBERS, ids=name_of)
def test_a_page_is_forbidden_to_lower_roles(site: Site, page_: Page) -> None:
    permission = page_.policy.permission
    assert permission is not None
    for role in ROLES:
        answer = asked(site, page_, role)
        assert (answer.status == 403) == (not may(role, permission)) or (
            "GET" not in page_.methods and answer.status == 403
        ), role


@pytest.mark.parametrize("page_", [page for page in OBJECTS if "GET" in page.methods], ids=name_of)
def test_an_object_has_no_page_in_another_organisation(site: Site, page_: Page) -> None:
    """Its real id, asked for by another organisation's owner in that organisation."""
    own = page_.path.removeprefix("/{lang}")
    if own not in SAMPLES:
        pytest.skip("not a page of an object")
    here = address(page_, site)
    other = other_org(site)
    answer = asked(site, page_, "stranger", path=here.replace(site.org_id, other))
    assert answer.status == 404, here


def other_org(site: Site) -> str:
    listed = site.server.run("org", "list")["data"]
    return next(org["id"] for org in listed if org["name"] == "other")
