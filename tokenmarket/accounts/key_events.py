"""What webhook endpoints are told of API keys; never the key itself."""

from __future__ import annotations

import os

from tokenmarket.core import ids
from tokenmarket.core.keys import hint
from tokenmarket.core.webhook_events import event_body
from tokenmarket.store import webhook_endpoints
from tokenmarket.store.accounts import KeyRow
from tokenmarket.store.database import Connection
from tokenmarket.store.webhook_endpoints import NewEvent


async def publish_key(conn: Connection, kind: str, row: KeyRow, now_us: int) -> None:
    """An event of type ``key.…``, in the transaction of what it tells. Once per key, and per end of
    it for ``key.expiring``."""
    if not await webhook_endpoints.is_wanted(conn, row.org_id, kind):
        return
    event_id = ids.new_id("evt", now_us, os.urandom(ids.RANDOM_BYTES))
    subject = f"{row.id} {row.expires_at_s}" if kind == "key.expiring" else row.id
    data = {
        "object": "api_key",
        "id": row.id,
        "name": row.name,
        "hint": hint(row.prefix, row.last4),
        "created_at": row.created_us // 1_000_000,
        "expires_at": row.expires_at_s,
        "disabled_at": row.disabled_at_s,
        "follows": row.rotates,
    }
    body = event_body(event_id, kind, now_us // 1_000_000, data)
    await webhook_endpoints.publish(
        conn,
        NewEvent(
            id=event_id, org_id=row.org_id, type=kind, subject=subject, body=body, created_us=now_us
        ),
    )
