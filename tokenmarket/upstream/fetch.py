"""Guarded requests: the only code that goes where a URL points (``design/security.md`` F1-F8).

    fetcher = Fetcher(client, proxies=config.proxies)
    content_type, data = await fetcher.read(url, bytes_max=20 << 20)
    fetched = await fetcher.download(result_url, file.write, bytes_max=…, allowed_origins=…)
    posted = await fetcher.post(callback_url, headers=…, body=…)

Two kinds of URL come here: what a caller wrote (an image, a file, where to call back) and what a
provider answered (its result). Both are strangers' words. A reader must know:

* Form first (``core/fetch_url.py``): https, ports 443 and 80, no user info, no fragment, strict
  host names. Then the name is looked up once, every address it has must be public
  (``core/addresses.py``), and the connection goes to one of exactly those addresses. A name that
  resolves differently a moment later (DNS rebinding) changes nothing, because nobody asks again.
* ``allowed_origins`` are ``host:port`` of the operator's own choice: the base URL of the provider
  whose result is fetched (``origins_of``). These, on exact match only, may be private, plain http
  and on any port; they go over the gateway's usual client and its proxies. Never pass any for a
  URL that a caller wrote.
* Redirects are followed here, at most three, each one checked like a first URL. None may lead from
  https to http. ``headers`` go with the first request only. ``post`` follows none.
* No cookies, no credentials of ours unless in ``headers``; no connection is used twice.
* Codings are not undone: we ask for none, and an answer that has one is refused, so there are no
  bombs and the size is the size. The limit counts what arrives, not what was promised.
* Outgoing proxies: a tunnel to the checked address, so the check holds; a gateway behind a proxy
  must be able to look names up itself. Plain http is not fetched through a proxy (``dial.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import ssl
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal

import msgspec

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core import addresses
from tokenmarket.core.catalog import Timeouts
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.fetch_url import HTTP, HTTPS, Target, redirected, target
from tokenmarket.core.wording import said_by, say
from tokenmarket.upstream.client import SWEEP_S, UpstreamClient
from tokenmarket.upstream.origin import Headers, Origin
from tokenmarket.upstream.proxy import Proxies
from tokenmarket.upstream.resolve import Lookup, Resolver
from tokenmarket.upstream.response import UpstreamResponse

Reason = Literal[
    "url_not_allowed",  # its form: scheme, host, port, length
    "private_address",  # it leads, or may lead, to an address that is not public
    "redirect",  # too many, from https to http, or to nowhere
    "too_large",
    "unreachable",  # unknown name, refused connection, bad certificate
    "timeout",
    "bad_status",  # an answer other than 200
    "bad_answer",  # not HTTP, cut short, or in a coding that we did not ask for
]
# Given a chunk; may be ``file.write``. What it returns is awaited if it can be.
Sink = Callable[[bytes], object]

REDIRECTS_MAX: Final = 3
TIMEOUTS: Final = Timeouts(connect=10.0, first_byte=30.0, idle=20.0, total=300.0)
POST_TIMEOUTS: Final = Timeouts(connect=10.0, first_byte=15.0, idle=15.0, total=20.0)
ANSWER_S: Final = 2.0  # so long the first bytes of an answer to ``post`` are waited for
OCTETS: Final = "application/octet-stream"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ACCEPT: Final[Headers] = (("accept", "*/*"),)
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}", re.ASCII)
_REASONS: Final[dict[FailureKind, Reason]] = {"connect": "unreachable", "timeout": "timeout"}


class FetchRefused(Exception):
    """Why nothing was downloaded. ``message`` is for whoever wrote the URL and names no address;
    ``status`` is that of the answer, where there was one."""

    def __init__(self, reason: Reason, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.message = message
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Whether the same URL may work in a moment."""
        if self.reason == "bad_status":
            return self.status is not None and (
                self.status >= 500 or self.status in (408, 425, 429)
            )
        return self.reason in ("unreachable", "timeout", "bad_answer")


class Fetched(msgspec.Struct, frozen=True):
    """``content_type`` is what the server claims, in lower case and without parameters: look at
    the bytes before believing it. ``final_url`` is where the last redirect led."""

    content_type: str
    size_bytes: int
    final_url: str


