"""Requests as people read them: lists, the histogram above a list, one request with its receipt.

Running requests come from memory, just finished ones are posted first (``wallet.flush``), so that a
receipt can be read as soon as its response has ended. Everything is by organisation; only the
operator's pages ask with ``org_id`` None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from tokenmarket.billing.clock import Clock
from tokenmarket.billing.wallet import Wallet
from tokenmarket.core import ids
from tokenmarket.exchange import Exchange
from tokenmarket.receipts import document, gather, shown
from tokenmarket.reports.asking import Asked, Span
from tokenmarket.reports.names import Names, filters_of
from tokenmarket.reports.periods import days_of
from tokenmarket.store import (
    report_counts,
    report_ledger,
    report_names,
    report_rows,
    report_search,
)
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money import receipt_json
from tokenmarket.store.money_ledger import Transfer
from tokenmarket.store.report_rows import EventRow, Place, Search
from tokenmarket.store.usage_rollup import DAY_US, HOUR_US, QUARTER_US, Bucketing

PAGE = 50
PAGE_MAX = 200


class Line(NamedTuple):
    """One request in a list. ``failed_providers``: those that were tried before."""

    request_id: str
    org_id: str
    key_id: str
    at_us: int
    status: str
    operation: str
    model: str
    provider: str
    failed_providers: tuple[str, ...]
    error_code: str
    prompt_tokens: int | None
    completion_tokens: int | None
    first_byte_ms: float | None
    duration_ms: float | None
    charge_nano: int | None

    @property
    def fell_back(self) -> bool:
        """It succeeded, but not at its first provider."""
        return self.status == "succeeded" and bool(self.failed_providers)


class Listing(NamedTuple):
    """One page. ``running`` is not empty on the first page only. ``searched_to_us``: there may be
    more that is older than this, which the next page searches."""

    running: list[Line]
    lines: list[Line]
    next_place: Place | None
    searched_to_us: int | None = None


class Column(NamedTuple):
    """One of the histogram: [from, to)."""

    from_us: int
    to_us: int
    requests: int
    failed: int


class Histogram(NamedTuple):
    """``counted_from_us``: where it begins, because what is older was not counted; None: it is
    of the whole time."""

    columns: list[Column]
    counted_from_us: int | None


class Told(NamedTuple):
    """One request. ``receipt`` is the document of ``GET /requests/{id}``; ``balance_after_nano`` is
    None while it runs, if nothing was charged, and if it was very long ago."""

    org_id: str
    receipt: dict[str, Any]
    entries: list[Transfer]
    balance_after_nano: int | None


class Requests:
    """The questions about requests."""

    def __init__(
        self,
        database: Database,
        wallet: Wallet,
        running: Callable[[], Iterable[Exchange]],
        running_one: Callable[[str], Exchange | None],
        clock: Clock,
    ) -> None:
        """``running``: what the gateway serves at the moment; ``running_one``: the lane's too."""
        self._database = database
        self._wallet = wallet
        self._running = running
        self._running_one = running_one
        self._clock = clock

    async def listing(
        self,
        org_id: str | None,
        asked: Asked,
        names: Names | None = None,
        models: tuple[str, ...] = (),
        limit: int = PAGE,
    ) -> Listing:
        """``models``: what ``asked.text`` means, if it is no id (see ``search_of``)."""
        await self._wallet.flush()
        search = search_of(org_id, asked, names, models)
        running: list[Line] = []
        async with self._database.read() as conn:
            if asked.status in ("", "running") and asked.before is None:
                running = await self._running_lines(conn, org_id, search)
            if asked.status == "running":
                return Listing(running, [], None)
            page = await report_search.page(conn, search, min(limit, PAGE_MAX))
        ended = {row.request_id for row in page.rows}
        return Listing(
            [line for line in running if line.request_id not in ended],
            [line_of(row) for row in page.rows],
            page.next_place,
            page.searched_to_us,
        )

    async def histogram(
        self,
        org_id: str | None,
        asked: Asked,
        names: Names | None = None,
        models: tuple[str, ...] = (),
    ) -> Histogram | None:
        """Finished requests over the time asked for. None: running ones or a beginning of an id
        are asked for, or a cost or latency among all organizations."""
        if asked.status == "running":
            return None
        search = search_of(org_id, asked, names, models)
        bucketing = _columns_of(asked.span)
        async with self._database.read() as conn:
            counted = await report_counts.histogram(conn, search, bucketing)
        if counted is None:
            return None
        columns = _filled(counted.rows, bucketing, asked.span)
        if counted.from_us <= search.from_us:
            return Histogram(columns, None)
        columns = [column for column in columns if column.to_us > counted.from_us]
        columns[0] = columns[0]._replace(from_us=max(columns[0].from_us, counted.from_us))
        return Histogram(columns, counted.from_us)

    async def one(self, org_id: str, request_id: str) -> Told | None:
        """None for an unknown id and for another organisation's."""
        if not ids.is_id(request_id, "req"):
            return None
        exchange = self._running_one(request_id)
        if exchange is not None and exchange.org_id == org_id:
            receipt = shown(gather(exchange, None, self._clock.monotonic_us()))
            return Told(org_id, receipt, [], None)
        await self._wallet.flush()
        stored = await receipt_json(self._database, org_id, request_id)
        if stored is None:
            return None
        async with self._database.read() as conn:
            entries = await report_ledger.entries_of(conn, org_id, request_id)
            captures = [entry for entry in entries if entry.kind == "capture"]
            balance_nano: int | None = None
            if captures:
                last = captures[-1]
                balance_nano = await report_ledger.balance_after(conn, org_id, last.ts_us, last.id)
        return Told(org_id, document(stored), entries, balance_nano)

    async def org_of(self, request_id: str) -> str | None:
        """Whose request it was; for the operator only."""
        if not ids.is_id(request_id, "req"):
            return None
        exchange = self._running_one(request_id)
        if exchange is not None:
            return exchange.org_id or None
        await self._wallet.flush()
        async with self._database.read() as conn:
            return await report_names.org_of_request(conn, request_id)

    async def first_bytes_ms(self, org_id: str, span: Span, limit: int) -> list[float]:
        """Of the newest successful requests, ascending."""
        async with self._database.read() as conn:
            found = await report_rows.first_bytes_us(conn, org_id, span.from_us, limit)
        return sorted(us / 1000 for us in found)

    async def _running_lines(
        self, conn: Connection, org_id: str | None, search: Search
    ) -> list[Line]:
        """Newest first: what the gateway serves, and tasks."""
        now_us = self._clock.monotonic_us()
        lines = [
            _running_line(exchange, now_us)
            for exchange in list(self._running())
            if exchange.caller is not None and org_id in (None, exchange.org_id)
        ]
        if org_id is not None:
            for entry in await report_rows.running_tasks(conn, org_id):
                receipt = document(entry.receipt.encode())
                lines.append(
                    Line(
                        entry.request_id,
                        org_id,
                        entry.key_id,
                        entry.accepted_us,
                        "running",
                        entry.operation,
                        entry.model,
                        entry.provider,
                        _failed_before(receipt),
                        "",
                        None,
                        None,
                        None,
                        None,
                        None,
                    )
                )
        found = {line.request_id: line for line in lines if _matches(line, search)}
        return sorted(found.values(), key=lambda line: line.at_us, reverse=True)


