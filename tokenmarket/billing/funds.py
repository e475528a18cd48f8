"""The wallet's memory: what this process has leased, held and not yet posted.

For every bucket and every spend window, at every moment (invariant I8):

    rest of the lease in SQL = free + held + unposted + returning (+ excess, windows only)

``free`` may be spent now, ``held`` belongs to running requests, ``unposted`` is captured and waits
for the poster, ``returning`` is on its way back to SQL. The rest changes only under the wallet's
lock; the others change in plain synchronous code.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tokenmarket.store.money_moves import Limit


class InsufficientFunds(Exception):
    """Not enough that this request may spend. ``in_flight``: running requests hold enough."""

    def __init__(
        self, available_nano: int, held_nano: int, needed_nano: int, in_flight: bool
    ) -> None:
        super().__init__(f"{needed_nano} nano-USD needed, {available_nano} available")
        self.available_nano = available_nano
        self.held_nano = held_nano
        self.needed_nano = needed_nano
        self.in_flight = in_flight


class SpendLimitReached(Exception):
    """A spend limit leaves too little. ``owner``: key | team |
    organization. ``resets_at_s``: unix, None
    for a limit on the total. ``in_flight``: running requests hold enough of the limit."""

    def __init__(self, window: Window, needed_nano: int) -> None:
        limit = window.limit
        super().__init__(f"{limit.period} spend limit of the {limit.owner_kind} reached")
        self.owner = limit.owner_kind
        self.period = limit.period
        self.limit_nano = limit.limit_nano
        self.used_nano = limit.limit_nano - window.free - window.held
        self.held_nano = window.held
        self.needed_nano = needed_nano
        self.in_flight = window.held > 0 and window.free + window.held >= needed_nano
        self.resets_at_s = None if limit.period == "total" else limit.ends_us // 1_000_000


class Admission:
    """``stopped`` says why nothing new may be admitted, or None. The keeper sets it, the till
    obeys it."""

    __slots__ = ("stopped",)

    def __init__(self) -> None:
        self.stopped: str | None = None


class Bucket:
    """This process's slice of one balance account."""

    __slots__ = (
        "account_id",
        "expires_us",
        "free",
        "held",
        "lease_no",
        "priority",
        "returning",
        "scope",
        "unposted",
    )

    def __init__(self, account_id: str) -> None:
        self.account_id = account_id
        self.scope: frozenset[str] | None = None
        self.priority = 0
        self.expires_us = 0
        self.lease_no = 0
        self.free = 0
        self.held = 0
        self.unposted = 0
        self.returning = 0

    @property
    def burn_order(self) -> tuple[bool, int, int, str]:
        """Money for few models first, then by priority, then what expires first, then by id."""
        return (self.scope is None, self.priority, self.expires_us, self.account_id)

    def set_rest(self, rest_nano: int) -> None:
        """Take over what SQL says of the lease; only under the wallet's lock."""
        self.free = rest_nano - self.held - self.unposted - self.returning


class Window:
    """This process's slice of one spend limit in one period. ``free`` may be below zero after the
    limit was lowered: then nothing more is spent until holds have come back. ``excess`` was leased
    before that. ``parked``: given back while idle, so an empty slice says nothing about the limit.
    """

    __slots__ = ("excess", "free", "held", "lease_no", "limit", "parked", "returning", "unposted")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.lease_no = 0
        self.free = 0
        self.held = 0
        self.unposted = 0
        self.returning = 0
        self.excess = 0
        self.parked = False

    def set_rest(self, rest_nano: int, excess_nano: int) -> None:
        self.excess = excess_nano
        self.free = rest_nano - self.held - self.unposted - self.returning - excess_nano

    def covers(self, now_us: int) -> bool:
        return self.limit.starts_us <= now_us < self.limit.ends_us


class Pool:
    """One organisation. ``buckets`` are in burn order."""

    __slots__ = (
        "active",
        "buckets",
        "by_account",
        "durable_known",
        "durable_nano",
        "idle_since_us",
        "org_id",
        "refused_until_us",
        "windows",
    )

    def __init__(self, org_id: str) -> None:
        self.org_id = org_id
        self.buckets: list[Bucket] = []
        self.by_account: dict[str, Bucket] = {}
        self.windows: dict[str, Window] = {}  # every window with anything in it, by id
        self.durable_nano = 0  # in durable holds, so in no lease
        self.durable_known = False
        self.active = False
        self.idle_since_us = 0
        self.refused_until_us = 0

    def free_nano(self, model: str | None, now_us: int) -> int:
        """What may be spent on ``model`` now; None: on anything."""
        return sum(
            bucket.free
            for bucket in self.buckets
            if bucket.free > 0
            and bucket.expires_us > now_us
            and (bucket.scope is None or model is None or model in bucket.scope)
        )

    def total_nano(self, now_us: int) -> int:
        """Free and held, without what has expired."""
        total = self.durable_nano
        for bucket in self.buckets:
            if bucket.expires_us > now_us:
                total += bucket.free + bucket.held
        return total

    def held_nano(self) -> int:
        """By running requests and tasks."""
        return self.durable_nano + sum(bucket.held for bucket in self.buckets)


class Funds:
    """What one key may spend: its organisation's pool and all windows that count for it."""

    __slots__ = ("key_id", "pool", "stale", "windows")

    def __init__(self, pool: Pool, key_id: str) -> None:
        self.pool = pool
        self.key_id = key_id
        self.windows: tuple[Window, ...] = ()
        self.stale = False  # the control plane has changed: ask SQL before the next hold


class Hold(msgspec.Struct):
    """Money set aside for one running request. ``open`` until settle or void."""

    request_id: str
    org_id: str
    key_id: str
    model: str
    provider: str
    price_version: str
    amount_nano: int
    held_us: int
    parts: list[tuple[Bucket, int]]
    windows: tuple[Window, ...]
    open: bool = True
    progress_nano: int = 0


class Capture(msgspec.Struct, frozen=True, gc=False):
    """How a request ended in money: charged + released = held, unless more than held was due."""

    charged_nano: int
    uncollected_nano: int
    released_nano: int
    transfer_ids: tuple[str, ...]


class Balance(NamedTuple):
    """available = balance - held; exact, settled but unposted requests included."""

    balance_nano: int
    held_nano: int
    available_nano: int
