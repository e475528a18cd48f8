"""What moved an organisation's spendable balance: lines of the statement, and sums over them.

The balance is that of cash and grants together; a debt is told apart. A movement between the two
(a debt that is collected) counts by what left the cash.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, or_, select

from tokenmarket.store.database import Connection
from tokenmarket.store.money import account, transfer
from tokenmarket.store.money_ledger import Transfer

_columns = [transfer.c[name] for name in Transfer._fields]


class Wanted(NamedTuple):
    """Which lines: those in [from_us, to_us), of one kind ('' = all)."""

    from_us: int
    to_us: int
    kind: str = ""


class Place(NamedTuple):
    """A line's place in the order of the statement; lines go from the newest to the oldest."""

    ts_us: int
    id: str


def is_own(name: ColumnElement[str], org_id: str) -> ColumnElement[bool]:
    """Whether the account counts in the balance."""
    ours = name.startswith(f"cust:{org_id}:", autoescape=True)
    return and_(ours, name != f"cust:{org_id}:debt")


async def rows_before(
    conn: Connection, org_id: str, wanted: Wanted, place: Place | None, limit: int
) -> list[Transfer]:
    """Newest first, after ``place``."""
    query = select(*_columns).where(
        transfer.c.org_id == org_id,
        transfer.c.ts_us >= wanted.from_us,
        transfer.c.ts_us < wanted.to_us,
    )
    if wanted.kind:
        query = query.where(transfer.c.kind == wanted.kind)
    if place is not None:
        query = query.where(_before(place))
    query = query.order_by(transfer.c.ts_us.desc(), transfer.c.id.desc()).limit(limit)
    return [Transfer(*row) for row in (await conn.execute(query)).all()]


def signed(org_id: str) -> ColumnElement[int]:
    """What a transfer changes the organisation's balance by."""
    came = case((is_own(transfer.c.credit, org_id), transfer.c.amount_nano), else_=0)
    return came - case((is_own(transfer.c.debit, org_id), transfer.c.amount_nano), else_=0)


async def moved_since(conn: Connection, org_id: str, place: Place) -> int:
    """What all lines that are not before ``place`` changed the balance by."""
    query = select(func.coalesce(func.sum(signed(org_id)), 0)).where(
        transfer.c.org_id == org_id, transfer.c.ts_us >= place.ts_us, ~_before(place)
    )
    return int((await conn.execute(query)).scalar_one())


async def balance_and_debt(conn: Connection, org_id: str) -> tuple[int, int]:
    """(posted balance over cash and grants, what is owed)."""
    net = account.c.cr_posted - account.c.dr_posted
    query = select(
        func.coalesce(func.sum(case((account.c.limited == 1, net), else_=0)), 0),
        func.coalesce(func.sum(case((account.c.kind == "debt", -net), else_=0)), 0),
    ).where(account.c.org_id == org_id)
    row = (await conn.execute(query)).one()
    return int(row[0]), int(row[1])


class Bucket(NamedTuple):
    """One account with money in it."""

    account_id: str
    kind: str
    balance_nano: int
    pending_nano: int
    expires_us: int
    scope: str


async def buckets(conn: Connection, org_id: str) -> list[Bucket]:
    """Cash and grants that are not empty, in the order in which they burn."""
    net = account.c.cr_posted - account.c.dr_posted
    query = (
        select(
            account.c.id,
            account.c.kind,
            net,
            account.c.dr_pending,
            account.c.expires_us,
            account.c.scope,
        )
        .where(account.c.org_id == org_id, account.c.limited == 1, net > 0)
        .order_by(account.c.priority, account.c.expires_us, account.c.id)
    )
    return [Bucket(*row) for row in (await conn.execute(query)).all()]


def _before(place: Place) -> ColumnElement[bool]:
    return or_(
        transfer.c.ts_us < place.ts_us,
        and_(transfer.c.ts_us == place.ts_us, transfer.c.id < place.id),
    )
