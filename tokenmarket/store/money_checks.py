"""What the proof of the books asks SQL: per rule one query that returns only what is wrong, and the
sums that are compared with the journals. All in one snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, exists, func, insert, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from tokenmarket.store.database import Database
from tokenmarket.store.money import (
    account,
    hold,
    journal_cursor,
    lease,
    price,
    recon_diff,
    recon_run,
    spend_window,
    suspense,
    transfer,
    usage_event,
    worker,
)
from tokenmarket.store.money_moves import money_transaction
from tokenmarket.store.task_checks import PRICED, RULES

_rest = lease.c.granted - lease.c.captured - lease.c.returned
_credited = (
    select(func.coalesce(func.sum(transfer.c.amount_nano), 0))
    .where(transfer.c.credit == account.c.id)
    .scalar_subquery()
)
_debited = (
    select(func.coalesce(func.sum(transfer.c.amount_nano), 0))
    .where(transfer.c.debit == account.c.id)
    .scalar_subquery()
)
_leased = (
    select(func.coalesce(func.sum(_rest), 0))
    .where(lease.c.kind == "balance", lease.c.target == account.c.id, lease.c.state == "open")
    .scalar_subquery()
)
_durable = (
    select(func.coalesce(func.sum(hold.c.amount_nano), 0))
    .where(hold.c.kind == "balance", hold.c.target == account.c.id, hold.c.state == "pending")
    .scalar_subquery()
)
_window_leased = (
    select(func.coalesce(func.sum(_rest), 0))
    .where(lease.c.kind == "window", lease.c.target == spend_window.c.id, lease.c.state == "open")
    .scalar_subquery()
)
_window_durable = (
    select(func.coalesce(func.sum(hold.c.amount_nano), 0))
    .where(hold.c.kind == "window", hold.c.target == spend_window.c.id, hold.c.state == "pending")
    .scalar_subquery()
)
_captured = (
    select(func.coalesce(func.sum(transfer.c.amount_nano), 0))
    .where(transfer.c.ref == usage_event.c.request_id, transfer.c.kind == "capture")
    .scalar_subquery()
)
_refunded = (
    select(func.coalesce(func.sum(transfer.c.amount_nano), 0))
    .where(transfer.c.ref == usage_event.c.request_id, transfer.c.kind == "refund")
    .scalar_subquery()
)

# Each row: subject, expected, actual. Rules of design/billing.md sections 2 and 10.
_RULES: tuple[tuple[str, Select[Any, Any, Any]], ...] = (
    (
        "I1",
        select(
            account.c.id,
            literal("not below 0"),
            account.c.cr_posted - account.c.dr_posted - account.c.dr_pending,
        ).where(
            account.c.limited == 1,
            or_(
                account.c.cr_posted - account.c.dr_posted - account.c.dr_pending < 0,
                account.c.dr_pending < 0,
            ),
        ),
    ),
    (
        "I2",
        select(lease.c.id, lease.c.granted, lease.c.captured + lease.c.returned).where(
            or_(
                lease.c.captured + lease.c.returned > lease.c.granted,
                and_(
                    lease.c.state == "closed",
                    lease.c.captured + lease.c.returned != lease.c.granted,
                ),
            )
        ),
    ),
    (
        "I3",
        select(func.min(lease.c.id), literal(1), func.count())
        .where(lease.c.state == "open")
        .group_by(lease.c.kind, lease.c.target, lease.c.worker_id)
        .having(func.count() > 1),
    ),
    (
        "I4",
        select(transfer.c.id, literal("amount > 0, two sides"), transfer.c.amount_nano).where(
            or_(transfer.c.amount_nano <= 0, transfer.c.debit == transfer.c.credit)
        ),
    ),
    (
        "I5",
        select(
            spend_window.c.id,
            spend_window.c.cap_nano,
            spend_window.c.used_nano + spend_window.c.leased_nano,
        ).where(spend_window.c.used_nano + spend_window.c.leased_nano > spend_window.c.cap_nano),
    ),
    (
        "R2",
        select(account.c.id, _credited, account.c.cr_posted).where(
            account.c.limited == 1, _credited != account.c.cr_posted
        ),
    ),
    (
        "R2",
        select(account.c.id, _debited, account.c.dr_posted).where(
            account.c.limited == 1, _debited != account.c.dr_posted
        ),
    ),
    (
        "R3",
        select(account.c.id, _leased + _durable, account.c.dr_pending).where(
            account.c.limited == 1, _leased + _durable != account.c.dr_pending
        ),
    ),
    (
        "R3",
        select(
            spend_window.c.id, _window_leased + _window_durable, spend_window.c.leased_nano
        ).where(_window_leased + _window_durable != spend_window.c.leased_nano),
    ),
    (
        "I8",
        select(lease.c.id, literal("closed with its worker"), _rest)
        .join(worker, worker.c.id == lease.c.worker_id)
        .where(worker.c.state == "dead", lease.c.state == "open"),
    ),
    (
        "R5",
        select(usage_event.c.request_id, usage_event.c.charge_nano, _captured).where(
            _captured != usage_event.c.charge_nano
        ),
    ),
    (
        "R5",
        select(transfer.c.id, literal("a usage event"), literal("none")).where(
            transfer.c.kind == "capture",
            ~exists().where(usage_event.c.request_id == transfer.c.ref),
        ),
    ),
    (
        "R10",
        select(usage_event.c.request_id, usage_event.c.refunded_nano, _refunded).where(
            or_(
                _refunded != usage_event.c.refunded_nano,
                _refunded > usage_event.c.charge_nano,
            )
        ),
    ),
    (
        "R10",
        select(transfer.c.id, literal("a usage event"), literal("none")).where(
            transfer.c.kind == "refund",
            ~exists().where(usage_event.c.request_id == transfer.c.ref),
        ),
    ),
    (
        "R1",
        select(suspense.c.request_id, literal("posted"), suspense.c.reason),
    ),
)

_sides = union_all(
    select(transfer.c.credit.label("id"), transfer.c.org_id),
    select(transfer.c.debit.label("id"), transfer.c.org_id),
).subquery()
# every customer account that a transfer names must exist and belong to the same organisation
_FOREIGN = (
    select(_sides.c.id, _sides.c.org_id, func.coalesce(account.c.org_id, "no such account"))
    .outerjoin(account, account.c.id == _sides.c.id)
    .where(
        _sides.c.id.startswith("cust:"),
        or_(account.c.id.is_(None), account.c.org_id != _sides.c.org_id),
    )
    .distinct()
)


class WorkerBooks(NamedTuple):
    """One worker as SQL sees it. ``captured``: sum over its balance leases."""

    worker_id: str
    journal_dir: str
    state: str
    cursor: int
    ended_us: int
    captured: dict[str, int]


class Priced(NamedTuple):
    """A posted request whose charge can be computed again. ``sheet``: as pinned in its task, else
    the version's."""

    request_id: str
    units_json: str
    price_version: str
    due_nano: int
    sheet: str = ""


