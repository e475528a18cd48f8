"""Alerts of the balance: one threshold per organisation, and whether it has been crossed."""

from __future__ import annotations

import msgspec
from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_update
from sqlalchemy.engine import RowMapping

from tokenmarket.store.database import Connection
from tokenmarket.store.money import account
from tokenmarket.store.payment_tables import balance_alert

_emails = msgspec.json.Decoder(tuple[str, ...])
# Over what the organisation can spend; money in leases is still its own.
_balance = (
    select(func.coalesce(func.sum(account.c.cr_posted - account.c.dr_posted), 0))
    .where(account.c.org_id == balance_alert.c.org_id, account.c.limited == 1)
    .scalar_subquery()
)


class AlertRow(msgspec.Struct, frozen=True):
    """One alert; ``fired_us`` 0: never."""

    org_id: str
    threshold_nano: int
    emails: tuple[str, ...]
    armed: bool
    fired_us: int
    updated_us: int


async def alert_of(conn: Connection, org_id: str) -> AlertRow | None:
    query = select(balance_alert).where(balance_alert.c.org_id == org_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _alert(row)


async def put_alert(conn: Connection, row: AlertRow) -> None:
    """Instead of the one there is."""
    values = {
        **msgspec.structs.asdict(row),
        "emails": msgspec.json.encode(row.emails).decode(),
        "armed": int(row.armed),
    }
    statement = insert_or_update(balance_alert).values(values)
    await conn.execute(statement.on_conflict_do_update(index_elements=["org_id"], set_=values))


async def delete_alert(conn: Connection, org_id: str) -> bool:
    """False if there was none."""
    statement = delete(balance_alert).where(balance_alert.c.org_id == org_id)
    return (await conn.execute(statement)).rowcount == 1


async def crossed(conn: Connection) -> list[tuple[AlertRow, int]]:
    """Alerts whose balance is on the other side than they remember, with the balance."""
    query = select(balance_alert, _balance.label("balance")).where(
        or_(
            and_(balance_alert.c.armed == 1, _balance < balance_alert.c.threshold_nano),
            and_(balance_alert.c.armed == 0, _balance >= balance_alert.c.threshold_nano),
        )
    )
    return [(_alert(row), int(row["balance"])) for row in (await conn.execute(query)).mappings()]


async def set_armed(conn: Connection, row: AlertRow, *, armed: bool, now_us: int) -> bool:
    """False, and nothing changed, if the alert is not as ``row`` says any more."""
    values: dict[str, object] = {"armed": int(armed)}
    if not armed:
        values["fired_us"] = now_us
    changed = await conn.execute(
        update(balance_alert)
        .where(
            balance_alert.c.org_id == row.org_id,
            balance_alert.c.armed == int(row.armed),
            balance_alert.c.updated_us == row.updated_us,
        )
        .values(values)
    )
    return changed.rowcount == 1


def _alert(row: RowMapping) -> AlertRow:
    return AlertRow(
        row["org_id"],
        row["threshold_nano"],
        _emails.decode(row["emails"]),
        bool(row["armed"]),
        row["fired_us"],
        row["updated_us"],
    )