class Posted(msgspec.Struct, frozen=True):
    """``answer``: what came back first, cut to the length that was asked for; empty if nothing came
    in time, or in a coding."""

    status: int
    answer: bytes


def origins_of(base_url: str) -> tuple[str, ...]:
    """``allowed_origins`` for results of the provider with this base URL (none in the process)."""
    try:
        return (addresses.endpoint(base_url),)
    except ValueError:
        return ()


class Fetcher:
    """Made once per process, beside the gateway's client, which it uses for allowed origins."""

    def __init__(
        self,
        client: UpstreamClient,
        *,
        proxies: Proxies | None = None,
        allow_http: bool = False,
        ports: Collection[int] = (HTTPS, HTTP),
        ssl_context: ssl.SSLContext | None = None,
        lookup: Lookup | None = None,
        is_public: Callable[[str], bool] = addresses.public,
        clock: Callable[[], float] = time.monotonic,
        sweep_s: float = SWEEP_S,
    ) -> None:
        """The last four are for tests. ``lookup``: (host, port) -> its addresses."""
        self._resolver = Resolver()
        self._lookup: Lookup = lookup or self._resolver
        self._is_public = is_public
        self._allow_http = allow_http
        self._ports = frozenset(ports)
        self._clock = clock
        self._usual = client
        self._guarded = UpstreamClient(
            age_s_max=-1.0,  # a connection is closed after its first answer
            sweep_s=sweep_s,
            proxies=proxies,
            ssl_context=ssl_context,
            clock=clock,
            vet=self._vet,
        )

    async def download(
        self,
        url: str,
        sink: Sink,
        *,
        bytes_max: int,
        allowed_origins: tuple[str, ...] = (),
        headers: Headers = (),
        timeouts: Timeouts = TIMEOUTS,
    ) -> Fetched:
        """GET ``url`` and hand its bytes to ``sink`` as they come, never more than ``bytes_max``.

        Raises FetchRefused, possibly after some bytes were handed over, and what ``sink`` raises.
        ``timeouts.total`` is for all hops together.
        """
        ends_s = self._clock() + timeouts.total
        where = self._checked(url, allowed_origins)
        for _ in range(REDIRECTS_MAX + 1):
            response = await self._ask(where, headers, allowed_origins, timeouts, ends_s)
            try:
                following = self._following(where, response, allowed_origins)
                if following is None:
                    size_bytes = await _receive(response, sink, bytes_max)
                    content_type = _media_type(response.head.headers.get("content-type", ""))
                    return Fetched(content_type, size_bytes, where.url)
            except UpstreamError as error:
                raise _refused(error) from error
            finally:
                response.abort()
            where, headers = following, ()
        raise FetchRefused(
            "redirect",
            say(
                "the URL leads through more than {redirects_max} redirects",
                redirects_max=REDIRECTS_MAX,
            ),
        )

    async def read(
        self,
        url: str,
        *,
        bytes_max: int,
        allowed_origins: tuple[str, ...] = (),
        headers: Headers = (),
        timeouts: Timeouts = TIMEOUTS,
    ) -> tuple[str, bytes]:
        """(content type as in Fetched, bytes). As ``download``."""
        chunks: list[bytes] = []
        fetched = await self.download(
            url,
            chunks.append,
            bytes_max=bytes_max,
            allowed_origins=allowed_origins,
            headers=headers,
            timeouts=timeouts,
        )
        return fetched.content_type, b"".join(chunks)

    async def post(
        self,
        url: str,
        *,
        headers: Headers,
        body: bytes,
        allowed_origins: tuple[str, ...] = (),
        timeouts: Timeouts = POST_TIMEOUTS,
        answer_bytes_max: int = 0,
    ) -> Posted:
        """Deliver ``body`` (a callback) and give the status of the answer, whatever it is; of the
        rest at most ``answer_bytes_max`` are looked at. Raises FetchRefused."""
        where = self._checked(url, allowed_origins)
        request = UpstreamRequest(where.path, headers, body)
        response = await self._send(where, request, (), allowed_origins, timeouts)
        try:
            return Posted(response.head.status, await _first_bytes(response, answer_bytes_max))
        finally:
            response.abort()

    async def close(self) -> None:
        """Ends what runs. The client that was handed in is not closed."""
        await self._guarded.close()
        self._resolver.close()

    def _checked(self, url: str, allowed: tuple[str, ...]) -> Target:
        try:
            return target(url, allowed=allowed, allow_http=self._allow_http, ports=self._ports)
        except ValueError as error:
            raise FetchRefused("url_not_allowed", said_by(error)) from None

    async def _ask(
        self,
        where: Target,
        headers: Headers,
        allowed: tuple[str, ...],
        timeouts: Timeouts,
        ends_s: float,
    ) -> UpstreamResponse:
        left_s = ends_s - self._clock()
        if left_s <= 0:
            raise FetchRefused(
                "timeout",
                say("the URL took longer than {total_s} s", total_s=f"{timeouts.total:g}"),
            )
        limits = msgspec.structs.replace(timeouts, total=left_s)
        request = UpstreamRequest(where.path, _ACCEPT, b"", method="GET")
        return await self._send(where, request, headers, allowed, limits)

    async def _send(
        self,
        where: Target,
        request: UpstreamRequest,
        authorization: Headers,
        allowed: tuple[str, ...],
        limits: Timeouts,
    ) -> UpstreamResponse:
        # Not Origin.parse: its memory is for providers, strangers' hosts would push them out.
        client, origin = self._guarded, Origin(where.host, where.port, "", tls=where.tls)
        if where.endpoint in allowed:
            client, origin = self._usual, Origin.parse(f"{where.scheme}://{where.endpoint}")
        try:
            return await client.send(origin, request, authorization, limits)
        except UpstreamError as error:
            raise _refused(error) from error
        except ValueError as error:
            raise FetchRefused("url_not_allowed", said_by(error)) from None

    async def _vet(self, origin: Origin) -> Sequence[str]:
        """The guarded client's ``dial.Vet``."""
        try:
            found = await self._lookup(origin.host, origin.port)
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise FetchRefused("unreachable", say("the host name is not known"))
        if not all(self._is_public(address) for address in found):
            raise FetchRefused("private_address", say("the host has an address that is not public"))
        return found

    def _following(
        self, where: Target, response: UpstreamResponse, allowed: tuple[str, ...]
    ) -> Target | None:
        """Where a redirect leads; None for the answer itself."""
        status = response.head.status
        if status == 200:
            return None
        location = response.head.headers.get("location", "")
        if status not in _REDIRECTS or not location:
            raise FetchRefused(
                "bad_status", say("the URL answered with HTTP {status}", status=status), status
            )
        try:
            url = redirected(where, location)
        except ValueError:
            raise FetchRefused("redirect", say("the URL redirects to nowhere"), status) from None
        following = self._checked(url, allowed)
        if where.tls and not following.tls:
            raise FetchRefused("redirect", say("the URL redirects from https to http"), status)
        return following