class Books(NamedTuple):
    """One snapshot: what SQL alone shows to be wrong, and what must be compared outside."""

    wrong: list[tuple[str, str, str, str]]  # rule, subject, expected, actual
    workers: list[WorkerBooks]
    windows: dict[str, tuple[int, int]]  # id -> (used, opening)
    window_charges: dict[str, int]
    prices: dict[str, str]
    priced: list[Priced]


async def read_books(database: Database) -> Books:
    """Everything in one read transaction, so that a running server cannot make it inconsistent."""
    async with database.read() as conn:
        wrong: list[tuple[str, str, str, str]] = []
        for rule, query in (*_RULES, ("R2", _FOREIGN), *RULES):
            for subject, expected, actual in (await conn.execute(query)).all():
                wrong.append((rule, str(subject), str(expected), str(actual)))
        windows = {
            name: (used, opening)
            for name, used, opening in (
                await conn.execute(
                    select(spend_window.c.id, spend_window.c.used_nano, spend_window.c.opening_nano)
                )
            ).all()
        }
        versions = select(price.c.version, price.c.sheet)
        prices = {row[0]: row[1] for row in (await conn.execute(versions)).all()}
        return Books(
            wrong,
            await _workers(conn),
            windows,
            await _window_charges(conn),
            prices,
            await _priced(conn),
        )


