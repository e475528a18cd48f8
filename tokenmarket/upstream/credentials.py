"""The keys we show to providers: several per provider, used in turn, rested when refused.

A reader must know:

* A key that the provider refuses (auth, no balance) rests for long and raises an alert flag; one
  that is rate limited rests as long as the provider says. ``forbidden`` and ``rate_limited``
  rest the key for that model only: providers grant and limit by model.
* ``ProviderLimits`` are what our account may do there. They are kept here, before the provider
  has to say no, so that routing goes around instead of failing.
* A secret leaves its object only by ``reveal``, as the rendered header of its credential or in the
  signer made of it; its ``repr`` is ``***`` (``design/security.md`` C5).
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

import msgspec

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Provider, ProviderLimits
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.routing import AVAILABLE, RouteState
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.origin import Headers, Origin, checked_value
from tokenmarket.upstream.signers import Signer, signer_for

# Providers that do not want ``authorization: Bearer KEY``: adapter -> (header, text before it).
# Sources: shared/reference/providers and media, 2026-11. Keys that sign requests (bedrock), mint
# or fetch tokens (kling's old keys, vertex) are more than a header: ``signers.py``.
STYLES: Final[dict[str, tuple[str, str]]] = {
    "anthropic": ("x-api-key", ""),
    "assemblyai": ("authorization", ""),
    "azure": ("api-key", ""),
    "azure_speech": ("ocp-apim-subscription-key", ""),
    "bfl": ("x-key", ""),
    "deepgram": ("authorization", "Token "),
    "elevenlabs": ("xi-api-key", ""),
    "fal": ("authorization", "Key "),
    "gemini": ("x-goog-api-key", ""),
    "ideogram": ("api-key", ""),
    "pixverse": ("api-key", ""),
    "vidu": ("authorization", "Token "),
    "volcengine": ("x-api-key", ""),
}
BEARER: Final = ("authorization", "Bearer ")

MODELS_RESTING_MAX: Final = 256
_MINUTE: Final = 60


class Rest(msgspec.Struct, frozen=True):
    """How long a key rests after one kind of refusal; doubled each time up to the maximum."""

    first_s: float
    max_s: float
    whole_key: bool
    alert: bool


RESTS: Final[dict[str, Rest]] = {
    "auth": Rest(600.0, 3600.0, whole_key=True, alert=True),
    "no_balance": Rest(600.0, 3600.0, whole_key=True, alert=True),
    "quota_exhausted": Rest(300.0, 3600.0, whole_key=True, alert=True),
    "forbidden": Rest(300.0, 3600.0, whole_key=False, alert=True),
    "rate_limited": Rest(1.0, 60.0, whole_key=False, alert=False),
}
RETRY_AFTER_S_MAX: Final = 86_400.0


class Secret:
    """A text that does not show itself, cannot be pickled and compares in constant time."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Credential:
    """One key at one provider. ``headers`` is the same tuple for life: rendered heads are cached
    by it. An empty tuple: a server without keys, or a ``signer`` that makes them for each request:
    ``authorize`` knows which."""

    __slots__ = ("_rests", "_secret", "alert", "blemished", "headers", "id", "in_flight", "signer")

    def __init__(
        self,
        id: str,
        headers: Headers,
        secret: Secret | None = None,
        signer: Signer | None = None,
    ) -> None:
        self.id = id
        self.headers = headers
        self.signer = signer
        self.in_flight = 0
        self.alert: str | None = None  # the kind of refusal that a person must look at
        self.blemished = False  # it has a rest or an alert; most never do
        self._secret = secret
        # "" = the whole key; else one upstream model -> (until, seconds of this rest, kind).
        self._rests: dict[str, tuple[float, float, str]] = {}

    def __repr__(self) -> str:
        return f"Credential({self.id})"

    def is_for(self, secret: Secret, headers: Headers, signer: Signer | None) -> bool:
        """Whether it would be made the same way again."""
        same = self.headers == headers and type(self.signer) is type(signer)
        return same and self._secret == secret

    async def authorize(
        self, origin: Origin, request: UpstreamRequest, client: UpstreamClient
    ) -> Headers:
        """What shows our key in exactly this request to exactly this origin, which must be the
        provider's own. Raises UpstreamError when a token could not be had."""
        if self.signer is None:
            return self.headers
        return await self.signer.authorize(origin, request, client)

    def resting(self, model: str, now_s: float) -> tuple[float, str] | None:
        """(seconds left, kind of refusal) if it may not be used for ``model`` now."""
        if not self._rests:
            return None
        found: tuple[float, str] | None = None
        for scope in ("", model):
            rest = self._rests.get(scope)
            if (
                rest is not None
                and rest[0] > now_s
                and (found is None or rest[0] - now_s > found[0])
            ):
                found = rest[0] - now_s, rest[2]
        return found

    def resting_longest_s(self, now_s: float) -> float:
        """Seconds until it may be used for every model again; 0 = now."""
        left = [until_s - now_s for until_s, *_ in self._rests.values()]
        return max(0.0, *left) if left else 0.0

    def forget_rests(self) -> None:
        """An operator has seen to it: try again at once."""
        self._rests.clear()
        self.alert = None
        self.blemished = False

    def refused(self, error: UpstreamError, model: str, now_s: float) -> None:
        """Rest as ``RESTS`` says, or as long as the provider said if it did."""
        rule = RESTS.get(error.kind)
        if rule is None:
            return
        if self.signer is not None and error.kind == "auth":
            self.signer.forget()
        scope = "" if rule.whole_key else model
        before = self._rests.get(scope)
        if before is not None and now_s < before[0]:
            return  # an answer to a request that was sent before the rest began
        if error.retry_after_s is not None:
            rest_s = min(max(error.retry_after_s, 0.1), RETRY_AFTER_S_MAX)
            grown_s = rule.first_s
        else:
            grown_s = rule.first_s if before is None else min(2 * before[1], rule.max_s)
            rest_s = grown_s
        while scope not in self._rests and len(self._rests) > MODELS_RESTING_MAX:
            del self._rests[next(iter(self._rests))]
        self._rests[scope] = now_s + rest_s, grown_s, error.kind
        self.blemished = True
        if rule.alert:
            self.alert = error.kind

    def worked(self, model: str) -> None:
        """A success ends the doubling, and the alert."""
        if self.blemished:
            self._rests.pop("", None)
            self._rests.pop(model, None)
            self.alert = None
            self.blemished = bool(self._rests)


