"""Orders of top-ups: rows in, rows out; whose order it is stands in every read but the provider's.

Changes of state go by what the state was before, so that two tellers of the same news change it
once.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip
from sqlalchemy.engine import RowMapping

from tokenmarket.store.accounts import bump_generation
from tokenmarket.store.database import Connection
from tokenmarket.store.payment_tables import topup_order
from tokenmarket.store.tables import organization


class OrderRow(msgspec.Struct, frozen=True):
    """One order; ``payment_tables.topup_order`` says what the fields are."""

    id: str
    org_id: str
    psp: str
    amount_nano: int
    currency: str
    pay_minor: int
    rate: str
    state: str
    session: str
    payment: str
    url: str
    taken_minor: int
    created_by: str
    created_us: int
    expires_us: int
    paid_us: int

    def taken_nano(self, taken_minor: int) -> int:
        """What a part of the payment is worth of the credit, rounded down."""
        return self.amount_nano * taken_minor // self.pay_minor


async def insert_order(conn: Connection, row: OrderRow) -> bool:
    """False, and nothing changed, if there is an order with this id."""
    values = msgspec.structs.asdict(row)
    statement = insert_or_skip(topup_order).values(values).on_conflict_do_nothing()
    return (await conn.execute(statement)).rowcount == 1


async def order_by_id(conn: Connection, org_id: str, order_id: str) -> OrderRow | None:
    query = select(topup_order).where(topup_order.c.org_id == org_id, topup_order.c.id == order_id)
    return _one((await conn.execute(query)).mappings().one_or_none())


async def order_of_payment(conn: Connection, psp: str, order_id: str) -> OrderRow | None:
    """For what a payment provider tells: by its own name and the order it was given."""
    query = select(topup_order).where(topup_order.c.psp == psp, topup_order.c.id == order_id)
    return _one((await conn.execute(query)).mappings().one_or_none())


async def orders_of(
    conn: Connection, org_id: str, *, before_id: str = "", limit: int = 50
) -> list[OrderRow]:
    """Newest first; ids are in the order of time."""
    query = select(topup_order).where(topup_order.c.org_id == org_id)
    if before_id:
        query = query.where(topup_order.c.id < before_id)
    rows = (await conn.execute(query.order_by(topup_order.c.id.desc()).limit(limit))).mappings()
    return [_order(row) for row in rows]


async def open_orders(conn: Connection, created_before_us: int, limit: int) -> list[OrderRow]:
    """Of all organisations: those that still wait for their payment."""
    query = (
        select(topup_order)
        .where(topup_order.c.state == "created", topup_order.c.created_us < created_before_us)
        .order_by(topup_order.c.created_us)
        .limit(limit)
    )
    return [_order(row) for row in (await conn.execute(query)).mappings()]


async def count_since(conn: Connection, org_id: str, since_us: int) -> int:
    """How many orders the organisation has made since then."""
    query = (
        select(func.count())
        .select_from(topup_order)
        .where(topup_order.c.org_id == org_id, topup_order.c.created_us >= since_us)
    )
    return (await conn.execute(query)).scalar_one()


async def set_checkout(conn: Connection, order_id: str, session: str, url: str) -> None:
    """Where the order can be paid; the first answer of the provider stays."""
    await conn.execute(
        update(topup_order)
        .where(topup_order.c.id == order_id, topup_order.c.session == "")
        .values(session=session, url=url)
    )


async def set_state(
    conn: Connection, row: OrderRow, state: str, *, payment: str = "", paid_us: int = 0
) -> bool:
    """False, and nothing changed, if the order is not as ``row`` says any more."""
    values: dict[str, object] = {"state": state}
    if payment:
        values["payment"] = payment
    if paid_us:
        values["paid_us"] = paid_us
    changed = await conn.execute(
        update(topup_order)
        .where(topup_order.c.id == row.id, topup_order.c.state == row.state)
        .values(values)
    )
    return changed.rowcount == 1


async def set_taken(conn: Connection, row: OrderRow, taken_minor: int) -> bool:
    """How much was taken back by now; False if that is not as ``row`` says any more."""
    changed = await conn.execute(
        update(topup_order)
        .where(topup_order.c.id == row.id, topup_order.c.taken_minor == row.taken_minor)
        .values(taken_minor=taken_minor)
    )
    return changed.rowcount == 1


async def freeze_org(conn: Connection, org_id: str, at_s: int) -> bool:
    """Its keys are refused from now on; False if they were before."""
    changed = await conn.execute(
        update(organization)
        .where(organization.c.id == org_id, organization.c.disabled_at_s.is_(None))
        .values(disabled_at_s=at_s)
    )
    await bump_generation(conn)
    return changed.rowcount == 1


def _one(row: RowMapping | None) -> OrderRow | None:
    return None if row is None else _order(row)


def _order(row: RowMapping) -> OrderRow:
    return OrderRow(*(row[name] for name in OrderRow.__struct_fields__))
