"""What was counted at each upstream target: samples of a minute, folded into hours when the hour
has passed.

``route_sample`` holds what one process counted since its sample before; ``route_hour`` the sum of a
past hour, one row per target. ``first_bytes`` is a JSON object: class of ``upstream.health`` ->
answers whose first byte fell into it. ``rate_sum_milli`` is the sum of measured streams' tokens per
second, in thousandths.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Column, Select, Table, Text, delete, func, insert, select
from sqlalchemy.dialects.sqlite import insert as insert_or_update

from tokenmarket.store.database import Connection
from tokenmarket.store.tables import metadata

HOUR_US = 3_600_000_000
KEEP_US = 91 * 24 * HOUR_US


def _columns(time: str) -> tuple[Column[int] | Column[str], ...]:
    return (
        Column(time, BigInteger, primary_key=True, nullable=False, autoincrement=False),
        Column("provider", Text, primary_key=True, nullable=False),
        Column("upstream_model", Text, primary_key=True, nullable=False),
        Column("good", BigInteger, nullable=False),
        Column("failed", BigInteger, nullable=False),
        Column("first_bytes", Text, nullable=False),
        Column("rates", BigInteger, nullable=False),
        Column("rate_sum_milli", BigInteger, nullable=False),
    )


route_sample = Table("route_sample", metadata, *_columns("at_us"))
route_hour = Table("route_hour", metadata, *_columns("start_us"))


class Counts(NamedTuple):
    """Of one target in one span of time. Two of them can be added."""

    at_us: int
    provider: str
    upstream_model: str
    good: int
    failed: int
    first_bytes: dict[int, int]
    rates: int
    rate_sum_milli: int

    def plus(self, other: Counts) -> Counts:
        """The sum, at this one's time and target."""
        first_bytes = dict(self.first_bytes)
        for class_, count in other.first_bytes.items():
            first_bytes[class_] = first_bytes.get(class_, 0) + count
        return self._replace(
            good=self.good + other.good,
            failed=self.failed + other.failed,
            first_bytes=first_bytes,
            rates=self.rates + other.rates,
            rate_sum_milli=self.rate_sum_milli + other.rate_sum_milli,
        )


_classes = msgspec.json.Decoder(dict[int, int])


async def add_samples(conn: Connection, samples: Sequence[Counts]) -> None:
    """A target has at most one sample per microsecond and process, so nothing is overwritten."""
    if samples:
        await conn.execute(insert(route_sample), [_row(sample, "at_us") for sample in samples])


async def fold(conn: Connection, now_us: int) -> int:
    """Samples of hours that have passed become part of their hours; how many there were. Hours
    older than what the status page shows are deleted."""
    open_us = now_us - now_us % HOUR_US
    old = [
        counts._replace(at_us=counts.at_us - counts.at_us % HOUR_US)
        for counts in await _read(conn, select(route_sample).where(route_sample.c.at_us < open_us))
    ]
    if not old:
        return 0
    first_us = min(counts.at_us for counts in old)
    known = await _read(conn, select(route_hour).where(route_hour.c.start_us >= first_us))
    hours = {counts[:3]: counts for counts in known}
    for counts in old:
        before = hours.get(counts[:3])
        hours[counts[:3]] = counts if before is None else before.plus(counts)
    statement = insert_or_update(route_hour)
    replaced = {
        name: statement.excluded[name]
        for name in ("good", "failed", "first_bytes", "rates", "rate_sum_milli")
    }
    await conn.execute(
        statement.on_conflict_do_update(
            index_elements=["start_us", "provider", "upstream_model"], set_=replaced
        ),
        [_row(hours[key], "start_us") for key in {counts[:3] for counts in old}],
    )
    await conn.execute(delete(route_sample).where(route_sample.c.at_us < open_us))
    await conn.execute(delete(route_hour).where(route_hour.c.start_us < now_us - KEEP_US))
    return len(old)


async def since(conn: Connection, from_us: int) -> list[Counts]:
    """Hours that began at ``from_us`` or later, and all samples that are not in an hour yet."""
    hours = await _read(conn, select(route_hour).where(route_hour.c.start_us >= from_us))
    samples = await _read(conn, select(route_sample).where(route_sample.c.at_us >= from_us))
    return hours + samples


async def days(conn: Connection, from_us: int) -> list[tuple[int, str, str, int, int]]:
    """(days since 1970 in UTC, provider, upstream model, good, failed) from whole hours."""
    day = (route_hour.c.start_us // (24 * HOUR_US)).label("day")
    target = (route_hour.c.provider, route_hour.c.upstream_model)
    query = (
        select(day, *target, func.sum(route_hour.c.good), func.sum(route_hour.c.failed))
        .where(route_hour.c.start_us >= from_us)
        .group_by(day, *target)
        .order_by(day)
    )
    return [
        (number, provider, upstream_model, int(good), int(failed))
        for number, provider, upstream_model, good, failed in (await conn.execute(query)).all()
    ]


def _row(counts: Counts, time: str) -> dict[str, object]:
    row: dict[str, object] = counts._asdict()
    row[time] = row.pop("at_us")
    row["first_bytes"] = msgspec.json.encode(counts.first_bytes).decode()
    return row


async def _read(conn: Connection, query: Select[Any]) -> list[Counts]:
    found: list[Counts] = []
    for row in (await conn.execute(query)).all():
        values = list(row)
        values[5] = _classes.decode(values[5])
        found.append(Counts(*values))
    return found
