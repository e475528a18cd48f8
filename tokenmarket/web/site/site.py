"""All pages of the program behind one door, built when the first one is asked for.

A gateway that is only called by programs never imports any of this: Starlette, Jinja and Babel
cost 0.3 s and some memory.
"""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tokenmarket.accounts import members
from tokenmarket.core import sealing
from tokenmarket.core.wire import Client, Inbound
from tokenmarket.core.wording import preferred
from tokenmarket.store import accounts as rows
from tokenmarket.web.site import bridge, frame, pages
from tokenmarket.web.site.assets import Assets
from tokenmarket.web.site.cookies import LANG, Cookies
from tokenmarket.web.site.drawing import Drawing
from tokenmarket.web.site.i18n import LANGUAGES, load
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.parts import Parts
from tokenmarket.web.site.policy import PUBLIC
from tokenmarket.web.site.table import PAGES
from tokenmarket.web.site.visit import Answered, Visit

SWITCH_INTERVAL_S = 0.001  # a page that is drawn lets the event loop in this often


class _LangConvertor(Convertor[str]):
    regex = "|".join(LANGUAGES)

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class Site:
    """``handle`` answers what ``doors.is_page`` says is ours."""

    def __init__(self, parts: Parts, *, strict_texts: bool = False) -> None:
        self.parts = parts
        self.secure = urlsplit(parts.config.public_base_url).scheme == "https"
        self.texts = load(strict=strict_texts)
        self.assets = Assets()
        self.drawing = Drawing(self.assets)
        self.cookies = Cookies(parts.root.derive(sealing.COOKIES), secure=self.secure)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        register_url_convertor("lang", _LangConvertor())
        self._missing = Page("/{lang}/{path:path}", _not_found, PUBLIC, ("GET", "POST"))
        self._app = Starlette(
            routes=[
                Route("/", self._root),
                Route("/static/{path:path}", self._static),
                Route("/robots.txt", self._robots),
                *(self._route(page) for page in PAGES),
                self._route(self._missing),
            ],
            exception_handlers={404: self._lost, 405: self._lost},
        )

    async def handle(self, inbound: Inbound, client: Client) -> None:
        """Answer one request; raises nothing but what the front expects."""
        scheme = "https" if self.secure else "http"
        await bridge.call(self._app, inbound, client, scheme=scheme)

    async def enter(self, visit: Visit, org_id: str) -> None:
        """Sets the visit's organisation and role. Raises Answered(404) for strangers."""
        user = visit.user
        if user is None:
            raise Answered(404)
        membership = await members.membership(self.parts.database, org_id, user.id)
        if membership is None:
            raise Answered(404)
        async with self.parts.database.read() as conn:
            org = await rows.org_by_id(conn, org_id)
        if org is None:
            raise Answered(404)
        visit.org, visit.role = org, membership.role

    async def fill_frame(self, visit: Visit) -> None:
        """What the layouts show; once per visit."""
        if not visit.frame:
            await frame.fill(visit)

    def close(self) -> None:
        self.drawing.close()

    # --- what is no page ------------------------------------------------------------------------

    def _route(self, page: Page) -> Route:
        path = page.path.replace("{lang}", "{lang:lang}")

        async def endpoint(request: Request) -> Response:
            return await pages.serve(self, page, request)

        return Route(path, endpoint, methods=list(page.methods), name=page.path)

    async def _root(self, request: Request) -> Response:
        """To the visitor's language: the cookie's, else the browser's, else English."""
        response = RedirectResponse(f"/{_language(request)}/", 307)
        response.headers["vary"] = "Cookie, Accept-Language"
        response.headers["cache-control"] = "no-store"
        return response

    async def _static(self, request: Request) -> Response:
        asset = self.assets.find(request.path_params["path"])
        if asset is None:
            return Response("not found\n", 404, media_type="text/plain")
        # a module that another one imports is asked for without its version
        named = request.query_params.get("v") == asset.version
        headers = {
            "cache-control": "public, max-age=31536000, immutable" if named else "no-cache",
            "etag": f'"{asset.version}"',
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "same-origin",
            "vary": "Accept-Encoding",
        }
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        body = asset.body
        if asset.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            body = asset.packed
            headers["content-encoding"] = "gzip"
        headers["content-type"] = asset.content_type
        return Response(body, headers=headers)

    async def _robots(self, request: Request) -> Response:
        text = "User-agent: *\nDisallow: /*/console\nDisallow: /*/admin\nDisallow: /*/account\n"
        return Response(text, media_type="text/plain; charset=utf-8")

    async def _lost(self, request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        if status == 405:
            response = Response("method not allowed\n", 405, media_type="text/plain")
            response.headers.update(getattr(error, "headers", None) or {})
            return response
        request.scope["path_params"] = {"lang": _language(request), "path": ""}
        return await pages.serve(self, self._missing, request)


async def _not_found(visit: Visit) -> Response:
    raise visit.not_found()


def _language(request: Request) -> str:
    chosen = request.cookies.get(LANG)
    if chosen in LANGUAGES:
        return chosen
    return preferred(request.headers.get("accept-language", ""))
