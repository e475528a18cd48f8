"""One request of a person: who, where, in which language, and the ways to answer."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tokenmarket.core.wording import said_in
from tokenmarket.web.site.i18n import HTML_LANG, LANGUAGES

if TYPE_CHECKING:
    from tokenmarket.accounts.people import User
    from tokenmarket.accounts.sessions import Session
    from tokenmarket.store.accounts import OrgRow
    from tokenmarket.web.site.parts import Parts
    from tokenmarket.web.site.site import Site

COMPRESS_BYTES_MIN = 1_000
UTC_ZONE = ZoneInfo("UTC")
THEMES = ("auto", "light", "dark")
CURRENCIES = ("USD", "CNY")


class Answered(Exception):
    """Ends a handler early with a response (not found, forbidden)."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Visit:
    """What a page's handler gets. ``org`` and ``role`` are set on pages of an organisation."""

    def __init__(self, site: Site, request: Request, lang: str) -> None:
        self.site = site
        self.request = request
        self.lang = lang
        self.user: User | None = None
        self.session: Session | None = None
        self.org: OrgRow | None = None
        self.role: str | None = None
        self.csrf = ""  # what this page's forms carry
        self.new_anonymous: str | None = None  # a cookie that this answer sets
        self.form: dict[str, str] = {}
        self.form_lists: dict[str, list[str]] = {}
        self.now_us = site.parts.clock.wall_us()
        self.frame: dict[str, Any] = {}  # what layouts show on every page (``frame.py``)

    # --- the request ----------------------------------------------------------------------------

    @property
    def parts(self) -> Parts:
        return self.site.parts

    @property
    def request_id(self) -> str:
        return self.request.state.inbound.request_id

    @property
    def address(self) -> str:
        return self.request.state.inbound.address

    @property
    def params(self) -> dict[str, str]:
        return self.request.path_params

    @property
    def query(self) -> dict[str, str]:
        """The last value of each name; control characters and overlong values are left out."""
        return {
            name: value
            for name, value in self.request.query_params.items()
            if len(value) <= 500 and value.isprintable()
        }

    @property
    def actor(self) -> str:
        """For the audit trail."""
        user, session = self.user, self.session
        if user is None or session is None:
            return "visitor"
        if session.impersonator is not None:
            return f"user:{session.impersonator} as user:{user.id}"
        return f"user:{user.id}"

    @property
    def fragment(self) -> bool:
        """Our script wants the block ``fragment`` only."""
        return self.request.headers.get("x-fragment") == "1"

    @property
    def theme(self) -> str:
        found = self.request.cookies.get("tm_theme", "auto")
        return found if found in THEMES else "auto"

    @property
    def currency(self) -> str:
        """What prices are shown in; amounts that were settled are always USD."""
        found = self.request.cookies.get("tm_currency", "USD")
        return found if found in CURRENCIES else "USD"

    @property
    def time_zone(self) -> ZoneInfo:
        """On pages of an organisation its billing zone, else the person's."""
        if self.org is not None:
            return _zone(self.org.time_zone)
        if self.user is not None:
            return _zone(self.user.time_zone)
        return UTC_ZONE

    @property
    def path(self) -> str:
        return self.request.url.path

    @property
    def here(self) -> str:
        """The path with its query."""
        query = self.request.url.query
        return f"{self.path}?{query}" if query else self.path

    # --- texts and addresses --------------------------------------------------------------------

    def _(self, english: str, /, **values: object) -> str:
        return self.site.texts.text(self.lang, english, None, **values)

    def n_(self, one: str, many: str, n: int, /, **values: object) -> str:
        return self.site.texts.count(self.lang, one, many, n, **values)

    def p_(self, context: str, english: str, /, **values: object) -> str:
        return self.site.texts.text(self.lang, english, context, **values)

    def said(self, text: str) -> str:
        """A refusal or failure (``core/wording.py``) in the page's language; English where it has
        no other."""
        if self.lang == "en":
            return str(text)
        return said_in(text, self.site.texts.chinese) or str(text)

    def url(self, path: str) -> str:
        """``/keys`` -> ``/en/keys``; ``@/keys`` -> the page of this organisation's console."""
        if path.startswith("@"):
            if self.org is None:
                raise ValueError(f"{path!r} needs an organization")
            path = f"/console/{self.org.id}{path[1:]}"
        return f"/{self.lang}{path}"

    def languages(self) -> list[tuple[str, str, str]]:
        """(language, its HTML code, this page in it), for the switch and ``hreflang``."""
        return [(lang, HTML_LANG[lang], f"/{lang}{self.here[3:]}") for lang in LANGUAGES]

    @property
    def html_lang(self) -> str:
        return HTML_LANG[self.lang]

    # --- answers --------------------------------------------------------------------------------

    async def render(
        self, template: str, *, status: int = 200, form_action: str = "'self'", **context: object
    ) -> Response:
        """A page, or its block ``fragment``. ``form_action``: where its forms may lead besides."""
        text = await self.site.drawing.draw(self, template, context)
        response = HTMLResponse(text, status)
        response.headers["content-language"] = self.html_lang
        response.headers["content-security-policy"] = csp(form_action)
        return response

    def redirect(self, path: str, flash: tuple[str, str] | None = None) -> Response:
        """See other: a path of this site (with language), and a message for the next page."""
        response = RedirectResponse(local_path(path) or self.url("/"), 303)
        if flash is not None:
            self.site.cookies.set_flash(response, *flash)
        return response

    def file(self, body: str | bytes, content_type: str, filename: str) -> Response:
        """A download; ``filename`` is ours, never a caller's text."""
        return Response(
            body,
            media_type=content_type,
            headers={"content-disposition": f'attachment; filename="{filename}"'},
        )

    def not_found(self) -> Answered:
        """``raise visit.not_found()``: also for what belongs to others."""
        return Answered(404)

    def forbidden(self) -> Answered:
        return Answered(403)

    def compressed(self, response: Response) -> None:
        """Pack a whole body of text where the browser takes gzip."""
        body = response.body
        if (
            len(body) < COMPRESS_BYTES_MIN
            or "content-encoding" in response.headers
            or "gzip" not in self.request.headers.get("accept-encoding", "")
            or not response.headers.get("content-type", "").startswith(("text/", "application/js"))
        ):
            return
        response.body = gzip.compress(bytes(body), 5, mtime=0)
        response.headers["content-encoding"] = "gzip"
        response.headers["content-length"] = str(len(response.body))


def local_path(path: str) -> str | None:
    """The path if it leads to this site and nowhere else, else None."""
    if not path.startswith("/") or path.startswith(("//", "/\\")) or not path.isprintable():
        return None
    parts = urlsplit(path)
    return None if parts.scheme or parts.netloc or "\\" in path else path


def csp(form_action: str = "'self'") -> str:
    """The content security policy of a page (``design/security.md`` B3)."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "font-src 'self'; connect-src 'self'; media-src 'self' blob:; manifest-src 'self'; "
        f"form-action {form_action}; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types tokenmarket"
    )


def headers_of(pairs: Mapping[str, str]) -> dict[str, str]:
    """What every page answers besides its own headers."""
    return {
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
        **pairs,
    }


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC_ZONE
