"""Rows of webhook endpoints: what organisations set up, and events published to them.

``publish`` belongs in the transaction of what it tells. Sending is ``store/webhook_sending.py``'s.
Every function takes the connection of the caller's transaction.
"""

from __future__ import annotations

import base64
import os

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or_skip

from tokenmarket.core import ids, sealing
from tokenmarket.store.accounts import KeyRow, keys_of
from tokenmarket.store.database import Connection
from tokenmarket.store.webhook_tables import (
    webhook_attempt,
    webhook_dispatch,
    webhook_endpoint,
    webhook_endpoint_secret,
    webhook_event,
)

_names = msgspec.json.Decoder(tuple[str, ...]).decode


class EndpointRow(msgspec.Struct, frozen=True):
    """One endpoint. ``failing_since_us`` and ``disabled_us`` are 0 for "no"."""

    id: str
    org_id: str
    url: str
    description: str
    events: tuple[str, ...]
    failing_since_us: int
    disabled_us: int
    disabled_reason: str  # person | failing | gone
    created_us: int


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Unique by organisation, type and ``subject``; ``body`` is sent as it is."""

    id: str
    org_id: str
    type: str
    subject: str
    body: str
    created_us: int


class SecretRow(msgspec.Struct, frozen=True):
    """One signing secret in clear. ``retired_us`` 0: the current one."""

    id: str
    secret: str
    created_us: int
    retired_us: int

    def __repr__(self) -> str:
        return f"SecretRow({self.id}, ***)"


async def insert_endpoint(conn: Connection, row: EndpointRow) -> None:
    values = msgspec.structs.asdict(row)
    values["events"] = msgspec.json.encode(row.events).decode()
    await conn.execute(insert(webhook_endpoint).values(values))


async def endpoints_of(
    conn: Connection, org_id: str, *, after: str = "", limit: int = 1_000
) -> list[EndpointRow]:
    """Newest first; ``after``: those older than this id."""
    query = select(webhook_endpoint).where(webhook_endpoint.c.org_id == org_id)
    if after:
        query = query.where(webhook_endpoint.c.id < after)
    found = await conn.execute(query.order_by(webhook_endpoint.c.id.desc()).limit(limit))
    return [_endpoint(tuple(row)) for row in found]


async def endpoint_by_id(conn: Connection, org_id: str, endpoint_id: str) -> EndpointRow | None:
    query = select(webhook_endpoint).where(
        webhook_endpoint.c.org_id == org_id, webhook_endpoint.c.id == endpoint_id
    )
    row = (await conn.execute(query)).one_or_none()
    return None if row is None else _endpoint(tuple(row))


async def update_endpoint(conn: Connection, row: EndpointRow) -> None:
    values = msgspec.structs.asdict(row)
    values["events"] = msgspec.json.encode(row.events).decode()
    await conn.execute(
        update(webhook_endpoint)
        .where(webhook_endpoint.c.org_id == row.org_id, webhook_endpoint.c.id == row.id)
        .values(values)
    )


async def delete_endpoint(conn: Connection, org_id: str, endpoint_id: str) -> None:
    """With its secrets and everything that was sent or is still to be sent there."""
    sent = select(webhook_dispatch.c.id).where(
        webhook_dispatch.c.org_id == org_id, webhook_dispatch.c.endpoint_id == endpoint_id
    )
    await conn.execute(delete(webhook_attempt).where(webhook_attempt.c.dispatch_id.in_(sent)))
    for table in (webhook_dispatch, webhook_endpoint_secret):
        await conn.execute(
            delete(table).where(table.c.org_id == org_id, table.c.endpoint_id == endpoint_id)
        )
    await conn.execute(
        delete(webhook_endpoint).where(
            webhook_endpoint.c.org_id == org_id, webhook_endpoint.c.id == endpoint_id
        )
    )


# ------------------------------------------------------------------------------------------ events


async def is_wanted(conn: Connection, org_id: str, kind: str) -> bool:
    """Whether any endpoint of the organisation would be told of this type of event."""
    return bool(_wanting(await endpoints_of(conn, org_id), kind))


async def publish(conn: Connection, new: NewEvent) -> bool:
    """One dispatch for every endpoint of the organisation that is on and wants this type. False:
    nobody wants it, or the same was published before."""
    wanted = _wanting(await endpoints_of(conn, new.org_id), new.type)
    if not wanted:
        return False
    values = msgspec.structs.asdict(new)
    statement = insert_or_skip(webhook_event).values(values).on_conflict_do_nothing()
    if (await conn.execute(statement)).rowcount == 0:
        return False
    for row in wanted:
        await _dispatch(conn, new.org_id, row.id, new.id, new.created_us)
    return True


async def publish_to(conn: Connection, endpoint: EndpointRow, new: NewEvent) -> str:
    """To this endpoint alone (a test event); the dispatch's id."""
    await conn.execute(insert(webhook_event).values(msgspec.structs.asdict(new)))
    return await _dispatch(conn, endpoint.org_id, endpoint.id, new.id, new.created_us)


