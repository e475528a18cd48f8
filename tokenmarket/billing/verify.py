"""The proof of the books: every invariant of SQL, and every journal against it.

``verify`` may run beside a server: SQL is read in one snapshot, and of each journal only what that
snapshot says is posted is compared. A difference is never rounding or timing; each one is a bug,
damage, or somebody's hand in the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tokenmarket.billing.frames import JournalCorrupt
from tokenmarket.billing.records import C, H, P, Record, S, V
from tokenmarket.billing.recovery import KEPT_US
from tokenmarket.billing.replay import ADOPTED, records, segments
from tokenmarket.core.pricing import PriceRow, PriceSheet, charge
from tokenmarket.core.usage import Usage
from tokenmarket.store.database import Database
from tokenmarket.store.money_checks import Books, Priced, WorkerBooks, posted_requests, read_books

_WINDOWS = ("key:", "team:", "organization:")  # how the ids of spend windows begin
_CHUNK = 500


class Difference(msgspec.Struct, frozen=True):
    """``rule`` as in design/billing.md: I1-I11, R1-R11."""

    rule: str
    subject: str
    expected: str
    actual: str


async def verify(database: Database, journal_root: Path) -> list[Difference]:
    """All differences, empty when the books are right. Raises OSError, Unavailable."""
    books = await read_books(database)
    found = [Difference(*row) for row in books.wrong]
    found += _windows(books)
    found += [
        difference
        for item in books.priced
        if (difference := _priced_right(books.prices, item)) is not None
    ]
    newest_us = max((worker.ended_us for worker in books.workers), default=0)
    for worker in books.workers:
        if worker.state == "dead" and worker.ended_us + KEPT_US < newest_us:
            continue  # its journal may be gone by now
        try:
            found += await _journal(database, journal_root, worker)
        except JournalCorrupt as error:
            found.append(Difference("R4", worker.worker_id, "a journal", str(error)))
    return found


def _windows(books: Books) -> Iterator[Difference]:
    for name, (used, opening) in books.windows.items():
        charged = books.window_charges.get(name, 0)
        if used != opening + charged:
            yield Difference("R11", name, str(opening + charged), str(used))
    for name in books.window_charges.keys() - books.windows.keys():
        yield Difference("R11", name, "a spend window", "none")


def _priced_right(prices: Mapping[str, str], item: Priced) -> Difference | None:
    """Is the charge what the pinned price sheet makes of the units?"""
    try:
        sheet = item.sheet or prices[item.price_version]
        rows = msgspec.json.decode(sheet, type=tuple[PriceRow, ...])
        usage = msgspec.json.decode(item.units_json, type=Usage)
    except msgspec.MsgspecError as error:
        return Difference("R5", item.request_id, "readable units and price", str(error))
    plain = all(not row.when and not row.context_above for row in rows)
    due = charge(PriceSheet(item.price_version, rows, plain), usage)
    if due == item.due_nano:
        return None
    return Difference("R5", item.request_id, str(due), str(item.due_nano))


class _Told:
    """What one journal says: ends up to the cursor, holds without an end, sums."""

    def __init__(self) -> None:
        self.open: dict[str, H] = {}
        self.ends: dict[str, int] = {}  # request -> charge, up to the cursor
        self.captured: dict[str, int] = {}  # account -> sum, up to the cursor
        self.complete = True  # begins with the first segment
        self.wrong: list[Difference] = []

    def hear(self, place: int, cursor: int, record: Record) -> None:
        if isinstance(record, H):
            if record.request_id in self.open:
                self._differs(record.request_id, "one hold", "two")
            self.open[record.request_id] = record
        elif isinstance(record, C):
            for hold in record.open_holds:
                if self.complete and hold.request_id not in self.open:
                    self._differs(hold.request_id, "a hold", "only in a checkpoint")
                self.open.setdefault(hold.request_id, hold)
        elif not isinstance(record, P):
            if isinstance(record, S | V) and self.open.pop(record.request_id, None) is None:
                self._differs(record.request_id, "one open hold", "an end without")
            if place <= cursor:
                self._end(record.request_id, record)

    def _end(self, request_id: str, record: Record) -> None:
        if request_id in self.ends:
            self._differs(request_id, "one end", "two")
        if isinstance(record, S):
            total = sum(amount for _, _, amount in record.legs)
            if total != record.event.charge_nano:
                self._differs(request_id, str(record.event.charge_nano), str(total))
            for account, _, amount in record.legs:
                self.captured[account] = self.captured.get(account, 0) + amount
            self.ends[request_id] = total
        else:
            self.ends[request_id] = 0

    def _differs(self, subject: str, expected: str, actual: str) -> None:
        self.wrong.append(Difference("I9", subject, expected, actual))


async def _journal(database: Database, journal_root: Path, worker: WorkerBooks) -> list[Difference]:
    directory = journal_root.joinpath(worker.worker_id)
    if not directory.is_dir():
        directory = Path(worker.journal_dir)
    if not directory.is_dir():
        return [Difference("R4", worker.worker_id, "its journal", f"{directory} is gone")]
    told = _Told()
    numbers = segments(directory)
    first = numbers[0] if numbers else 1
    told.complete = first == 1
    for place, record in records(directory, worker.worker_id, first):
        told.hear(place, worker.cursor, record)
    wrong = told.wrong
    if worker.cursor == ADOPTED:
        wrong += await _recovered(database, told)
    wrong += await _ends(database, told)
    if told.complete:
        for account in sorted(told.captured.keys() | worker.captured.keys()):
            expected, actual = told.captured.get(account, 0), worker.captured.get(account, 0)
            if expected != actual and not account.startswith(_WINDOWS):
                subject = f"{worker.worker_id} {account}"
                wrong.append(Difference("R4", subject, str(expected), str(actual)))
    return wrong


async def _recovered(database: Database, told: _Told) -> list[Difference]:
    """Holds that a dead worker left open must have been ended by its adopter, within the hold."""
    wrong: list[Difference] = []
    names = list(told.open)
    for start in range(0, len(names), _CHUNK):
        some = names[start : start + _CHUNK]
        posted = await posted_requests(database, some)
        for name in some:
            if name not in posted:
                wrong.append(Difference("R9", name, "an end", "none"))
                continue
            hold, amount = told.open[name], posted[name][0]
            if amount > hold.amount_nano:
                wrong.append(Difference("I9", name, f"<= {hold.amount_nano}", str(amount)))
            due = amount
            for account, _, part in hold.legs:
                taken = min(due, part)
                due -= taken
                if taken:
                    told.captured[account] = told.captured.get(account, 0) + taken
    return wrong


async def _ends(database: Database, told: _Told) -> list[Difference]:
    """Every end up to the cursor is in SQL once, at its amount."""
    wrong: list[Difference] = []
    names = list(told.ends)
    for start in range(0, len(names), _CHUNK):
        some = names[start : start + _CHUNK]
        posted = await posted_requests(database, some)
        for name in some:
            found = posted.get(name)
            if found is None:
                wrong.append(Difference("R4", name, f"charged {told.ends[name]}", "not posted"))
            elif not found[1] and found[0] != told.ends[name]:
                wrong.append(Difference("R4", name, str(told.ends[name]), str(found[0])))
    return wrong
