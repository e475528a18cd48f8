"""Requests/min, tokens/min and concurrency per key and per organisation, in memory.

Each rate is one GCRA value in integers: ``due`` is the time at which nothing is owed any more, so
a limit of L per minute allows a burst of L and never more than ``L + L*t``. ``take`` checks all
limits of a caller, then takes from all: a refused request consumes nothing.
(``design/billing.md`` section 4.3; one process.)
"""

from __future__ import annotations

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wording import say, word

MINUTE_US = 60_000_000


_REQUESTS, _TOKENS = (
    b"x-ratelimit-limit-%b: %%d\r\nx-ratelimit-remaining-%b: %%d\r\n"
    b"x-ratelimit-reset-%b: %%b\r\n" % (unit, unit, unit)
    for unit in (b"requests", b"tokens")
)


class Rate:
    """So many units per minute. ``due`` and the time it is compared with count microseconds times
    ``limit``: then a unit is MINUTE_US of them whatever the limit, and nothing is ever rounded."""

    __slots__ = ("due", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.due = 0 if limit else 1  # a limit of 0 is never free

    def owed(self, now_us: int) -> int:
        """In units x MINUTE_US."""
        return max(0, self.due - now_us * self.limit)

    def left(self, now_us: int) -> int:
        """Units free right now; never negative."""
        limit = self.limit
        free = ((now_us + MINUTE_US) * limit - self.due) // MINUTE_US
        if free > limit:
            return limit
        return free if free > 0 else 0

    def take(self, units: int, now_us: int) -> None:
        """Whether there are so many is for the caller to know."""
        now = now_us * self.limit
        due = self.due
        self.due = (due if due > now else now) + units * MINUTE_US

    def wait_us(self, units: int, now_us: int) -> int:
        """Until ``units`` fit; a limit of 0 is asked about again in a minute."""
        if self.limit == 0:
            return MINUTE_US
        over = self.owed(now_us) + units * MINUTE_US - self.limit * MINUTE_US
        return -(-over // self.limit) if over > 0 else 0


def _tighter(lines: bytes, rate: Rate, other: Rate, now_us: int) -> bytes:
    """``lines`` with the one that has less left: its limit, what is left, and how long until it is
    full again."""
    left, other_left = rate.left(now_us), other.left(now_us)
    if other_left < left:
        rate, left = other, other_left
    limit = rate.limit
    wait_us = -(-rate.owed(now_us) // limit) if limit else MINUTE_US
    return lines % (limit, left, duration(wait_us))


class Scope:
    """The limits of one owner: a key or an organisation. ``running_max`` None: any number."""

    __slots__ = ("owner", "requests", "running", "running_max", "tokens")

    def __init__(self, owner: str, rpm: int, tpm: int, concurrency: int | None) -> None:
        self.owner = owner
        self.requests = Rate(rpm)
        self.tokens = Rate(tpm)
        self.running = 0
        self.running_max = concurrency

    def change(self, rpm: int, tpm: int, concurrency: int | None) -> None:
        """New limits; debts stay, in proportion."""
        for rate, limit in ((self.requests, rpm), (self.tokens, tpm)):
            if rate.limit != limit:
                due = rate.due * limit // rate.limit if rate.limit else 0
                rate.limit, rate.due = limit, due if limit else 1
        self.running_max = concurrency

    def refusal(self, tokens: int, now_us: int) -> ApiError:
        """Why one more request with so many tokens is too much, as ``CallerLimits.take`` found."""
        if self.running_max is not None and self.running >= self.running_max:
            return _refused("concurrency", self.owner, self.running_max, 1_000_000)
        wait_us = self.requests.wait_us(1, now_us)
        if wait_us:
            return _refused("requests per minute", self.owner, self.requests.limit, wait_us)
        wait_us = self.tokens.wait_us(min(tokens, self.tokens.limit), now_us)
        return _refused("tokens per minute", self.owner, self.tokens.limit, wait_us)


class CallerLimits:
    """Both scopes of a caller; ``take`` returns a Ticket or raises ApiError(QUOTA_001)."""

    __slots__ = ("key", "organization")

    def __init__(self, key: Scope, organization: Scope) -> None:
        self.key = key
        self.organization = organization

    def take(self, tokens: int, now_us: int) -> Ticket:
        """Check everything, then take everything. ``tokens`` is the estimate, trued up later."""
        full_us, units = now_us + MINUTE_US, tokens * MINUTE_US
        scopes = (self.key, self.organization)
        for scope in scopes:
            requests, rate, running_max = scope.requests, scope.tokens, scope.running_max
            limit = rate.limit  # a request larger than the limit may run when the bucket is full
            if (
                (running_max is not None and scope.running >= running_max)
                or requests.due + MINUTE_US > full_us * requests.limit
                or rate.due + (units if tokens < limit else limit * MINUTE_US) > full_us * limit
            ):
                raise scope.refusal(tokens, now_us)
        for scope in scopes:
            scope.running += 1
            scope.requests.take(1, now_us)
            scope.tokens.take(tokens, now_us)
        return Ticket(self, tokens)

    def headers(self, now_us: int) -> bytes:
        """OpenAI's rate-limit headers: of the two scopes, the one with less left."""
        key, organization = self.key, self.organization
        return _tighter(_REQUESTS, key.requests, organization.requests, now_us) + _tighter(
            _TOKENS, key.tokens, organization.tokens, now_us
        )


class Ticket:
    """A place taken. End it once: ``done`` (the request ran) or ``cancel`` (it was refused)."""

    __slots__ = ("limits", "tokens")

    def __init__(self, limits: CallerLimits, tokens: int) -> None:
        self.limits: CallerLimits | None = limits
        self.tokens = tokens

    def done(self, tokens: int | None) -> None:
        """Free the place; true up to the tokens really used, as if these had been taken (None =
        unknown: keep the estimate)."""
        limits, self.limits = self.limits, None
        if limits is None:
            return
        more = 0 if tokens is None else (tokens - self.tokens) * MINUTE_US
        key, organization = limits.key, limits.organization
        key.running -= 1
        key.tokens.due += more
        organization.running -= 1
        organization.tokens.due += more

    def cancel(self) -> None:
        """The request was refused after all: it consumed nothing."""
        limits = self.limits
        if limits is None:
            return
        limits.key.requests.due -= MINUTE_US
        limits.organization.requests.due -= MINUTE_US
        self.done(0)


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
