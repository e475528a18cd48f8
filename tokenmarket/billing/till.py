"""The synchronous part of the wallet: everything a request does with money, in memory and journal.

No function here awaits, and none does I/O but copying one record into the journal. So each of them
is atomic on the event loop, and each changes memory only after its record is written: a failed
write leaves nothing behind. ``wallet.py`` adds what talks to SQL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from tokenmarket.billing.clock import Clock
from tokenmarket.billing.funds import (
    Admission,
    Bucket,
    Capture,
    Funds,
    Hold,
    InsufficientFunds,
    Pool,
    SpendLimitReached,
    Window,
)
from tokenmarket.billing.journal import Journal
from tokenmarket.billing.poster import Pending, transfer_ids
from tokenmarket.billing.records import NO_LEGS, C, End, H, P, R, S, UsageEvent, V, encode


class AdmissionStopped(Exception):
    """Nothing new may be started; ``reason`` says why. Nothing was charged."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HoldEnded(Exception):
    """The hold was settled or voided before: a bug of the caller, and never a second charge."""


def no_failpoint(_: str) -> None:
    """Where tests die, nothing happens."""


class Till:
    """Holds and their ends."""

    def __init__(
        self,
        journal: Journal,
        pools: dict[str, Pool],
        pending: deque[Pending],
        clock: Clock,
        failpoint: Callable[[str], None],
    ) -> None:
        self.uncollected_nano = 0
        self.admission = Admission()
        self._journal = journal
        self._append = journal.append
        self._pools = pools
        self._pending = pending
        self._wall_us = clock.wall_us
        self._monotonic_us = clock.monotonic_us
        self._failpoint = None if failpoint is no_failpoint else failpoint
        self._live: dict[str, Hold] = {}
        self._held_nano = 0
        self._settled = 0
        self._settled_nano = 0
        self._unposted: dict[str, UsageEvent] = {}
        self._unposted_answers: dict[tuple[str, str, str], UsageEvent] = {}

    def try_hold(
        self,
        funds: Funds,
        request_id: str,
        amount_nano: int,
        *,
        model: str,
        price_version: str,
        provider: str,
    ) -> Hold:
        """Set ``amount_nano`` aside, all or nothing.

        Raises InsufficientFunds (then ``refill`` and try once more), SpendLimitReached,
        AdmissionStopped, JournalFailed.
        """
        if self._journal.trouble is not None or self.admission.stopped is not None:
            raise AdmissionStopped(self._journal.trouble or self.admission.stopped or "")
        if amount_nano < 0 or request_id in self._live:
            raise ValueError("a hold is not negative, and a request has one")
        pool = funds.pool
        pool.active = True
        now_us = self._wall_us()
        windows = funds.windows
        if funds.stale:
            raise self._short(pool, amount_nano, model, now_us)
        if windows:
            self._check_windows(funds, amount_nano, model, now_us)
        parts = self._parts(pool, amount_nano, model, now_us)
        hold = Hold(
            request_id,
            pool.org_id,
            funds.key_id,
            model,
            provider,
            price_version,
            amount_nano,
            now_us,
            parts,
            windows,
        )
        if self._failpoint is not None:
            self._failpoint("before_H")
        self._append(encode(_h_record(hold)))
        if self._failpoint is not None:
            self._failpoint("after_H")
        for bucket, amount in parts:
            bucket.free -= amount
            bucket.held += amount
        for window in windows:
            window.free -= amount_nano
            window.held += amount_nano
        self._live[request_id] = hold
        self._held_nano += amount_nano
        return hold

    def parts_now(
        self, funds: Funds, amount_nano: int, model: str
    ) -> list[tuple[Bucket | Window, int]]:
        """What a hold would take now, from which bucket and spend window; takes nothing.

        For holds that are made in SQL. Raises as ``try_hold``.
        """
        if self._journal.trouble is not None or self.admission.stopped is not None:
            raise AdmissionStopped(self._journal.trouble or self.admission.stopped or "")
        pool, now_us = funds.pool, self._wall_us()
        pool.active = True
        if funds.stale:
            raise self._short(pool, amount_nano, model, now_us)
        self._check_windows(funds, amount_nano, model, now_us)
        parts: list[tuple[Bucket | Window, int]] = []
        parts += self._parts(pool, amount_nano, model, now_us)
        if amount_nano:
            parts += [(window, amount_nano) for window in funds.windows]
        return parts

    def _check_windows(self, funds: Funds, amount_nano: int, model: str, now_us: int) -> None:
        for window in funds.windows:
            if window.free < amount_nano or not window.covers(now_us):
                if window.parked or not window.covers(now_us):
                    raise self._short(funds.pool, amount_nano, model, now_us)
                raise SpendLimitReached(window, amount_nano)

    def _parts(
        self, pool: Pool, amount_nano: int, model: str, now_us: int
    ) -> list[tuple[Bucket, int]]:
        """What to hold in which bucket, in burn order. Raises InsufficientFunds."""
        parts: list[tuple[Bucket, int]] = []
        need = amount_nano
        if not need:
            return parts
        for bucket in pool.buckets:
            free = bucket.free
            if (
                free > 0
                and bucket.expires_us > now_us
                and (bucket.scope is None or model in bucket.scope)
            ):
                if free >= need:
                    parts.append((bucket, need))
                    return parts
                parts.append((bucket, free))
                need -= free
        raise self._short(pool, amount_nano, model, now_us)

    def _short(self, pool: Pool, need_nano: int, model: str, now_us: int) -> InsufficientFunds:
        free, held = pool.free_nano(model, now_us), pool.held_nano()
        return InsufficientFunds(free, held, need_nano, held > 0 and free + held >= need_nano)

    def affordable_nano(self, funds: Funds, model: str) -> int:
        """The largest hold that would succeed at this moment, spend limits included."""
        now_us = self._wall_us()
        most = funds.pool.free_nano(model, now_us)
        for window in funds.windows:
            most = min(most, window.free if window.covers(now_us) else window.limit.limit_nano)
        return max(0, most)

    def progress(self, hold: Hold, charge_nano: int, note: bytes = b"") -> None:
        """Write down what has been delivered: what a death now would charge (at most the hold)."""
        if not hold.open:
            raise HoldEnded(hold.request_id)
        self._append(encode(P(hold.request_id, charge_nano, note)))
        hold.progress_nano = charge_nano
        if self._failpoint is not None:
            self._failpoint("after_P")

    def collectable_nano(self, hold: Hold, charge_nano: int) -> int:
        """What ``settle`` would take of this charge now: less only if it is above the hold."""
        return charge_nano if charge_nano <= hold.amount_nano else self._legs(hold, charge_nano)[1]

    def settle(self, hold: Hold, charge_nano: int, event: Callable[[Capture], UsageEvent]) -> int:
        """Charge, release the rest, write S with the event; returns the place for ``durable``.

        A charge above the hold takes what is free in the same buckets and limits; what remains is
        uncollected, the house's loss. ``event`` gets the capture and must carry its amounts.
        Raises HoldEnded, ValueError, JournalFailed; then nothing has happened.
        """
        if not hold.open:
            raise HoldEnded(hold.request_id)
        if charge_nano < 0:
            raise ValueError("a charge is not negative")
        legs, captured = self._legs(hold, charge_nano)
        uncollected = charge_nano - captured
        released = hold.amount_nano - captured
        request_id = hold.request_id
        if len(legs) == 1:
            ids = (request_id + ".c",)
        else:
            ids = transfer_ids(request_id, len(legs)) if legs else ()
        told = event(Capture(captured, uncollected, released if released > 0 else 0, ids))
        if told.charge_nano != captured or told.uncollected_nano != uncollected:
            raise ValueError("the event must carry the amounts of the capture")
        if told.request_id != request_id or told.org_id != hold.org_id:
            raise ValueError("the event belongs to another request")
        windows = hold.windows
        record: End
        if len(legs) == 1 and not windows:  # nearly every request
            bucket = legs[0][0]
            record = S(request_id, ((bucket.account_id, bucket.lease_no, captured),), (), told)
        elif legs:
            written = tuple([(b.account_id, b.lease_no, amount) for b, amount in legs])
            limits = tuple([(w.limit.window_id, w.lease_no) for w in windows])
            record = S(request_id, written, limits, told)
        else:
            record = V(request_id, told)
            windows = ()
        if self._failpoint is not None:
            self._failpoint("before_S")
        place = self._append(encode(record))
        if self._failpoint is not None:
            self._failpoint("after_S")
        self._apply(hold, legs, captured)
        self.uncollected_nano += uncollected
        self._ended(place, record, legs, windows)
        return place

    def settle_text(self, hold: Hold, told: UsageEvent) -> int:
        """``settle`` for the usual case, the event in hand: a charge above 0 and within a hold of
        one part. Raises as ``settle``; then nothing has happened."""
        ((bucket, held),) = hold.parts
        charge_nano = told.charge_nano
        if not hold.open:
            raise HoldEnded(hold.request_id)
        if not 0 < charge_nano <= held or told.uncollected_nano:
            raise ValueError("not the usual case")
        windows = hold.windows
        limits = tuple([(w.limit.window_id, w.lease_no) for w in windows]) if windows else ()
        legs = ((bucket, charge_nano),)
        written = ((bucket.account_id, bucket.lease_no, charge_nano),)
        record = S(hold.request_id, written, limits, told)
        if self._failpoint is not None:
            self._failpoint("before_S")
        place = self._append(encode(record))
        if self._failpoint is not None:
            self._failpoint("after_S")
        self._apply(hold, legs, charge_nano)
        self._ended(place, record, legs, windows)
        return place

    def _legs(self, hold: Hold, charge_nano: int) -> tuple[list[tuple[Bucket, int]], int]:
        """What to take from which bucket: the hold in its order, then what else is free."""
        parts = hold.parts
        if len(parts) == 1 and charge_nano <= hold.amount_nano:  # nearly every request
            return ([(parts[0][0], charge_nano)] if charge_nano else []), charge_nano
        due = charge_nano
        amounts: dict[Bucket, int] = {}
        if charge_nano > hold.amount_nano:
            extra = charge_nano - hold.amount_nano
            for window in hold.windows:
                extra = min(extra, max(0, window.free))
            due = hold.amount_nano + extra
        for bucket, held in parts:
            part = held if held < due else due
            if part:
                amounts[bucket] = part
                due -= part
        if due:
            now_us = self._wall_us()
            for bucket in self._pools[hold.org_id].buckets:
                if bucket.free > 0 and bucket.expires_us > now_us and _in_scope(bucket, hold.model):
                    part = min(due, bucket.free)
                    amounts[bucket] = amounts.get(bucket, 0) + part
                    due -= part
                    if not due:
                        break
        legs = list(amounts.items())
        return legs, sum(amounts.values())

    def _apply(self, hold: Hold, legs: Sequence[tuple[Bucket, int]], captured: int) -> None:
        hold.open = False
        held = hold.amount_nano
        del self._live[hold.request_id]
        self._held_nano -= held
        for bucket, amount in hold.parts:
            bucket.held -= amount
            bucket.free += amount
        for bucket, amount in legs:
            bucket.free -= amount
            bucket.unposted += amount
        for window in hold.windows:
            window.held -= held
            window.free += held - captured
            window.unposted += captured
        if captured:
            self._settled += 1
            self._settled_nano += captured

    def void(self, hold: Hold, event: Callable[[Capture], UsageEvent]) -> int:
        """End a hold with nothing due (V); returns the place for ``durable``."""
        return self.settle(hold, 0, event)

    def record(self, event: UsageEvent) -> int:
        """A request that was refused before a hold: a receipt, no money."""
        if event.charge_nano or event.uncollected_nano:
            raise ValueError("a charge needs a hold")
        record = R(event.request_id, event)
        place = self._append(encode(record))
        self._ended(place, record, (), ())
        return place

    def _ended(
        self,
        place: int,
        record: End,
        legs: Sequence[tuple[Bucket, int]],
        windows: tuple[Window, ...],
    ) -> None:
        event = record.event
        self._unposted[record.request_id] = event
        if event.answer is not None:
            key = (event.org_id, event.answer.endpoint, event.answer.key)
            self._unposted_answers[key] = event
        self._pending.append((place, record, legs, windows, self._monotonic_us()))

    def _checkpoint(self) -> bytes:
        live = self._live.values()
        return encode(
            C(
                "",
                tuple([_h_record(hold) for hold in live]),
                tuple([P(h.request_id, h.progress_nano, b"") for h in live if h.progress_nano]),
                self._settled,
                self._settled_nano,
            )
        )


def _in_scope(bucket: Bucket, model: str) -> bool:
    return bucket.scope is None or model in bucket.scope


def _h_record(hold: Hold) -> H:
    parts = hold.parts
    windows = hold.windows
    if len(parts) == 1:
        bucket, amount = parts[0]
        legs = ((bucket.account_id, bucket.lease_no, amount),)
    else:
        legs = tuple([(b.account_id, b.lease_no, n) for b, n in parts]) if parts else NO_LEGS
    return H(
        hold.request_id,
        hold.org_id,
        hold.key_id,
        hold.model,
        hold.provider,
        hold.price_version,
        hold.amount_nano,
        legs,
        tuple([(w.limit.window_id, w.lease_no) for w in windows]) if windows else (),
        hold.held_us,
    )
