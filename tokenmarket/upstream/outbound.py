"""The outbound side as ``gateway.py`` sees it: four calls over client, credentials and health.

A provider whose base URL is ``sandbox:`` is served in the process by the transport handed in as
``local``; it passes through the same credentials and health as all others.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.core.addresses import same_site
from tokenmarket.core.catalog import Provider, Route, Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.routing import AVAILABLE, RouteState
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.connection import Connection
from tokenmarket.upstream.credentials import Credential, CredentialPool, Secret
from tokenmarket.upstream.health import Health
from tokenmarket.upstream.origin import Headers, Origin

LOCAL_URL = "sandbox:"
_AUTHORITY = re.compile(r"[^/?#]*")


class Answer(Protocol):
    """What every transport gives: the head at once, the body as it is asked for."""

    head: Head

    async def read(self, bytes_max: int) -> bytes: ...
    async def save(self, sink: Callable[[bytes], object], bytes_max: int) -> int: ...
    async def relay(self, take: Callable[[bytes], bool]) -> bool: ...
    def abort(self) -> None: ...


class Local(Protocol):
    """A provider inside this process."""

    async def send(
        self,
        origin: object,
        request: UpstreamRequest,
        authorization: Headers,
        timeouts: Timeouts,
    ) -> Answer: ...


class KeyState(msgspec.Struct, frozen=True):
    """One key of a provider as it stands in this process. ``alert`` is the kind of refusal that a
    person must look at; ``resting_s`` 0: it may be used for every model."""

    id: str
    in_flight: int
    alert: str | None
    resting_s: float


class Outbound:
    """``state`` for planning; ``acquire``, ``send``, ``release`` for each attempt."""

    def __init__(
        self,
        client: UpstreamClient,
        health: Health,
        clock: Callable[[], float],
        *,
        local: Local | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``clock`` is monotonic, ``wall`` since 1970 (for tokens); both in seconds."""
        self._wall = wall
        self._client = client
        self._health = health
        self._clock = clock
        self._local = local
        self._pools: dict[str, CredentialPool] = {}

    def update(
        self,
        providers: Mapping[str, Provider],
        secrets: Callable[[Provider], Iterable[tuple[str, Secret]]],
    ) -> None:
        """Take over a new catalog or new keys; running requests keep what they have.

        ``secrets`` gives the (id, key) pairs of a provider: its environment variable and what the
        store holds for it. Raises ValueError for a base URL or key that cannot be used, before
        anything was changed.
        """
        found = {provider.name: list(secrets(provider)) for provider in providers.values()}
        for provider in providers.values():
            try:
                if provider.base_url != LOCAL_URL:
                    Origin.parse(provider.base_url)
                CredentialPool(provider, found[provider.name], self._clock, self._wall)
            except ValueError as error:
                raise ValueError(f"provider {provider.name}: {error}") from error
        for name in set(self._pools) - set(providers):
            del self._pools[name]
        for name, provider in providers.items():
            pool = self._pools.get(name)
            if pool is None:
                self._pools[name] = CredentialPool(provider, found[name], self._clock, self._wall)
            else:
                pool.update(provider, found[name])

    def state(self, route: Route) -> RouteState:
        """Credentials first, because their reason tells the operator what to do."""
        pool = self._pools.get(route.provider.name)
        if pool is None:
            return RouteState(available=False, kind="missing", reason="an unknown provider")
        only = pool.only
        if only is None or only.blemished:
            found = pool.state(route.upstream_model)
            if found is not AVAILABLE:
                return found
        return self._health.snapshot_for(route)

    def acquire(self, route: Route) -> Credential:
        """Give it back with ``release``. Raises UpstreamError (kind auth, rate_limited or
        overloaded, without a status) when nothing is free: nothing was sent."""
        pool = self._pools.get(route.provider.name)
        credential = pool.acquire(route.upstream_model) if pool is not None else None
        if pool is None or credential is None:
            found = self.state(route)
            kind = "auth" if found.kind == "missing" else "rate_limited"
            raise UpstreamError(
                kind, found.reason or "no credential is free", retry_after_s=found.retry_after_s
            )
        if not self._health.begin(route):
            pool.release(credential, None, verdict=False)
            wait_s = self._health.snapshot_for(route).retry_after_s
            raise UpstreamError("overloaded", "the route is cooling down", retry_after_s=wait_s)
        return credential

    # --- for the lane: one key, no limits of ours, a connection at hand ---------------------------

    def only_credential(self, route: Route) -> Credential | None:
        """The provider's only key, if it is reached over HTTP and nothing about it is counted."""
        pool = self._pools.get(route.provider.name)
        return None if pool is None or route.provider.base_url == LOCAL_URL else pool.only

    def lead(self, route: Route, credential: Credential, request: UpstreamRequest) -> bytes:
        """The head of such requests up to the content-length. Raises ValueError."""
        return self._client.lead(Origin.parse(route.provider.base_url), request, credential.headers)

    def take(self, route: Route, credential: Credential) -> Connection | None:
        """``acquire`` and a connection at once, or None and nothing has changed. End it with
        ``release``, or with ``untake`` if nothing was begun."""
        pool = self._pools.get(route.provider.name)
        if pool is None or pool.only is not credential or credential.blemished:
            return None
        if not self._health.closed(route):
            return None
        connection = self._client.idle(Origin.parse(route.provider.base_url))
        if connection is not None:
            pool.acquire(route.upstream_model)
        return connection

    def untake(self, route: Route, credential: Credential, connection: Connection) -> None:
        """Nothing was begun after all."""
        connection.unused()
        self.release(route, credential, None, first_byte_us=None)

    # ----------------------------------------------------------------------------------------------

    def keyed(self, route: Route, credential_id: str) -> Credential | None:
        """The key that a task was made with, to ask for that task again; another one of the
        provider if it is gone. Rests and limits are not looked at, nothing is to be released."""
        pool = self._pools.get(route.provider.name)
        if pool is None:
            return None
        for credential in pool.credentials:
            if credential.id == credential_id:
                return credential
        return next(iter(pool.credentials), None)

    # --- for the operator -------------------------------------------------------------------------

    @property
    def client(self) -> UpstreamClient:
        """For a test call, past keys' rests and limits."""
        return self._client

    def in_flight(self, provider: str) -> int:
        """Requests of this process that are at the provider now."""
        pool = self._pools.get(provider)
        return 0 if pool is None else pool.in_flight

    def keys(self, provider: str) -> list[KeyState]:
        """The provider's keys in turn, without the keys."""
        pool = self._pools.get(provider)
        if pool is None:
            return []
        now_s = self._clock()
        return [
            KeyState(key.id, key.in_flight, key.alert, key.resting_longest_s(now_s))
            for key in pool.credentials
        ]

    def reset(self, provider: str, upstream_model: str | None = None) -> None:
        """Close the breakers and end the rests of keys: somebody has seen to it. ``upstream_model``
        None: of all its routes."""
        self._health.reset(provider, upstream_model)
        pool = self._pools.get(provider)
        for key in pool.credentials if pool is not None else ():
            key.forget_rests()

    # ----------------------------------------------------------------------------------------------

    def send(
        self, route: Route, credential: Credential, request: UpstreamRequest, timeouts: Timeouts
    ) -> Awaitable[Answer]:
        """As ``UpstreamClient.send``: await it at once. ``request.url``, which a provider gave, is
        asked only if it is of the provider's own site (UpstreamError otherwise)."""
        base_url = route.provider.base_url
        if base_url != LOCAL_URL:
            origin = Origin.parse(base_url)
            if credential.signer is not None or request.url is not None or request.from_root:
                return self._send_with_care(base_url, credential, request, timeouts)
            return self._client.send(origin, request, credential.headers, timeouts)
        if self._local is None:
            raise UpstreamError("connect", "the sandbox is switched off")
        return self._local.send(None, request, credential.headers, timeouts)

    async def _send_with_care(
        self, base_url: str, credential: Credential, request: UpstreamRequest, timeouts: Timeouts
    ) -> Answer:
        """Elsewhere than below the base URL, or signed."""
        if request.url is not None and not same_site(base_url, request.url):
            message = "the provider named an address of another site to ask"
            raise UpstreamError("upstream_error", message, stage="address")
        named = request.url is not None
        try:
            origin, request = placed(base_url, request)
            authorization = await credential.authorize(origin, request, self._client)
            return await self._client.send(origin, request, authorization, timeouts)
        except ValueError as error:
            if not named:  # then it is an adapter's mistake
                raise
            message = f"the provider named: {error}"
            raise UpstreamError("upstream_error", message, stage="address") from error

    async def authorization(self, route: Route, credential: Credential, url: str) -> Headers:
        """What ``Fetcher.download`` needs as ``headers`` to GET ``url`` with the provider's key;
        nothing if it is not of the provider's own site. Raises UpstreamError."""
        base_url = route.provider.base_url
        if not same_site(base_url, url):
            return ()
        origin, request = placed(base_url, UpstreamRequest("", (), b"", method="GET", url=url))
        return await credential.authorize(origin, request, self._client)

    def release(
        self,
        route: Route,
        credential: Credential,
        error: UpstreamError | None,
        *,
        first_byte_us: int | None,
        tokens: int = 0,
        tokens_per_s: float | None = None,
    ) -> None:
        """The attempt is over. ``error`` and ``first_byte_us`` None: it ended without an answer
        (the client left), which says nothing about key or route. ``tokens`` count for the
        provider's tokens-per-minute limit."""
        answered = error is not None or first_byte_us is not None
        pool = self._pools.get(route.provider.name)
        if pool is not None:
            pool.release(credential, error, route.upstream_model, verdict=answered)
            if tokens and pool.only is None:  # with an only key there is no limit to count for
                pool.used(tokens)
        if error is not None:
            self._health.failure(route, error)
        elif first_byte_us is not None:
            first_byte_ms = first_byte_us / 1000
            self._health.success(route, first_byte_ms=first_byte_ms, tokens_per_s=tokens_per_s)
        else:
            self._health.abandoned(route)


def placed(base_url: str, request: UpstreamRequest) -> tuple[Origin, UpstreamRequest]:
    """Where a request goes (its ``path`` is below that origin): the base URL, its host alone
    (``from_root``), or the host of ``url``, which ``same_site`` has passed."""
    if request.url is None:
        origin = Origin.parse(base_url)
        if not request.from_root or not origin.prefix:
            return origin, request
        scheme = "https" if origin.tls else "http"
        return Origin.parse(f"{scheme}://{origin.authority}"), request
    scheme, _, rest = request.url.partition("://")
    found = _AUTHORITY.match(rest)
    place = found[0] if found is not None else ""
    path = rest[len(place) :]
    if not path.startswith("/"):
        path = "/" + path
    origin = Origin.parse(f"{scheme.lower()}://{place}")
    return origin, msgspec.structs.replace(request, path=path, url=None)
