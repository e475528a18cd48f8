"""The tax on an organisation's invoices, as the operator set it: one row, or none."""

from __future__ import annotations

import msgspec
from sqlalchemy import CheckConstraint, Table, delete, insert, select

from tokenmarket.store.database import Connection
from tokenmarket.store.tables import int_column as _int
from tokenmarket.store.tables import metadata
from tokenmarket.store.tables import text_column as _text

tax_profile = Table(
    "tax_profile",
    metadata,
    _text("org_id", key=True),
    _text("name"),
    _int("rate_bp"),  # hundredths of a percent
    _int("included"),  # 1: what was paid has the tax in it; 0: it comes on top
    CheckConstraint("rate_bp BETWEEN 0 AND 10000 AND included IN (0, 1)", name="rate"),
)


class TaxProfile(msgspec.Struct, frozen=True):
    """Name as it is printed (VAT, 增值税), rate, and whether amounts include it."""

    name: str
    rate_bp: int
    included: bool


async def find(conn: Connection, org_id: str) -> TaxProfile | None:
    query = select(tax_profile).where(tax_profile.c.org_id == org_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else TaxProfile(row["name"], row["rate_bp"], bool(row["included"]))


async def put(conn: Connection, org_id: str, profile: TaxProfile | None) -> None:
    """Instead of the one there is; None: there is none any more."""
    await conn.execute(delete(tax_profile).where(tax_profile.c.org_id == org_id))
    if profile is not None:
        values = {
            "org_id": org_id,
            "name": profile.name,
            "rate_bp": profile.rate_bp,
            "included": int(profile.included),
        }
        await conn.execute(insert(tax_profile).values(values))
