"""What the proof of the books asks about tasks (R8): a live task has its hold and no charge, a
terminal one has a charge, its captures and no hold. Each query returns only what is wrong."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, case, func, literal, or_, select

from tokenmarket.store.money import hold, transfer, usage_event
from tokenmarket.store.task_tables import task

_of_task = (hold.c.ref_id == task.c.id, hold.c.kind == "balance")
_held = select(func.coalesce(func.sum(hold.c.amount_nano), 0)).where(*_of_task).scalar_subquery()
_taken = select(func.coalesce(func.sum(hold.c.captured_nano), 0)).where(*_of_task).scalar_subquery()
_captured = (
    select(func.coalesce(func.sum(transfer.c.amount_nano), 0))
    .where(transfer.c.ref == task.c.request_id, transfer.c.kind == "capture")
    .scalar_subquery()
)
_charged = (
    select(usage_event.c.charge_nano)
    .where(usage_event.c.request_id == task.c.request_id)
    .scalar_subquery()
)
_live = task.c.completed_us == 0

# Each row: subject, expected, actual.
RULES: tuple[tuple[str, Select[Any, Any, Any]], ...] = (
    # live <=> pending, for every row of the hold
    (
        "R8",
        select(
            hold.c.id,
            case((task.c.id.is_(None), "a task"), (_live, "pending"), else_="captured or void"),
            hold.c.state,
        )
        .outerjoin(task, task.c.id == hold.c.ref_id)
        .where(
            or_(
                task.c.id.is_(None),
                and_(_live, hold.c.state != "pending"),
                and_(~_live, hold.c.state == "pending"),
            )
        ),
    ),
    ("R8", select(task.c.id, task.c.held_nano, _held).where(_held != task.c.held_nano)),
    (
        "R8",
        select(task.c.id, literal("no charge yet"), _charged).where(_live, _charged.is_not(None)),
    ),
    (
        "R8",
        select(task.c.id, task.c.charged_nano, _charged).where(
            ~_live, or_(_charged.is_(None), _charged != task.c.charged_nano)
        ),
    ),
    (
        "R8",
        select(task.c.id, task.c.charged_nano, _taken).where(
            ~_live, or_(_taken != task.c.charged_nano, _captured != task.c.charged_nano)
        ),
    ),
)

# request, units, price version, due, the prices pinned in the task
PRICED = (
    select(
        usage_event.c.request_id,
        usage_event.c.units_json,
        task.c.price_version,
        usage_event.c.charge_nano + usage_event.c.uncollected_nano,
        task.c.prices_json,
    )
    .join(task, task.c.request_id == usage_event.c.request_id)
    .where(usage_event.c.status == "succeeded", usage_event.c.units_json != "")
)