async def _first_bytes(response: UpstreamResponse, bytes_max: int) -> bytes:
    if not bytes_max or response.inflater is not None:
        return b""
    found = b""
    with contextlib.suppress(UpstreamError, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            while len(found) < bytes_max and (chunk := await response.chunk()):
                found += chunk
    return found[:bytes_max]


async def _receive(response: UpstreamResponse, sink: Sink, bytes_max: int) -> int:
    headers = response.head.headers
    if response.inflater is not None:  # the head is shown without the coding that it undoes
        raise FetchRefused("bad_answer", say("the URL answered in a coding that was not asked for"))
    promised = headers.get("content-length", "")
    if promised.isdecimal() and int(promised) > bytes_max:
        raise _too_large(bytes_max)
    size_bytes = 0
    while chunk := await response.chunk():
        size_bytes += len(chunk)
        if size_bytes > bytes_max:
            raise _too_large(bytes_max)
        taken = sink(chunk)
        if inspect.isawaitable(taken):
            await taken
    return size_bytes


def _too_large(bytes_max: int) -> FetchRefused:
    return FetchRefused(
        "too_large", say("the URL has more than {bytes_max} bytes", bytes_max=bytes_max)
    )


def _refused(error: UpstreamError) -> FetchRefused:
    reason = _REASONS.get(error.kind, "bad_answer")
    return FetchRefused(
        reason, say("the URL could not be read: {message}", message=error.message), error.status
    )


def _media_type(text: str) -> str:
    plain = text.partition(";")[0].strip().lower()
    return plain if _MEDIA_TYPE.fullmatch(plain) is not None else OCTETS
