"""What ``GET /usage`` answers: sums between two moments, which need not be quarter-hours.

Whole quarter-hours come from what is added up, the rest of both ends from the rows themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Select, func, select

from tokenmarket.store.database import Database
from tokenmarket.store.money import usage_event
from tokenmarket.store.usage_rollup import (
    DAY_US,
    QUARTER_US,
    SUMS,
    Bucketing,
    Filters,
    bucket,
    duration,
)
from tokenmarket.store.usage_sums import SumRow, merged, sums

# the groups of the API and the columns behind them
GROUPS: Final = {
    "day": "bucket",
    "model": "model",
    "provider": "provider",
    "key": "key_id",
    "operation": "operation",
}
_DAYS = Bucketing(DAY_US, ((2**62, 0),))


async def usage_between(
    database: Database, org_id: str, from_us: int, to_us: int, group_by: Sequence[str]
) -> list[SumRow]:
    """Sums over [from_us, to_us) per group, in order: the groups (``day`` = days since 1970, UTC)
    and ``NUMBERS``. KeyError for an unknown group."""
    wanted = [GROUPS[name] for name in group_by]
    groups = [name for name in wanted if name != "bucket"]
    bucketing = _DAYS if "bucket" in wanted else None
    names = [*groups, *(["bucket"] if bucketing is not None else [])]
    first_us, last_us = -(-from_us // QUARTER_US) * QUARTER_US, to_us - to_us % QUARTER_US
    if first_us >= last_us:
        ends, rows = [(from_us, to_us)], []
    else:
        ends = [(from_us, first_us), (last_us, to_us)]
    async with database.read() as conn:
        answers: list[Sequence[Sequence[Any]]] = []
        if first_us < last_us:
            rows = await sums(conn, org_id, first_us, last_us, groups, Filters(), bucketing)
            answers.append([tuple(row.values()) for row in rows])
        for begin_us, end_us in ends:
            query = rows_query(org_id, begin_us, end_us, groups, bucketing)
            answers.append((await conn.execute(query)).all())
    found = [
        {**{name: row[column] for name, column in zip(group_by, wanted, strict=True)}, **row}
        for row in merged(names, answers)
    ]
    return sorted(found, key=lambda row: [row[name] for name in group_by])


def rows_query(
    org_id: str, from_us: int, to_us: int, groups: Sequence[str], bucketing: Bucketing | None
) -> Select[Any]:
    """The same sums of the rows themselves, by the index on time."""
    table = usage_event
    keys = [*(table.c[name] for name in groups), *bucket(table.c.accepted_us, bucketing)]
    return (
        select(
            *keys,
            func.count() - func.sum(table.c.status == "succeeded"),
            func.count(),
            *(func.sum(table.c[name]) for name in SUMS[1:-1]),
            func.sum(duration),
        )
        .where(
            table.c.org_id == org_id,
            table.c.accepted_us >= from_us,
            table.c.accepted_us < to_us,
        )
        .group_by(*keys)
    )
