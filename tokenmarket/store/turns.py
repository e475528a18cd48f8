"""Queues of things to send that are shared fairly among receivers.

A row is due when it is open, its time has come and nobody holds a lease on it. Of one receiver only
so many are taken at once, and none of a busy one, so that a slow receiver holds up only itself.
The table has ``id``, ``next_attempt_us``, ``lease_owner``, ``lease_until_us`` and ``attempts``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, Table, Update, func, select, update


def due(
    table: Table,
    receiver: Column[Any],
    *wanted: ColumnElement[bool],
    now_us: int,
    limit: int,
    busy: Collection[str],
    each: int,
) -> Select[tuple[str]]:
    """The ids to send now, longest due first; ``wanted`` says which rows are open."""
    place = func.row_number().over(
        partition_by=receiver, order_by=(table.c.next_attempt_us, table.c.id)
    )
    waiting = (
        select(table.c.id, table.c.next_attempt_us, place.label("place"))
        .where(
            *wanted,
            table.c.next_attempt_us <= now_us,
            table.c.lease_until_us <= now_us,
            receiver.not_in(list(busy)),
        )
        .subquery()
    )
    return (
        select(waiting.c.id)
        .where(waiting.c.place <= each)
        .order_by(waiting.c.next_attempt_us, waiting.c.id)
        .limit(limit)
    )


def lease(table: Table, ids: Select[tuple[str]], owner: str, until_us: int) -> Update:
    """Take the rows ``ids`` for ``owner``; each counts as one more attempt."""
    return (
        update(table)
        .where(table.c.id.in_(ids))
        .values(lease_owner=owner, lease_until_us=until_us, attempts=table.c.attempts + 1)
    )
