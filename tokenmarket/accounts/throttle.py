"""How often a password or code may be tried: growing waits, by source and by account.

    throttle.begin("password", email, address)     # raises TooMany; counts before it is checked
    throttle.succeeded("password", email, address)

Three counts, in memory and bounded. A *pair* (account, source) and a *source* (IPv4 address, IPv6
/64) wait up to a quarter of an hour. The *account* alone, tried from many places, waits at most a
minute, and not at all for a source that has signed in to it before: strangers can slow the rightful
owner down, not lock them out; a reset link by mail works all the time.

Counting before checking matters: a hundred tries sent at once must not all find the count at zero.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenmarket.accounts.failures import source_of
from tokenmarket.billing.clock import Clock

ENTRIES_MAX = 20_000
FORGOTTEN_S = 3_600
KNOWN_MAX = 20_000


class Rule(NamedTuple):
    """The first ``free`` failures cost nothing, then ``first_s``, doubling up to ``most_s``."""

    free: int
    first_s: int
    most_s: int

    def wait_s(self, failures: int) -> int:
        over = failures - self.free
        return 0 if over < 0 else min(self.first_s << min(over, 20), self.most_s)


PAIR = Rule(5, 30, 900)
SOURCE = Rule(20, 30, 900)
ACCOUNT = Rule(30, 10, 60)


class TooMany(Exception):
    """Tried too often; ``retry_after_s`` from now."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many tries; again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Throttle:
    """``kind`` keeps passwords, codes, mails and sign-ups apart."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, int]] = {}  # name -> (failures, last, monotonic us)
        self._known: dict[str, None] = {}  # pairs that have succeeded

    def begin(self, kind: str, account: str, address: str) -> None:
        """Count a try. Raises TooMany, and does not count, while a wait is running."""
        names = _names(kind, account, address)
        known = names[0][0] in self._known
        self._count(names[:2] if known else names)

    def begin_from(self, kind: str, address: str) -> None:
        """Count something that has no account yet, by its source alone. Raises TooMany."""
        self._count([_of_source(kind, address)])

    def succeeded(self, kind: str, account: str, address: str) -> None:
        """The try was right: it is not counted, and this pair starts anew."""
        (pair, _), (source, _), (whole, _) = _names(kind, account, address)
        self._failures.pop(pair, None)
        for name in (source, whole):
            count, last_us = self._failures.get(name, (0, 0))
            if count > 1:
                self._failures[name] = (count - 1, last_us)
            else:
                self._failures.pop(name, None)
        self._known.pop(pair, None)
        if len(self._known) >= KNOWN_MAX:
            del self._known[next(iter(self._known))]
        self._known[pair] = None

    def forgive(self, kind: str, account: str) -> None:
        """The owner has proved who they are in another way, by a reset link."""
        prefix = f"{kind} pair {account} "
        for name in [n for n in self._failures if n.startswith(prefix)]:
            del self._failures[name]
        self._failures.pop(f"{kind} account {account}", None)

    def _count(self, names: list[tuple[str, Rule]]) -> None:
        wait_s = max(self._wait_s(name, rule) for name, rule in names)
        if wait_s > 0:
            raise TooMany(wait_s)
        now_us = self._clock.monotonic_us()
        for name, _ in names:
            count, last_us = self._failures.pop(name, (0, now_us))
            if now_us - last_us >= FORGOTTEN_S * 1_000_000:
                count = 0
            if len(self._failures) >= ENTRIES_MAX:
                del self._failures[next(iter(self._failures))]
            self._failures[name] = (count + 1, now_us)

    def _wait_s(self, name: str, rule: Rule) -> int:
        count, last_us = self._failures.get(name, (0, 0))
        gone_us = self._clock.monotonic_us() - last_us
        if gone_us >= FORGOTTEN_S * 1_000_000:
            return 0
        return max(0, rule.wait_s(count) - gone_us // 1_000_000)


def _names(kind: str, account: str, address: str) -> list[tuple[str, Rule]]:
    """Pair, source, account."""
    return [
        (f"{kind} pair {account} {source_of(address)}", PAIR),
        _of_source(kind, address),
        (f"{kind} account {account}", ACCOUNT),
    ]


def _of_source(kind: str, address: str) -> tuple[str, Rule]:
    return f"{kind} source {source_of(address)}", SOURCE
