"""Reading the audit trail: an organisation's part of it, or all, newest first."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from tokenmarket.store.database import Connection
from tokenmarket.store.tables import audit_event


class AuditRow(msgspec.Struct, frozen=True):
    """One line; ``detail`` is a JSON object without secrets."""

    seq: int
    at_us: int
    actor: str
    action: str
    object: str
    detail: str
    org_id: str | None


async def audit_lines(
    conn: Connection,
    *,
    org_id: str | None = None,
    actor: str = "",
    action: str = "",
    action_start: str = "",
    subject: str = "",
    before_seq: int | None = None,
    limit: int = 50,
) -> list[AuditRow]:
    """Lines older than ``before_seq``; ``org_id`` None: of the whole installation.

    ``action`` is a whole name or a group (``key`` for all of ``key.…``), ``action_start`` any
    beginning of one; ``subject`` is the object.
    """
    names = AuditRow.__struct_fields__
    query = select(*(audit_event.c[name] for name in names)).order_by(audit_event.c.seq.desc())
    if org_id is not None:
        query = query.where(audit_event.c.org_id == org_id)
    if actor:
        query = query.where(audit_event.c.actor == actor)
    if action:
        exact = audit_event.c.action == action
        query = query.where(exact | audit_event.c.action.startswith(f"{action}.", autoescape=True))
    if action_start:
        query = query.where(audit_event.c.action.startswith(action_start, autoescape=True))
    if subject:
        query = query.where(audit_event.c.object == subject)
    if before_seq is not None:
        query = query.where(audit_event.c.seq < before_seq)
    rows = (await conn.execute(query.limit(limit))).mappings()
    return [AuditRow(*(row[name] for name in names)) for row in rows]
