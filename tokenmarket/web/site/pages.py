"""The rows of the page table, and what happens before and after every handler.

    session -> policy -> form and CSRF -> handler -> headers, cookies, compression, one log line

A stranger to an organisation gets 404, a member whose role is too low 403, somebody not signed in
is sent to sign in. While an operator looks through somebody's eyes, nothing can be changed.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from tokenmarket.core.roles import may
from tokenmarket.web.site.cookies import LAST_ORG, same
from tokenmarket.web.site.policy import Policy
from tokenmarket.web.site.visit import Answered, Visit, csp, headers_of

if TYPE_CHECKING:
    from tokenmarket.web.site.site import Site

Handler = Callable[[Visit], Awaitable[Response]]

FORM_BYTES_MAX = 1_000_000
FORM_FIELDS_MAX = 1_000
STEP_UP_US = 600 * 1_000_000
_WHILE_IMPERSONATING = "/sign-out"


class Page(NamedTuple):
    """One row. ``path`` begins with ``/{lang}``; ``step_up``: a fresh password is asked for."""

    path: str
    handler: Handler
    policy: Policy
    methods: tuple[str, ...] = ("GET",)
    step_up: bool = False


async def serve(site: Site, page: Page, request: Request) -> Response:
    """Answer one request for a page; raises nothing."""
    visit = Visit(site, request, request.path_params.get("lang", "en"))
    try:
        response = await _answer(visit, page)
    except Answered as answered:
        response = await _failure(visit, answered.status)
    except Exception as error:
        site.parts.telemetry.crash(visit.request_id, error)
        response = await _failure(visit, 500)
    await _finish(visit, response)
    log = site.parts.telemetry.log
    log.write(
        "info",
        "page",
        id=visit.request_id,
        path=page.path,
        method=request.method,
        status=response.status_code,
        ms=(site.parts.clock.wall_us() - visit.now_us) // 1000,
    )
    return response


async def _answer(visit: Visit, page: Page) -> Response:
    await _identify(visit)
    refused = await _allow(visit, page)
    if refused is not None:
        return refused
    if visit.request.method == "POST":
        await _read_form(visit)
        looking = visit.session is not None and visit.session.impersonator is not None
        if looking and not page.path.endswith(_WHILE_IMPERSONATING):
            raise visit.forbidden()
    await visit.site.fill_frame(visit)
    return await page.handler(visit)


async def _identify(visit: Visit) -> None:
    site = visit.site
    token = site.cookies.session_token(visit.request)
    if token:
        visit.session = await site.parts.sessions.find(token)
    if visit.session is not None:
        visit.user = visit.session.user
        visit.csrf = visit.session.csrf
        return
    value = site.cookies.anonymous(visit.request)
    if value is None:
        value = visit.new_anonymous = secrets.token_urlsafe(24)
    visit.csrf = site.cookies.anonymous_csrf(value)


async def _allow(visit: Visit, page: Page) -> Response | None:
    """None, or the answer instead of the page. Raises Answered."""
    policy = page.policy
    if policy.kind == "public":
        return None
    user = visit.user
    if user is None:
        if visit.request.method != "GET" or visit.fragment:
            raise Answered(401)
        return visit.redirect(f"{visit.url('/sign-in')}?next={quote(visit.here)}")
    if policy.kind == "operator" and not user.operator:
        raise visit.not_found()
    if policy.kind == "member":
        await visit.site.enter(visit, visit.params["org"])
        if not may(visit.role or "", policy.permission or ""):
            raise visit.forbidden()
    session = visit.session
    if page.step_up and session is not None and visit.now_us - session.proved_us > STEP_UP_US:
        return visit.redirect(f"{visit.url('/account/confirm')}?next={quote(visit.here)}")
    return None


async def _read_form(visit: Visit) -> None:
    """Take a form of ours. Raises Answered: 403 for one that is not."""
    request = visit.request
    if not same_origin(request):
        raise visit.forbidden()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if kind != "application/x-www-form-urlencoded" or len(body) > FORM_BYTES_MAX:
        raise Answered(413 if len(body) > FORM_BYTES_MAX else 415)
    try:
        lists = parse_qs(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=FORM_FIELDS_MAX,
        )
    except ValueError:
        raise Answered(400) from None
    given = lists.pop("csrf", [""])[-1]
    if not same(given, visit.csrf):
        raise visit.forbidden()
    visit.form_lists = {
        name: [value.replace("\r\n", "\n") for value in values] for name, values in lists.items()
    }
    visit.form = {name: values[-1] for name, values in visit.form_lists.items()}


def same_origin(request: Request) -> bool:
    """Whether a browser says that a page of this host sent it."""
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
    return urlsplit(origin).netloc == request.headers.get("host", "")


async def _failure(visit: Visit, status: int) -> Response:
    """The page of an error, with the request's id; the plainest answer if even that fails."""
    try:
        await visit.site.fill_frame(visit)
        return await visit.render("error.html", status=status, error_status=status)
    except Exception as error:
        visit.parts.telemetry.crash(visit.request_id, error)
        return Response(
            f"{status} {visit.request_id}\n", status, media_type="text/plain; charset=utf-8"
        )


async def _finish(visit: Visit, response: Response) -> None:
    site, headers = visit.site, response.headers
    headers.setdefault("content-security-policy", csp())
    for name, value in headers_of({"x-request-id": visit.request_id}).items():
        headers.setdefault(name, value)
    headers.setdefault("vary", "Cookie, X-Fragment, Accept-Encoding")
    headers.setdefault("cache-control", "no-cache" if visit.user is None else "no-store")
    if site.secure:
        headers.setdefault("strict-transport-security", "max-age=31536000")
    if visit.new_anonymous is not None and visit.request.method == "GET":
        site.cookies.set_anonymous(response, visit.new_anonymous)
    if "tm_flash" in visit.request.cookies and response.status_code == 200 and not visit.fragment:
        site.cookies.clear_flash(response)
    if visit.org is not None and visit.request.cookies.get(LAST_ORG) != visit.org.id:
        site.cookies.remember(response, LAST_ORG, visit.org.id)
    visit.compressed(response)
