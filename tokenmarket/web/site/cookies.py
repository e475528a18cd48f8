"""Our cookies, and the proof that a form was ours.

A session's forms carry the session's CSRF text. Forms of people who are not signed in (sign-in,
sign-up) carry a digest of a random cookie: another site can make a browser send the cookie, but
cannot read it. Beside that, the Origin of every POST must be the host it was sent to.
"""

from __future__ import annotations

import base64
import hmac
from hashlib import blake2b
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

SESSION = "tm_session"
ANONYMOUS = "tm_form"
FLASH = "tm_flash"
LANG, THEME, CURRENCY, CODE = "tm_lang", "tm_theme", "tm_currency", "tm_code"
LAST_ORG = "tm_org"  # where /console leads to
YEAR_S = 365 * 86_400
SESSION_S = 30 * 86_400
FLASH_CHARS_MAX = 400


class Cookies:
    """``secure``: the site is reached by https, so cookies get ``__Host-`` and Secure."""

    def __init__(self, secret: bytes, *, secure: bool) -> None:
        self._secret = secret
        self._secure = secure

    def session_token(self, request: Request) -> str | None:
        return request.cookies.get(self._name(SESSION))

    def set_session(self, response: Response, token: str) -> None:
        self._set(response, self._name(SESSION), token, SESSION_S)

    def clear_session(self, response: Response) -> None:
        self._set(response, self._name(SESSION), "", 0)

    def anonymous(self, request: Request) -> str | None:
        """The random value that forms of people without a session are bound to."""
        value = request.cookies.get(self._name(ANONYMOUS), "")
        return value if 20 <= len(value) <= 64 else None

    def set_anonymous(self, response: Response, value: str) -> None:
        self._set(response, self._name(ANONYMOUS), value, 86_400)

    def anonymous_csrf(self, value: str) -> str:
        """What a form must carry beside the cookie ``value``."""
        return blake2b(value.encode(), key=self._secret, digest_size=24).hexdigest()

    def remember(self, response: Response, name: str, value: str) -> None:
        """A preference: language, theme, currency, code tab. Read by scripts of ours."""
        self._set(response, name, value, YEAR_S, readable=True)

    def set_flash(self, response: Response, level: str, text: str) -> None:
        """One message for the next page."""
        packed = base64.urlsafe_b64encode(msgspec.json.encode([level, text[:FLASH_CHARS_MAX]]))
        self._set(response, FLASH, packed.decode(), 60)

    def flash(self, request: Request) -> tuple[str, str] | None:
        """(level, text) for this page; anything else that the cookie holds is nothing."""
        try:
            raw = base64.urlsafe_b64decode(request.cookies.get(FLASH, ""))
            level, text = msgspec.json.decode(raw, type=tuple[Literal["ok", "warn", "bad"], str])
        except (ValueError, msgspec.MsgspecError):
            return None
        return level, text[:FLASH_CHARS_MAX]

    def clear_flash(self, response: Response) -> None:
        self._set(response, FLASH, "", 0)

    def _name(self, name: str) -> str:
        return f"__Host-{name}" if self._secure else name

    def _set(
        self, response: Response, name: str, value: str, age_s: int, *, readable: bool = False
    ) -> None:
        response.set_cookie(
            name,
            value,
            max_age=age_s,
            path="/",
            secure=self._secure,
            httponly=not readable,
            samesite="lax",
        )


def same(one: str, other: str) -> bool:
    """Compares secrets without telling how much of them agrees."""
    return hmac.compare_digest(one.encode(), other.encode())
