"""Organisations, API keys and the audit trail: rows in, rows out, nothing decided here.

Every function takes the connection of the caller's transaction. A function that changes what a
running server must notice calls ``bump_generation`` itself, so that it cannot be forgotten.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from tokenmarket.store.database import Connection
from tokenmarket.store.tables import api_key, audit_event, meta, organization


class NameTaken(Exception):
    """Another row has this name already."""


class Limits(msgspec.Struct, frozen=True):
    """What one owner (key or organisation) may do; None = no limit, 0 = nothing at all.

    ``rpm``/``tpm`` are per minute; spend caps are nano-USD, day and month in UTC.
    """

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    spend_total_nano: int | None = None
    spend_month_nano: int | None = None
    spend_day_nano: int | None = None


class OrgRow(msgspec.Struct, frozen=True):
    """One organisation; ``kind`` is customer or demo, ``time_zone`` an IANA name,
    ``group_id`` the group whose prices apply (None = everybody's), ``content_days`` for how long
    bodies of requests are kept (None = not at all)."""

    id: str
    name: str
    kind: str
    limits: Limits
    disabled_at_s: int | None
    created_us: int
    time_zone: str = "UTC"
    group_id: str | None = None
    content_days: int | None = None


class KeyRow(msgspec.Struct, frozen=True):
    """One API key without the key; allowed sets are None for "all".

    ``rotates`` is the id of the key this one replaces; ``created_by`` an actor.
    """

    id: str
    org_id: str
    name: str
    digest: str
    pepper_version: int
    prefix: str
    last4: str
    limits: Limits
    models: tuple[str, ...] | None
    providers: tuple[str, ...] | None
    operations: tuple[str, ...] | None
    addresses: tuple[str, ...] | None
    expires_at_s: int | None
    disabled_at_s: int | None
    rotates: str | None
    last_used_day: int | None
    created_us: int
    team_id: str | None = None
    created_by: str | None = None
    kind: str = "api"  # or playground


_LIMITS = Limits.__struct_fields__
_SETS = ("models", "providers", "operations", "addresses")
_names = msgspec.json.Decoder(tuple[str, ...])


async def insert_org(conn: Connection, row: OrgRow) -> None:
    """Raises NameTaken."""
    try:
        await conn.execute(insert(organization).values(_columns(row)))
    except IntegrityError as error:
        raise NameTaken(row.name) from error
    await bump_generation(conn)


async def org_by_name(conn: Connection, name: str) -> OrgRow | None:
    query = select(organization).where(organization.c.name == name)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _org(row)


async def org_by_id(conn: Connection, org_id: str) -> OrgRow | None:
    query = select(organization).where(organization.c.id == org_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _org(row)


async def orgs(conn: Connection) -> list[OrgRow]:
    """All, oldest first."""
    query = select(organization).order_by(organization.c.id)
    return [_org(row) for row in (await conn.execute(query)).mappings()]


async def insert_key(conn: Connection, row: KeyRow) -> None:
    await conn.execute(insert(api_key).values(_columns(row)))
    await bump_generation(conn)


async def key_by_digest(conn: Connection, digest: str) -> tuple[KeyRow, OrgRow] | None:
    """The key and its organisation, whatever their state."""
    query = select(api_key).where(api_key.c.digest == digest)
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    key = _key(row)
    org = await org_by_id(conn, key.org_id)
    return None if org is None else (key, org)


async def key_by_id(conn: Connection, key_id: str) -> KeyRow | None:
    """For the operator only: what a customer asks for goes by (org_id, id)."""
    query = select(api_key).where(api_key.c.id == key_id)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else _key(row)


async def keys_of(conn: Connection, org_id: str | None = None) -> list[KeyRow]:
    """All keys (of one organisation), oldest first."""
    query = select(api_key).order_by(api_key.c.id)
    if org_id is not None:
        query = query.where(api_key.c.org_id == org_id)
    return [_key(row) for row in (await conn.execute(query)).mappings()]


async def keys_by_ids(conn: Connection, key_ids: Sequence[str]) -> list[KeyRow]:
    """The rows of these keys that exist; at most 500 ids per call."""
    query = select(api_key).where(api_key.c.id.in_(key_ids))
    return [_key(row) for row in (await conn.execute(query)).mappings()]


async def change_key(conn: Connection, row: KeyRow) -> None:
    """Write what may change of a key: name, limits, allowed sets, end."""
    values = _columns(row)
    changeable = ("name", "expires_at_s", *_LIMITS, *_SETS)
    statement = update(api_key).where(api_key.c.org_id == row.org_id, api_key.c.id == row.id)
    await conn.execute(statement.values({name: values[name] for name in changeable}))
    await bump_generation(conn)


async def disable_key(conn: Connection, key_id: str, at_s: int) -> None:
    """Keeps the first time if it was disabled before."""
    statement = update(api_key).where(api_key.c.id == key_id, api_key.c.disabled_at_s.is_(None))
    await conn.execute(statement.values(disabled_at_s=at_s))
    await bump_generation(conn)


async def expire_key(conn: Connection, key_id: str, at_s: int) -> None:
    """Set the end of a key; an earlier end that it has already stays."""
    current = api_key.c.expires_at_s
    statement = update(api_key).where(api_key.c.id == key_id)
    await conn.execute(statement.values(expires_at_s=case((current < at_s, current), else_=at_s)))
    await bump_generation(conn)


async def mark_used(conn: Connection, key_ids: Sequence[str], day: int) -> None:
    """Note the day on keys not yet marked for it; nobody needs to be told."""
    statement = update(api_key).where(
        api_key.c.id.in_(key_ids), func.coalesce(api_key.c.last_used_day, -1) < day
    )
    await conn.execute(statement.values(last_used_day=day))


async def generation(conn: Connection) -> int:
    """The number that every control-plane write counts up."""
    query = select(meta.c.number).where(meta.c.name == "generation")
    return (await conn.execute(query)).scalar_one()


async def bump_generation(conn: Connection) -> None:
    statement = update(meta).where(meta.c.name == "generation")
    await conn.execute(statement.values(number=meta.c.number + 1))


async def remembered(conn: Connection, name: str) -> str | None:
    """A fact about this database."""
    return (await conn.execute(select(meta.c.text).where(meta.c.name == name))).scalar()


async def remember(conn: Connection, name: str, text: str) -> str:
    """Store a fact once and return what is stored: the text, or an earlier one."""
    stored = await remembered(conn, name)
    if stored is None:
        await conn.execute(insert(meta).values(name=name, number=0, text=text))
        return text
    return stored


async def replace_fact(conn: Connection, name: str, text: str) -> None:
    """Store a fact whether or not there is an earlier one."""
    changed = await conn.execute(update(meta).where(meta.c.name == name).values(text=text))
    if changed.rowcount == 0:
        await conn.execute(insert(meta).values(name=name, number=0, text=text))


async def forget(conn: Connection, name: str) -> None:
    await conn.execute(delete(meta).where(meta.c.name == name))


async def append_audit(
    conn: Connection,
    at_us: int,
    actor: str,
    action: str,
    subject: str,
    detail: dict[str, object],
    *,
    org_id: str | None = None,
) -> None:
    """A line of the audit trail, in the transaction of what it tells; no secrets in ``detail``.

    ``org_id``: the organisation that may read it.
    """
    newest = select(audit_event.c.seq, audit_event.c.hash).order_by(audit_event.c.seq.desc())
    last = (await conn.execute(newest.limit(1))).one_or_none()
    seq, before = (1, "") if last is None else (last.seq + 1, last.hash)
    text = msgspec.json.encode(detail, order="sorted").decode()
    await conn.execute(
        insert(audit_event).values(
            seq=seq,
            at_us=at_us,
            actor=actor,
            action=action,
            object=subject,
            detail=text,
            org_id=org_id,
            hash=audit_hash(before, seq, at_us, actor, action, subject, text, *_given(org_id)),
        )
    )


async def broken_audit(conn: Connection) -> int | None:
    """The first ``seq`` whose hash does not follow from the row and its predecessor."""
    before, expected = "", 1
    rows = await conn.execute(select(audit_event).order_by(audit_event.c.seq))
    for row in rows:
        hashed = audit_hash(
            before,
            row.seq,
            row.at_us,
            row.actor,
            row.action,
            row.object,
            row.detail,
            *_given(row.org_id),
        )
        if row.seq != expected or row.hash != hashed:
            return int(row.seq)
        before, expected = row.hash, expected + 1
    return None


def _given(org_id: str | None) -> tuple[str, ...]:
    """Lines without an organisation hash as before there was the column."""
    return () if org_id is None else (org_id,)


def audit_hash(before: str, *fields: str | int) -> str:
    """SHA-256 over the previous hash and the row; as a JSON array no two rows read alike."""
    return hashlib.sha256(msgspec.json.encode((before, *fields))).hexdigest()


def _columns(row: OrgRow | KeyRow) -> dict[str, object]:
    values = {name: getattr(row, name) for name in row.__struct_fields__ if name != "limits"}
    values.update({name: getattr(row.limits, name) for name in _LIMITS})
    for name in _SETS:
        if values.get(name) is not None:
            values[name] = msgspec.json.encode(values[name]).decode()
    return values


def _limits(row: RowMapping) -> Limits:
    return Limits(**{name: row[name] for name in _LIMITS})


def _org(row: RowMapping) -> OrgRow:
    return msgspec.convert(_fields(row, OrgRow.__struct_fields__), OrgRow)


def _key(row: RowMapping) -> KeyRow:
    fields = _fields(row, KeyRow.__struct_fields__)
    for name in _SETS:
        if row[name] is not None:
            fields[name] = _names.decode(row[name])
    return msgspec.convert(fields, KeyRow)


def _fields(row: RowMapping, names: tuple[str, ...]) -> dict[str, object]:
    fields: dict[str, object] = {name: row[name] for name in names if name != "limits"}
    fields["limits"] = _limits(row)
    return fields