def search_of(
    org_id: str | None, asked: Asked, names: Names | None, models: tuple[str, ...]
) -> Search:
    """The rows that are meant. A text that is no id means models; if it means none, nothing."""
    meant = models
    if asked.text and not asked.id_prefix and not models:
        meant = (asked.text,)
    filters = filters_of(
        asked._replace(status="" if asked.status == "running" else asked.status), names, meant
    )
    return Search(
        org_id,
        asked.span.from_us,
        asked.span.to_us,
        filters,
        asked.cost_over_nano,
        asked.latency_over_us,
        asked.id_prefix,
        asked.before,
    )


def models_meant(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """Ids of models that have the text in them, for the field that takes an id or a model."""
    low = text.lower()
    return tuple(model for model in known if low in model.lower()) if low else ()


def line_of(row: EventRow) -> Line:
    """From the row and what its receipt says."""
    receipt = document(row.receipt.encode())
    return Line(
        row.request_id,
        row.org_id,
        row.key_id,
        row.accepted_us,
        row.status,
        row.operation,
        row.model,
        row.provider,
        _failed_before(receipt),
        row.error_code,
        row.prompt_tokens,
        row.completion_tokens,
        receipt.get("first_byte_ms"),
        (row.finished_us - row.accepted_us) / 1000,
        row.charge_nano,
    )


def _failed_before(receipt: Mapping[str, Any]) -> tuple[str, ...]:
    """Providers of attempts that came to nothing, but for the last."""
    attempts: list[dict[str, Any]] = receipt.get("attempts") or []
    return tuple(attempt["provider"] for attempt in attempts[:-1] if attempt.get("error"))


def _running_line(exchange: Exchange, now_us: int) -> Line:
    route, request = exchange.route, exchange.request
    first_us = exchange.first_byte_us
    return Line(
        exchange.request_id,
        exchange.org_id,
        exchange.caller.key_id if exchange.caller is not None else "",
        exchange.inbound.accepted_us,
        "running",
        exchange.operation,
        route.model.id if route is not None else (request.model if request is not None else ""),
        route.provider.name if route is not None else "",
        tuple(attempt.provider for attempt in exchange.attempts[:-1] if attempt.error),
        "",
        None,
        None,
        None if first_us is None else first_us / 1000,
        (now_us - exchange.started_us) / 1000,
        None,
    )


def _matches(line: Line, search: Search) -> bool:
    """As the SQL does. What it will cost and how long it takes is not known of a running one."""
    wanted = search.filters
    return (
        search.from_us <= line.at_us < search.to_us
        and (not wanted.models or line.model in wanted.models)
        and (not wanted.providers or line.provider in wanted.providers)
        and (wanted.keys is None or line.key_id in wanted.keys)
        and (not wanted.operations or line.operation in wanted.operations)
        and not wanted.error_codes
        and not search.charge_min_nano
        and not search.duration_min_us
        and line.request_id.startswith(search.id_prefix)
    )


# ---------------------------------------------------------------------------------------- columns


def _columns_of(span: Span) -> Bucketing:
    """About sixty columns at most: days of the zone, or hours and their parts."""
    length_us = span.to_us - span.from_us
    if length_us > 3 * DAY_US:
        return days_of(span.zone, span.from_us, span.to_us)
    size_us = next(size for size in (QUARTER_US, HOUR_US, 3 * HOUR_US) if length_us <= 32 * size)
    return Bucketing(size_us, ((span.to_us, -(span.from_us % size_us)),))


def _filled(counted: list[tuple[int, int, int]], bucketing: Bucketing, span: Span) -> list[Column]:
    """With the columns in which there was nothing."""
    found = {number: (requests, failed) for number, requests, failed in counted}
    columns: list[Column] = []
    at_us = span.from_us
    while at_us < span.to_us:
        offset_us = next(
            (offset for until, offset in bucketing.offsets if at_us < until),
            bucketing.offsets[-1][1],
        )
        number = (at_us + offset_us) // bucketing.size_us
        end_us = _end_us(number, at_us, bucketing)
        columns.append(Column(at_us, min(end_us, span.to_us), *found.get(number, (0, 0))))
        at_us = end_us
    return columns


def _end_us(number: int, at_us: int, bucketing: Bucketing) -> int:
    """When the bucket ends: at the next one's beginning, by the offset that is valid then."""
    for until_us, offset_us in bucketing.offsets:
        end_us = (number + 1) * bucketing.size_us - offset_us
        if at_us < end_us and end_us < until_us:
            return end_us
    return (number + 1) * bucketing.size_us - bucketing.offsets[-1][1]
