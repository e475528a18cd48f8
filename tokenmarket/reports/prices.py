"""Prices as people who pay them see them change: what was published, and what is announced.

Of a change only what callers pay is told, never what the operator pays. Prices are those for
everybody; a group's markup comes on top.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from tokenmarket.core.price_terms import RowDifference, differences
from tokenmarket.store import price_changes
from tokenmarket.store.database import Connection
from tokenmarket.store.price_changes import PriceChange

HISTORY_MAX = 50


class Line(NamedTuple):
    """One price row that changed, in USD; None: there was or will be no such row."""

    unit: str
    when: tuple[tuple[str, str], ...]
    context_above: int
    before_usd: str | None
    after_usd: str | None


class Change(NamedTuple):
    """A price of one route from ``at_us`` on; ``announced``: that is still to come."""

    model: str
    provider: str
    at_us: int
    announced: bool
    version: str | None
    lines: list[Line]


async def history(conn: Connection, model: str, providers: Collection[str]) -> list[Change]:
    """Of the routes to these providers: announced ones first, then published ones, each newest
    first."""
    rows = await price_changes.listed(
        conn, states=("published", "scheduled"), model=model, limit=HISTORY_MAX
    )
    found = [_change(row) for row in rows if row.provider in providers]
    return sorted(found, key=lambda one: (one.announced, one.at_us), reverse=True)


async def announced(conn: Connection) -> list[Change]:
    """Of all models, the next one first."""
    rows = await price_changes.listed(conn, states=("scheduled",), limit=HISTORY_MAX)
    return sorted(map(_change, rows), key=lambda one: one.at_us)


def _change(row: PriceChange) -> Change:
    coming = row.state == "scheduled"
    at_us = row.effective_us if coming or row.decided_us is None else row.decided_us
    lines = [] if row.terms_before is None else differences(row.terms_before, row.terms)
    return Change(
        row.model,
        row.provider,
        at_us,
        coming,
        row.version_after,
        [_line(one) for one in lines if one.before_usd != one.after_usd],
    )


def _line(one: RowDifference) -> Line:
    return Line(one.unit, one.when, one.context_above, one.before_usd, one.after_usd)
