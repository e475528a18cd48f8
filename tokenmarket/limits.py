"""Requests/min, tokens/min and concurrency per key and per organisation, in memory.

Each rate is one GCRA-like value in integers: ``debt`` grows by what is taken and drains with time,
so a limit of L per minute allows a burst of L and never more than ``L + L*t``. ``take`` checks all
limits of a caller, then takes from all: a refused request consumes nothing.
(``design/billing.md`` section 4.3; one process.)
"""

from __future__ import annotations

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wording import say, word

MINUTE_US = 60_000_000


_HEADERS = (
    b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n"
    b"x-ratelimit-reset-requests: %b\r\nx-ratelimit-limit-tokens: %d\r\n"
    b"x-ratelimit-remaining-tokens: %d\r\nx-ratelimit-reset-tokens: %b\r\n"
)


class Rate:
    """So many units per minute. ``debt`` is in units x MINUTE_US, drained at ``limit`` per us."""

    __slots__ = ("debt", "limit", "updated_us")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.debt = 0
        self.updated_us = 0

    def drain(self, now_us: int) -> int:
        elapsed_us = now_us - self.updated_us
        if elapsed_us > 0:
            debt = self.debt - elapsed_us * self.limit
            self.debt = debt if debt > 0 else 0
            self.updated_us = now_us
        return self.debt

    def left(self, now_us: int) -> int:
        """Units free right now; never negative."""
        limit = self.limit
        elapsed_us = now_us - self.updated_us
        debt = self.debt
        if elapsed_us > 0:
            debt -= elapsed_us * limit
            if debt < 0:
                debt = 0
            self.debt = debt
            self.updated_us = now_us
        free = limit + -debt // MINUTE_US
        return free if free > 0 else 0

    def wait_us(self, units: int) -> int:
        """Until ``units`` fit; a limit of 0 is asked about again in a minute."""
        if self.limit == 0:
            return MINUTE_US
        over = self.debt + units * MINUTE_US - self.limit * MINUTE_US
        return -(-over // self.limit) if over > 0 else 0

    def reset_us(self) -> int:
        """Until the bucket is full again."""
        return -(-self.debt // self.limit) if self.limit else MINUTE_US


class Gauge:
    """How many requests run at once, and how many may (None = any number)."""

    __slots__ = ("limit", "running")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.running = 0


class Scope:
    """The limits of one owner: a key or an organisation."""

    __slots__ = ("concurrency", "owner", "requests", "tokens")

    def __init__(self, owner: str, rpm: int, tpm: int, concurrency: int | None) -> None:
        self.owner = owner
        self.requests = Rate(rpm)
        self.tokens = Rate(tpm)
        self.concurrency = Gauge(concurrency)

    def change(self, rpm: int, tpm: int, concurrency: int | None) -> None:
        """New limits; debts stay, in proportion."""
        for rate, limit in ((self.requests, rpm), (self.tokens, tpm)):
            if rate.limit != limit:
                rate.debt = rate.debt * limit // rate.limit if rate.limit else 0
                rate.limit = limit
        self.concurrency.limit = concurrency


class CallerLimits:
    """Both scopes of a caller; ``take`` returns a Ticket or raises ApiError(QUOTA_001)."""

    __slots__ = ("key", "organization")

    def __init__(self, key: Scope, organization: Scope) -> None:
        self.key = key
        self.organization = organization

    def take(self, tokens: int, now_us: int) -> Ticket:
        """Check everything, then take everything. ``tokens`` is the estimate, trued up later."""
        for scope in (self.key, self.organization):
            gauge = scope.concurrency
            if gauge.limit is not None and gauge.running >= gauge.limit:
                raise _refused("concurrency", scope.owner, gauge.limit, 1_000_000)
            rate = scope.requests
            limit = rate.limit
            elapsed_us = now_us - rate.updated_us  # ``drain``, for every request: without a call
            if elapsed_us > 0:
                debt = rate.debt - elapsed_us * limit
                rate.debt = debt if debt > 0 else 0
                rate.updated_us = now_us
            if rate.debt + MINUTE_US > limit * MINUTE_US:
                raise _refused("requests per minute", scope.owner, limit, rate.wait_us(1))
            rate = scope.tokens
            limit = rate.limit
            elapsed_us = now_us - rate.updated_us
            if elapsed_us > 0:
                debt = rate.debt - elapsed_us * limit
                rate.debt = debt if debt > 0 else 0
                rate.updated_us = now_us
            need = tokens if tokens < limit else limit
            if rate.debt + need * MINUTE_US > limit * MINUTE_US:
                raise _refused("tokens per minute", scope.owner, limit, rate.wait_us(need))
        for scope in (self.key, self.organization):
            scope.concurrency.running += 1
            scope.requests.debt += MINUTE_US
            scope.tokens.debt += tokens * MINUTE_US
        return Ticket(self, tokens)

    def headers(self, now_us: int) -> bytes:
        """OpenAI's rate-limit headers: of the two scopes, the one with less left."""
        key, organization = self.key, self.organization
        requests, tokens = key.requests, key.tokens
        requests_left, tokens_left = requests.left(now_us), tokens.left(now_us)
        other_left = organization.requests.left(now_us)
        if other_left < requests_left:
            requests, requests_left = organization.requests, other_left
        other_left = organization.tokens.left(now_us)
        if other_left < tokens_left:
            tokens, tokens_left = organization.tokens, other_left
        return _HEADERS % (
            requests.limit,
            requests_left,
            duration(requests.reset_us()) if requests.debt else b"0ms",
            tokens.limit,
            tokens_left,
            duration(tokens.reset_us()) if tokens.debt else b"0ms",
        )


class Ticket:
    """A place taken. End it once: ``done`` (the request ran) or ``cancel`` (it was refused)."""

    __slots__ = ("limits", "tokens")

    def __init__(self, limits: CallerLimits, tokens: int) -> None:
        self.limits: CallerLimits | None = limits
        self.tokens = tokens

    def done(self, tokens: int | None) -> None:
        """Free the place; true up to the tokens really used (None = unknown: keep the estimate)."""
        limits, self.limits = self.limits, None
        if limits is None:
            return
        surplus = 0 if tokens is None else self.tokens - tokens
        for scope in (limits.key, limits.organization):
            scope.concurrency.running -= 1
            if surplus:
                debt = scope.tokens.debt - surplus * MINUTE_US
                scope.tokens.debt = debt if debt > 0 else 0

    def cancel(self) -> None:
        """The request was refused after all: it consumed nothing."""
        limits, self.limits = self.limits, None
        if limits is None:
            return
        for scope in (limits.key, limits.organization):
            scope.concurrency.running -= 1
            debt = scope.requests.debt - MINUTE_US
            scope.requests.debt = debt if debt > 0 else 0
            debt = scope.tokens.debt - self.tokens * MINUTE_US
            scope.tokens.debt = debt if debt > 0 else 0


def _refused(limit: str, owner: str, value: int, wait_us: int) -> ApiError:
    return ApiError(
        "QUOTA_001",
        say(
            "The limit of {value} {limit} for this {owner} is reached.",
            value=value,
            limit=word(limit),
            owner=word(owner),
        ),
        reason=limit.replace(" ", "_"),
        retry_after_s=max(wait_us, 1) / 1_000_000,
        details={"limit": limit, "limit_value": value, "scope": owner},
    )


def duration(us: int) -> bytes:
    """OpenAI's form: ``120ms``, ``1s``, ``6m0s``."""
    if us < 1_000_000:
        return b"%dms" % -(-us // 1000)
    seconds = -(-us // 1_000_000)
    if seconds < 60:
        return b"%ds" % seconds
    return b"%dm%ds" % divmod(seconds, 60)


class Limits:
    """All scopes of this process; a caller's pair is looked up once and kept on the caller."""

    def __init__(self, *, rpm_default: int, tpm_default: int) -> None:
        self._rpm_default = rpm_default
        self._tpm_default = tpm_default
        self._scopes: dict[tuple[str, str], Scope] = {}

    def scope(
        self, owner: str, id_: str, rpm: int | None, tpm: int | None, concurrency: int | None
    ) -> Scope:
        """The scope of one owner with its current limits; None = the platform's default."""
        rpm = self._rpm_default if rpm is None else rpm
        tpm = self._tpm_default if tpm is None else tpm
        scope = self._scopes.get((owner, id_))
        if scope is None:
            scope = self._scopes[owner, id_] = Scope(owner, rpm, tpm, concurrency)
        else:
            scope.change(rpm, tpm, concurrency)
        return scope
