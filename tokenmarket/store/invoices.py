"""Invoices, what they are made of, and requests for Chinese tax invoices: rows in, rows out."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, and_, case, func, insert, or_, select, update
from sqlalchemy.engine import RowMapping

from tokenmarket.store.database import Connection
from tokenmarket.store.money import transfer, usage_event
from tokenmarket.store.payment_tables import fapiao_request, invoice
from tokenmarket.store.tables import organization


class InvoiceRow(msgspec.Struct, frozen=True):
    """One issued invoice; ``payment_tables.invoice`` says what the fields are."""

    id: str
    org_id: str
    kind: str
    serial: int
    number: str
    period: str
    time_zone: str
    start_us: int
    end_us: int
    consumed_nano: int
    covered_nano: int
    total_nano: int
    document: str
    issued_us: int


class FapiaoRow(msgspec.Struct, frozen=True):
    """One request; ``payment_tables.fapiao_request`` says what the fields are."""

    id: str
    org_id: str
    invoice_id: str
    kind: str
    title: str
    tax_id: str
    email: str
    note: str
    amount_nano: int
    state: str
    active: str | None
    number: str
    url: str
    created_by: str
    created_us: int
    decided_by: str
    decided_us: int


class Movement(NamedTuple):
    """One capture, or one refund of one; ``account`` is the customer's side."""

    id: str
    ts_us: int
    kind: str
    account: str
    amount_nano: int
    request_id: str
    model: str
    receipt: str


async def insert_invoice(conn: Connection, row: InvoiceRow) -> None:
    await conn.execute(insert(invoice).values(msgspec.structs.asdict(row)))


async def next_serial(conn: Connection) -> int:
    """In the transaction that inserts it, so that there is never a gap."""
    query = select(func.coalesce(func.max(invoice.c.serial), 0))
    return (await conn.execute(query)).scalar_one() + 1


