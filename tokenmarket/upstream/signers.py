"""Credentials that are more than one header: tokens that we mint or fetch, and signed requests.

``signer_for`` says which key texts of which adapters are such; all others are a header for life
(``credentials.py``). Sources: shared/reference/media/video_providers.md §2 (Kling),
providers/gemini.md §1 (Vertex), providers/bedrock.md §2, 2026-11.

    kling    ACCESS_KEY:SECRET_KEY                 a token of half an hour, minted here
    vertex   a service account's JSON              an access token, fetched from its token_uri
    bedrock  KEY_ID:SECRET[:SESSION_TOKEN]         every request signed (AWS SigV4)

``authorize`` gives the same tuple as long as it can: rendered heads are cached by it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core import jwt, sigv4
from tokenmarket.core.addresses import endpoint
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.uploads import Body, Upload
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.origin import Headers, Origin, checked_value

KLING_TOKEN_S: Final = 1800
KLING_KEPT_S: Final = 25 * 60
CLOCKS_DIFFER_S: Final = 5  # a token is valid from a little earlier than now

GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
GOOGLE_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GOOGLE_ASSERTION_S: Final = 3600
REFRESH_BEFORE_S: Final = 300
TRY_AGAIN_S: Final = 10  # after a renewal that failed while the old token is still good
TOKEN_BYTES_MAX: Final = 64 * 1024
_EXCHANGE: Final = Timeouts(connect=5.0, first_byte=15.0, idle=15.0, total=30.0)
_FORM: Final[Headers] = (
    ("content-type", "application/x-www-form-urlencoded"),
    ("accept", "application/json"),
)

_BEDROCK_HOST = re.compile(
    r"(?:[a-z0-9-]+\.)*bedrock(?:-agent)?-runtime(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.)?"
    r"(?:amazonaws\.com(?:\.cn)?|api\.aws)"
)
_HASHED_AT_ONCE_BYTES: Final = 1 << 20

WallClock = Callable[[], float]


class Signer(Protocol):
    """Gives the headers that show who we are, for one request about to be sent."""

    async def authorize(
        self, origin: Origin, request: UpstreamRequest, client: UpstreamClient
    ) -> Headers:
        """Raises UpstreamError; nothing was sent to the provider then."""
        ...

    def forget(self) -> None:
        """The provider refused what was last given: do not give it again."""
        ...


def signer_for(adapter: str, base_url: str, text: str, wall: WallClock) -> Signer | None:
    """None: the key text is a header as it is. ``wall`` gives seconds since 1970.

    Raises ValueError, which never shows the key, for a text that is meant to be more and is not.
    """
    if text.startswith("{"):
        if adapter != "vertex":
            raise ValueError("only vertex takes a JSON key (a service account)")
        return GoogleSigner(text, wall)
    if adapter == "kling" and text.count(":") == 1 and all(text.split(":")):
        access_key, _, secret_key = text.partition(":")
        return KlingSigner(access_key, secret_key, wall)
    if adapter == "bedrock" and ":" in text:
        return AwsSigner(text, base_url, wall)
    return None


class KlingSigner:
    """The token has a header with ``typ`` and exactly iss, exp, nbf: Kling refuses others."""

    def __init__(self, access_key: str, secret_key: str, wall: WallClock) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._wall = wall
        self._headers: Headers = ()
        self._minted_s = 0.0

    async def authorize(
        self, origin: Origin, request: UpstreamRequest, client: UpstreamClient
    ) -> Headers:
        now_s = self._wall()
        # The clock may have been set back: a token from the future is not valid yet.
        if not self._headers or not 0 <= now_s - self._minted_s < KLING_KEPT_S:
            now = int(now_s)
            claims = {
                "iss": self._access_key,
                "exp": now + KLING_TOKEN_S,
                "nbf": now - CLOCKS_DIFFER_S,
            }
            token = jwt.hs256(claims, self._secret_key)
            self._headers = (("authorization", f"Bearer {token}"),)
            self._minted_s = now_s
        return self._headers

    def forget(self) -> None:
        self._headers = ()


class _ServiceAccount(msgspec.Struct):
    client_email: str
    private_key: str
    token_uri: str
    private_key_id: str = ""


class _Token(msgspec.Struct):
    access_token: str
    expires_in: int = 600  # when Google does not say: long enough to be of use


class GoogleSigner:
    """An access token for a service account, fetched once for all who wait for it.

    It is renewed five minutes before it ends; if that fails, the old one is used to its end.
    """

    def __init__(self, text: str, wall: WallClock) -> None:
        try:
            account = msgspec.json.decode(text, type=_ServiceAccount)
            self._token_url = account.token_uri
            endpoint(account.token_uri)
        except (msgspec.MsgspecError, ValueError):
            message = "a service account has client_email, private_key and token_uri (an URL)"
            raise ValueError(message) from None
        scheme, _, rest = account.token_uri.partition("://")
        place, slash, path = rest.partition("/")
        self._origin = Origin.parse(f"{scheme}://{place}")
        if not self._origin.tls and self._origin.host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("the token_uri of a service account begins with https://")
        self._path = slash + path
        self._email = account.client_email
        self._key: RSAPrivateKey = jwt.rsa_key(account.private_key)
        self._key_id = account.private_key_id or None
        self._wall = wall
        self._headers: Headers = ()
        self._fresh_until_s = self._ends_s = 0.0
        self._exchange: asyncio.Task[Headers] | None = None

    async def authorize(
        self, origin: Origin, request: UpstreamRequest, client: UpstreamClient
    ) -> Headers:
        now_s = self._wall()
        if now_s < self._fresh_until_s:
            return self._headers
        if self._exchange is None or self._exchange.done():
            self._exchange = asyncio.ensure_future(self._fetch(client))
            self._exchange.add_done_callback(_seen)
        try:
            # Whoever leaves does not take the answer away from those who wait with him.
            return await asyncio.shield(self._exchange)
        except UpstreamError:
            if now_s >= self._ends_s:
                raise
            self._fresh_until_s = min(self._ends_s, now_s + TRY_AGAIN_S)
            return self._headers

    def forget(self) -> None:
        self._fresh_until_s = self._ends_s = 0.0

    async def _fetch(self, client: UpstreamClient) -> Headers:
        now_s = self._wall()
        claims = {
            "iss": self._email,
            "scope": GOOGLE_SCOPE,
            "aud": self._token_url,
            "iat": int(now_s),
            "exp": int(now_s) + GOOGLE_ASSERTION_S,
        }
        assertion = jwt.rs256(claims, self._key, self._key_id)
        form = urlencode({"grant_type": GOOGLE_GRANT, "assertion": assertion}).encode()
        request = UpstreamRequest(self._path, _FORM, form)
        token = await _exchanged(client, self._origin, request)
        lasts_s = max(token.expires_in, 0)
        self._headers = (("authorization", f"Bearer {token.access_token}"),)
        self._ends_s = now_s + lasts_s
        self._fresh_until_s = now_s + max(lasts_s - REFRESH_BEFORE_S, lasts_s * 0.5)
        return self._headers


def _seen(exchange: asyncio.Task[Headers]) -> None:
    """A failure is no news to the event loop when nobody waited to the end."""
    if not exchange.cancelled():
        exchange.exception()


async def _exchanged(client: UpstreamClient, origin: Origin, request: UpstreamRequest) -> _Token:
    """Raises UpstreamError: auth (the account is refused) or connect (nothing reached the
    provider itself, so another route may be tried)."""
    try:
        response = await client.send(origin, request, (), _EXCHANGE)
        try:
            status, body = response.head.status, await response.read(TOKEN_BYTES_MAX)
        finally:
            response.abort()
    except UpstreamError as error:
        raise UpstreamError("connect", f"no access token: {error.message}") from error
    if status in (400, 401, 403):
        raise UpstreamError("auth", "the service account was refused", status=status)
    if status != 200:
        raise UpstreamError("connect", f"no access token: HTTP {status}")
    try:
        token = msgspec.json.decode(body, type=_Token)
        checked_value(token.access_token)
    except (msgspec.MsgspecError, ValueError):
        token = _Token("")
    if not token.access_token:
        raise UpstreamError("connect", "no access token: an unreadable answer") from None
    return token


class AwsSigner:
    """Signs method, path, query, host, content type and body, as they are sent."""

    def __init__(self, text: str, base_url: str, wall: WallClock) -> None:
        parts = text.split(":")
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError("an AWS key is written KEY_ID:SECRET or KEY_ID:SECRET:SESSION_TOKEN")
        for part in parts:
            checked_value(part)
        _region(Origin.parse(base_url))
        self._keys = sigv4.Keys(*parts)
        self._wall = wall

    async def authorize(
        self, origin: Origin, request: UpstreamRequest, client: UpstreamClient
    ) -> Headers:
        return sigv4.sign(
            self._keys,
            region=_region(origin),
            service="bedrock",
            method=request.method,
            host=origin.authority,
            target=origin.prefix + request.path or "/",
            headers=request.headers,
            body_sha256=await _sha256(request.body),
            now_s=int(self._wall()),
        )

    def forget(self) -> None:
        """Nothing is kept."""


def _region(origin: Origin) -> str:
    found = _BEDROCK_HOST.fullmatch(origin.host)
    if found is None:
        raise ValueError("AWS keys sign for bedrock-runtime.REGION.amazonaws.com only")
    return found[1]


async def _sha256(body: Body) -> str:
    """Of what is sent; a file is read in pieces, with room for others between them."""
    digest = hashlib.sha256()
    for part in (body,) if isinstance(body, bytes) else body:
        if not isinstance(part, Upload):
            digest.update(part)
            continue
        for offset in range(0, part.size, _HASHED_AT_ONCE_BYTES):
            digest.update(part.read_at(offset, _HASHED_AT_ONCE_BYTES))
            await asyncio.sleep(0)
    return digest.hexdigest()
