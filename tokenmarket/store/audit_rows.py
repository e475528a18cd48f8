"""Reading the audit trail: pages of it, by organisation, actor or action."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from tokenmarket.store.database import Connection
from tokenmarket.store.tables import audit_event


class AuditEvent(msgspec.Struct, frozen=True):
    """One line; ``detail`` is a JSON object without secrets."""

    seq: int
    at_us: int
    actor: str
    action: str
    object: str
    detail: str
    org_id: str | None


async def page(
    conn: Connection,
    *,
    org_id: str | None = None,
    actor: str = "",
    action: str = "",
    subject: str = "",
    before_seq: int | None = None,
    limit: int = 100,
) -> list[AuditEvent]:
    """Newest first. ``action`` may be the beginning of one (``price.``)."""
    columns = [audit_event.c[name] for name in AuditEvent.__struct_fields__]
    query = select(*columns).order_by(audit_event.c.seq.desc()).limit(limit)
    if org_id is not None:
        query = query.where(audit_event.c.org_id == org_id)
    if actor:
        query = query.where(audit_event.c.actor == actor)
    if action:
        query = query.where(audit_event.c.action.startswith(action, autoescape=True))
    if subject:
        query = query.where(audit_event.c.object == subject)
    if before_seq is not None:
        query = query.where(audit_event.c.seq < before_seq)
    return [AuditEvent(**row) for row in (await conn.execute(query)).mappings()]