async def invoice_by_id(conn: Connection, org_id: str, invoice_id: str) -> InvoiceRow | None:
    query = select(invoice).where(invoice.c.org_id == org_id, invoice.c.id == invoice_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _invoice(row)


async def invoices_of(
    conn: Connection, org_id: str, *, before_id: str = "", limit: int = 50
) -> list[InvoiceRow]:
    """The latest period first."""
    query = select(invoice).where(invoice.c.org_id == org_id)
    if before_id:
        query = query.where(invoice.c.id < before_id)
    rows = (await conn.execute(query.order_by(invoice.c.id.desc()).limit(limit))).mappings()
    return [_invoice(row) for row in rows]


async def last_of(conn: Connection, org_id: str) -> InvoiceRow | None:
    found = await invoices_of(conn, org_id, limit=1)
    return found[0] if found else None


async def orgs_with_usage(conn: Connection) -> list[tuple[str, str, str, int]]:
    """(id, name, time zone, first capture) of every organisation that was ever charged."""
    first = (
        select(transfer.c.org_id, func.min(transfer.c.ts_us).label("first_us"))
        .where(transfer.c.kind == "capture")
        .group_by(transfer.c.org_id)
        .subquery()
    )
    query = (
        select(organization.c.id, organization.c.name, organization.c.time_zone, first.c.first_us)
        .join(first, first.c.org_id == organization.c.id)
        .order_by(organization.c.id)
    )
    return [tuple(row) for row in (await conn.execute(query)).all()]


def _consumed(org_id: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """(signed amount, whether paid money moved) of captures and their refunds."""
    cash = f"cust:{org_id}:cash"
    signed = case((transfer.c.kind == "capture", transfer.c.amount_nano), else_=0) - case(
        (transfer.c.kind == "refund", transfer.c.amount_nano), else_=0
    )
    return signed, or_(transfer.c.debit == cash, transfer.c.credit == cash)


async def consumed(conn: Connection, org_id: str, before_us: int) -> tuple[int, int]:
    """(all that was consumed before this time, the part of it that paid money paid)."""
    signed, paid = _consumed(org_id)
    query = select(
        func.coalesce(func.sum(signed), 0),
        func.coalesce(func.sum(case((paid, signed), else_=0)), 0),
    ).where(
        transfer.c.org_id == org_id,
        transfer.c.kind.in_(("capture", "refund")),
        transfer.c.ts_us < before_us,
    )
    row = (await conn.execute(query)).one()
    return int(row[0]), int(row[1])


async def invoiced(conn: Connection, org_id: str) -> tuple[int, int]:
    """(consumed, of it paid by paid money) of all invoices so far."""
    query = select(
        func.coalesce(func.sum(invoice.c.consumed_nano), 0),
        func.coalesce(func.sum(invoice.c.total_nano), 0),
    ).where(invoice.c.org_id == org_id)
    row = (await conn.execute(query)).one()
    return int(row[0]), int(row[1])


async def movements(
    conn: Connection,
    org_id: str,
    start_us: int,
    end_us: int,
    *,
    after: tuple[int, str],
    limit: int,
) -> list[Movement]:
    """Captures and refunds in [start, end), oldest first, after (time, id)."""
    ts_us, name = after
    side = case((transfer.c.kind == "capture", transfer.c.debit), else_=transfer.c.credit)
    query = (
        select(
            transfer.c.id,
            transfer.c.ts_us,
            transfer.c.kind,
            side,
            transfer.c.amount_nano,
            transfer.c.ref,
            func.coalesce(usage_event.c.model, ""),
            func.coalesce(usage_event.c.receipt, ""),
        )
        .outerjoin(usage_event, usage_event.c.request_id == transfer.c.ref)
        .where(
            transfer.c.org_id == org_id,
            transfer.c.kind.in_(("capture", "refund")),
            transfer.c.ts_us >= start_us,
            transfer.c.ts_us < end_us,
            or_(transfer.c.ts_us > ts_us, and_(transfer.c.ts_us == ts_us, transfer.c.id > name)),
        )
        .order_by(transfer.c.ts_us, transfer.c.id)
        .limit(limit)
    )
    return [Movement(*row) for row in (await conn.execute(query)).all()]


async def legal_of(conn: Connection, org_id: str) -> str:
    """Who the organisation's invoices are made out to, as JSON; '' if nobody said."""
    query = select(organization.c.legal).where(organization.c.id == org_id)
    return (await conn.execute(query)).scalar_one_or_none() or ""


async def set_legal(conn: Connection, org_id: str, document: str) -> None:
    statement = update(organization).where(organization.c.id == org_id)
    await conn.execute(statement.values(legal=document))


async def insert_fapiao(conn: Connection, row: FapiaoRow) -> None:
    await conn.execute(insert(fapiao_request).values(msgspec.structs.asdict(row)))


async def fapiao_of_invoice(conn: Connection, org_id: str, invoice_id: str) -> list[FapiaoRow]:
    """The latest first."""
    query = select(fapiao_request).where(
        fapiao_request.c.org_id == org_id, fapiao_request.c.invoice_id == invoice_id
    )
    rows = (await conn.execute(query.order_by(fapiao_request.c.id.desc()))).mappings()
    return [_fapiao(row) for row in rows]


async def fapiao_by_id(conn: Connection, request_id: str) -> FapiaoRow | None:
    """For the operator only."""
    query = select(fapiao_request).where(fapiao_request.c.id == request_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _fapiao(row)


async def fapiao_list(
    conn: Connection, state: str | None, limit: int
) -> list[tuple[FapiaoRow, str]]:
    """For the operator: requests with the organisation's name; those that wait, oldest first,
    others latest first."""
    query = select(fapiao_request, organization.c.name.label("org_name")).join(
        organization, organization.c.id == fapiao_request.c.org_id
    )
    if state is not None:
        query = query.where(fapiao_request.c.state == state)
    order = fapiao_request.c.id if state == "requested" else fapiao_request.c.id.desc()
    rows = (await conn.execute(query.order_by(order).limit(limit))).mappings()
    return [(_fapiao(row), row["org_name"]) for row in rows]


async def decide_fapiao(
    conn: Connection,
    request_id: str,
    *,
    state: str,
    number: str,
    url: str,
    by: str,
    now_us: int,
) -> bool:
    """False, and nothing changed, if it was decided before."""
    values: dict[str, object] = {
        "state": state,
        "number": number,
        "url": url,
        "decided_by": by,
        "decided_us": now_us,
    }
    if state == "rejected":
        values["active"] = None
    changed = await conn.execute(
        update(fapiao_request)
        .where(fapiao_request.c.id == request_id, fapiao_request.c.state == "requested")
        .values(values)
    )
    return changed.rowcount == 1


def _invoice(row: RowMapping) -> InvoiceRow:
    return InvoiceRow(*(row[name] for name in InvoiceRow.__struct_fields__))


def _fapiao(row: RowMapping) -> FapiaoRow:
    return FapiaoRow(*(row[name] for name in FapiaoRow.__struct_fields__))
