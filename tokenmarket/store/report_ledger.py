"""Ledger entries as reports show them: those of a request, the balance after one, the operator's
list over all organisations. Reads only."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, and_, func, literal_column, or_, select

from tokenmarket.store.database import Connection
from tokenmarket.store.money import account, transfer
from tokenmarket.store.money_ledger import Transfer
from tokenmarket.store.statements import signed

AFTER_MAX: Final = 50_000  # later entries that are added up to know a balance
KINDS: Final = (
    "topup",
    "grant",
    "expiry",
    "capture",
    "refund",
    "adjustment",
    "topup_refund",
    "chargeback",
    "debt",
    "exchange",
)

_rowid: ColumnElement[int] = literal_column("transfer.rowid", BigInteger)
_columns = [transfer.c[name] for name in Transfer._fields]


class LedgerPage(NamedTuple):
    """``next_row``: where the next page goes on; None at the end."""

    entries: list[Transfer]
    next_row: int | None


async def entries_of(conn: Connection, org_id: str, request_id: str) -> list[Transfer]:
    """What a request moved, and what of it came back, in order."""
    query = (
        select(*_columns)
        .where(transfer.c.ref == request_id, transfer.c.org_id == org_id)
        .order_by(transfer.c.ts_us, transfer.c.id)
    )
    return [Transfer(*row) for row in (await conn.execute(query)).all()]


async def balance_after(conn: Connection, org_id: str, ts_us: int, entry_id: str) -> int | None:
    """The posted balance right after one entry: that of now without what came later. None: so
    much came later that nobody adds it up for one page."""
    later = or_(transfer.c.ts_us > ts_us, and_(transfer.c.ts_us == ts_us, transfer.c.id > entry_id))
    some = (
        select(signed(org_id).label("nano"))
        .where(transfer.c.org_id == org_id, transfer.c.ts_us >= ts_us, later)
        .limit(AFTER_MAX + 1)
        .subquery()
    )
    query = select(func.count(), func.coalesce(func.sum(some.c.nano), 0)).select_from(some)
    count, moved_nano = (await conn.execute(query)).one()
    if count > AFTER_MAX:
        return None
    now = select(func.coalesce(func.sum(account.c.cr_posted - account.c.dr_posted), 0)).where(
        account.c.org_id == org_id, account.c.limited == 1
    )
    return int((await conn.execute(now)).scalar_one()) - int(moved_nano)


async def ledger_page(
    conn: Connection,
    *,
    org_id: str | None,
    kind: str | None,
    ref: str | None,
    before_row: int | None,
    limit: int,
) -> LedgerPage:
    """The newest entries, in the order in which they were written; of all organisations if
    ``org_id`` is None (for the operator only)."""
    query = select(_rowid, *_columns).order_by(_rowid.desc()).limit(limit + 1)
    if ref:
        query = query.where(transfer.c.ref == ref)
    if org_id is not None:
        query = query.where(transfer.c.org_id == org_id)
    if kind is not None:
        query = query.where(transfer.c.kind == kind)
    if before_row is not None:
        query = query.where(_rowid < before_row)
    rows = (await conn.execute(query)).all()
    return LedgerPage(
        [Transfer._make(row[1:]) for row in rows[:limit]],
        rows[limit - 1][0] if len(rows) > limit else None,
    )