async def dispatch_again(
    conn: Connection, org_id: str, endpoint_id: str, dispatch_id: str, now_us: int
) -> str | None:
    """The same event once more, as a dispatch of its own; None if there is none."""
    query = select(webhook_dispatch.c.event_id).where(
        webhook_dispatch.c.org_id == org_id,
        webhook_dispatch.c.endpoint_id == endpoint_id,
        webhook_dispatch.c.id == dispatch_id,
    )
    event_id = (await conn.execute(query)).scalar_one_or_none()
    if event_id is None:
        return None
    return await _dispatch(conn, org_id, endpoint_id, event_id, now_us)


async def _dispatch(
    conn: Connection, org_id: str, endpoint_id: str, event_id: str, now_us: int
) -> str:
    dispatch_id = ids.new_id("whd", now_us, os.urandom(ids.RANDOM_BYTES))
    await conn.execute(
        insert(webhook_dispatch).values(
            id=dispatch_id,
            org_id=org_id,
            endpoint_id=endpoint_id,
            event_id=event_id,
            created_us=now_us,
            attempts=0,
            next_attempt_us=now_us,
            last_status=None,
            last_error="",
            delivered_us=0,
            given_up_us=0,
            lease_owner="",
            lease_until_us=0,
        )
    )
    return dispatch_id


async def keys_expiring(conn: Connection, from_s: int, to_s: int) -> list[KeyRow]:
    """API keys that end between these times, of organisations with an endpoint that is on."""
    told = select(webhook_endpoint.c.org_id).where(webhook_endpoint.c.disabled_us == 0)
    if (await conn.execute(told.limit(1))).first() is None:
        return []
    org_ids = {str(row[0]) for row in await conn.execute(told.distinct())}
    found: list[KeyRow] = []
    for org_id in sorted(org_ids):
        found += [
            row
            for row in await keys_of(conn, org_id)
            if row.disabled_at_s is None and from_s < (row.expires_at_s or 0) <= to_s
        ]
    return found


# ----------------------------------------------------------------------------------------- secrets


async def add_secret(
    conn: Connection, kek: bytes, endpoint: EndpointRow, secret: str, now_us: int, overlap_us: int
) -> None:
    """Make ``secret`` the current one; earlier ones sign beside it for ``overlap_us`` more."""
    table = webhook_endpoint_secret
    secret_id = ids.new_id("whs", now_us, os.urandom(ids.RANDOM_BYTES))
    bound = _bound_to(secret_id, endpoint.id)
    wrapped, sealed = sealing.seal(secret.encode(), kek, bound, os.urandom(sealing.RANDOM_BYTES))
    await conn.execute(
        update(table)
        .where(
            table.c.org_id == endpoint.org_id,
            table.c.endpoint_id == endpoint.id,
            table.c.retired_us == 0,
        )
        .values(retired_us=now_us + overlap_us)
    )
    await conn.execute(
        insert(table).values(
            id=secret_id,
            org_id=endpoint.org_id,
            endpoint_id=endpoint.id,
            wrapped_key=base64.b64encode(wrapped).decode(),
            sealed=base64.b64encode(sealed).decode(),
            created_us=now_us,
            retired_us=0,
        )
    )


async def secrets(
    conn: Connection, kek: bytes, org_id: str, endpoint_id: str, now_us: int
) -> list[SecretRow]:
    """Those that sign now, the current one first. Raises SealBroken if the root is another one."""
    table = webhook_endpoint_secret
    query = select(table).where(table.c.org_id == org_id, table.c.endpoint_id == endpoint_id)
    rows = (await conn.execute(query.order_by(table.c.retired_us, table.c.id.desc()))).mappings()
    return [
        SecretRow(
            row["id"],
            sealing.unseal(
                base64.b64decode(row["wrapped_key"]),
                base64.b64decode(row["sealed"]),
                kek,
                _bound_to(row["id"], endpoint_id),
            ).decode(),
            row["created_us"],
            row["retired_us"],
        )
        for row in rows
        if not row["retired_us"] or row["retired_us"] > now_us
    ]


async def endpoint_count(conn: Connection, org_id: str) -> int:
    query = select(func.count()).where(webhook_endpoint.c.org_id == org_id)
    return (await conn.execute(query)).scalar_one()


def _wanting(endpoints: list[EndpointRow], kind: str) -> list[EndpointRow]:
    return [row for row in endpoints if not row.disabled_us and kind in row.events]


def _endpoint(row: tuple[object, ...]) -> EndpointRow:
    values = dict(zip(EndpointRow.__struct_fields__, row, strict=True))
    values["events"] = _names(str(values["events"]))
    return msgspec.convert(values, EndpointRow)


def _bound_to(secret_id: str, endpoint_id: str) -> bytes:
    return f"webhook_endpoint_secret:{secret_id}:{endpoint_id}".encode()