async def _workers(conn: AsyncConnection) -> list[WorkerBooks]:
    cursor = func.coalesce(journal_cursor.c.offset_b, 0)
    query = select(
        worker.c.id, worker.c.journal_dir, worker.c.state, cursor, worker.c.ended_us
    ).outerjoin(journal_cursor, journal_cursor.c.worker_id == worker.c.id)
    found = {
        row[0]: WorkerBooks(row[0], row[1], row[2], row[3], row[4], {})
        for row in (await conn.execute(query)).all()
    }
    sums = select(lease.c.worker_id, lease.c.target, func.sum(lease.c.captured)).group_by(
        lease.c.worker_id, lease.c.target
    )
    for name, target, captured in (await conn.execute(sums)).all():
        if name in found and captured:
            found[name].captured[target] = int(captured)
    return list(found.values())


async def _window_charges(conn: AsyncConnection) -> dict[str, int]:
    query = (
        select(usage_event.c.windows, func.sum(usage_event.c.charge_nano))
        .where(usage_event.c.windows != "")
        .group_by(usage_event.c.windows)
    )
    charges: dict[str, int] = {}
    for names, charge in (await conn.execute(query)).all():
        for name in names.split(" "):
            charges[name] = charges.get(name, 0) + int(charge)
    return charges


async def _priced(conn: AsyncConnection) -> list[Priced]:
    due = usage_event.c.charge_nano + usage_event.c.uncollected_nano
    query = (
        select(usage_event.c.request_id, usage_event.c.units_json, usage_event.c.price_version, due)
        .join(price, price.c.version == usage_event.c.price_version)
        .where(usage_event.c.status == "succeeded", usage_event.c.units_json != "")
    )
    posted = [Priced(*row) for row in (await conn.execute(query)).all()]
    return posted + [Priced(*row) for row in (await conn.execute(PRICED)).all()]


async def posted_requests(
    database: Database, request_ids: Sequence[str]
) -> Mapping[str, tuple[int, bool]]:
    """(charge, in suspense) of those of ``request_ids`` that SQL knows; at most 500 at once."""
    known = select(usage_event.c.request_id, usage_event.c.charge_nano).where(
        usage_event.c.request_id.in_(request_ids)
    )
    aside = select(suspense.c.request_id).where(suspense.c.request_id.in_(request_ids))
    async with database.read() as conn:
        found = {name: (0, True) for (name,) in (await conn.execute(aside)).all()}
        for name, charge in (await conn.execute(known)).all():
            found[name] = (charge, False)
    return found


async def record_run(
    database: Database,
    run_id: str,
    started_us: int,
    finished_us: int,
    differences: Sequence[tuple[str, str, str, str]],
) -> None:
    """Keep the result of a reconciliation for the console."""
    async with money_transaction(database) as conn:
        await conn.execute(
            insert(recon_run).values(
                id=run_id,
                started_us=started_us,
                finished_us=finished_us,
                differences=len(differences),
            )
        )
        if differences:
            await conn.execute(
                insert(recon_diff),
                [
                    {
                        "run_id": run_id,
                        "number": number,
                        "rule": rule,
                        "subject": subject,
                        "expected": expected,
                        "actual": actual,
                    }
                    for number, (rule, subject, expected, actual) in enumerate(differences)
                ],
            )