class Minute:
    """A sum over the last sixty seconds, second by second."""

    __slots__ = ("_now", "_ring", "total")

    def __init__(self) -> None:
        self._ring = [0] * _MINUTE
        self._now = 0
        self.total = 0

    def turn(self, now_s: float) -> None:
        now = int(now_s)
        if now == self._now:
            return
        for passed in range(max(self._now + 1, now - _MINUTE + 1), now + 1):
            self.total -= self._ring[passed % _MINUTE]
            self._ring[passed % _MINUTE] = 0
        self._now = max(now, self._now)

    def add(self, count: int) -> None:
        self._ring[self._now % _MINUTE] += count
        self.total += count

    def frees_s(self, now_s: float) -> float:
        """Seconds until the oldest counted second leaves the window."""
        for age in range(_MINUTE - 1, -1, -1):
            if self._ring[(self._now - age) % _MINUTE]:
                return max(self._now - age + _MINUTE - now_s, 0.0)
        return 0.0


class CredentialPool:
    """The keys and limits of one provider in this process."""

    def __init__(
        self,
        provider: Provider,
        secrets: Iterable[tuple[str, Secret]],
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``secrets`` are (stable id, key); ``clock`` is monotonic, in seconds; ``wall`` counts
        them from 1970, for tokens. Raises ValueError for a key that cannot be written into a header
        or cannot sign, without showing it."""
        self._clock = clock
        self._wall = wall
        self._requests = Minute()
        self._tokens = Minute()
        self._in_flight = 0
        self._next = 0
        self.only: Credential | None = None  # the usual case: one key, and no limit to keep
        self._credentials: list[Credential] = []
        self.update(provider, secrets)

    @property
    def credentials(self) -> tuple[Credential, ...]:
        return tuple(self._credentials)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def update(self, provider: Provider, secrets: Iterable[tuple[str, Secret]]) -> None:
        """A new catalog or new keys. A key that stays keeps its rest and its running requests."""
        before = {credential.id: credential for credential in self._credentials}
        header, lead = STYLES.get(provider.adapter, BEARER)
        after: list[Credential] = []
        for id, secret in secrets:
            kept = before.get(id)
            text = secret.reveal()
            signer = signer_for(provider.adapter, provider.base_url, text, self._wall)
            headers = ((header, lead + checked_value(text)),) if signer is None else ()
            if kept is not None and kept.is_for(secret, headers, signer):
                after.append(kept)
            else:
                after.append(Credential(id, headers, secret, signer))
        if not after and provider.keyless:
            after.append(before.get("none") or Credential("none", ()))
        self._provider = provider.name
        self._limits: ProviderLimits = provider.limits
        self._missing = provider.api_key_env or "a key"
        self._credentials = after
        limited = self._limits.rpm or self._limits.tpm or self._limits.concurrency
        self.only = after[0] if len(after) == 1 and not limited else None

    def state(self, model: str = "") -> RouteState:
        """Whether ``acquire`` would give a credential now, and if not why and until when."""
        only = self.only
        if only is not None and not only.blemished:
            return AVAILABLE
        if not self._credentials:
            return RouteState(available=False, kind="missing", reason=f"set {self._missing}")
        now_s = self._clock()
        limit = self._limited(now_s)
        if limit is not None:
            return limit
        soonest: tuple[float, str] | None = None
        for credential in self._credentials:
            rest = credential.resting(model, now_s)
            if rest is None:
                return AVAILABLE
            soonest = rest if soonest is None else min(soonest, rest)
        wait_s, kind = soonest or (0.0, "")
        return RouteState(
            available=False,
            kind="cooling",
            reason=f"every credential is resting ({kind})",
            retry_after_s=wait_s,
        )

    def acquire(self, model: str = "") -> Credential | None:
        """The next key in turn that is not resting; None: see ``state``. Give it back with
        ``release`` whatever happens."""
        only = self.only
        if only is not None and not only.blemished:
            only.in_flight += 1
            self._in_flight += 1
            return only
        now_s = self._clock()
        if self._limited(now_s) is not None:
            return None
        count = len(self._credentials)
        for step in range(count):
            credential = self._credentials[(self._next + step) % count]
            if credential.resting(model, now_s) is None:
                self._next = (self._next + step + 1) % count
                credential.in_flight += 1
                self._in_flight += 1
                if self._limits.rpm:  # ``_limited`` has turned the minute
                    self._requests.add(1)
                return credential
        return None

    def release(
        self,
        credential: Credential,
        error: UpstreamError | None,
        model: str = "",
        *,
        verdict: bool = True,
    ) -> None:
        """``verdict`` False: the attempt ended before the provider said anything about the key."""
        credential.in_flight -= 1
        self._in_flight -= 1
        if error is not None:
            credential.refused(error, model, self._clock())
        elif verdict and credential.blemished:
            credential.worked(model)

    def used(self, tokens: int) -> None:
        """Tokens of a finished request, for the limit of tokens per minute."""
        if self._limits.tpm:
            self._tokens.turn(self._clock())
            self._tokens.add(max(tokens, 0))

    def _limited(self, now_s: float) -> RouteState | None:
        limits = self._limits
        if limits.concurrency and self._in_flight >= limits.concurrency:
            return self._limit("concurrency", 1.0)
        if limits.rpm:
            self._requests.turn(now_s)
            if self._requests.total >= limits.rpm:
                return self._limit("requests per minute", self._requests.frees_s(now_s))
        if limits.tpm:
            self._tokens.turn(now_s)
            if self._tokens.total >= limits.tpm:
                return self._limit("tokens per minute", self._tokens.frees_s(now_s))
        return None

    def _limit(self, which: str, wait_s: float) -> RouteState:
        return RouteState(
            available=False,
            kind="limit",
            reason=f"our limit of {which} at {self._provider}",
            retry_after_s=wait_s,
        )
