"""``tokenmarket manage-key create | list | disable``: keys of the management API."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from tokenmarket.accounts import admin, manage_keys
from tokenmarket.cli.running import Answer, desk, second, table
from tokenmarket.core.keys import hint
from tokenmarket.store import manage_keys as rows
from tokenmarket.store.database import Connection
from tokenmarket.store.manage_keys import ManageKeyRow


async def create(arguments: Namespace) -> Answer:
    """What the command line makes stands on its own: no person's rights end it."""
    async with desk(arguments) as at, at.database.begin() as conn:
        org_id = await _org_id(conn, arguments.org)
        made = await manage_keys.create(
            conn,
            org_id=org_id,
            role=arguments.key_role or ("owner" if org_id else manage_keys.OPERATOR),
            name=arguments.name,
            expires_at_s=arguments.expires,
            pepper=at.pepper,
            giver="owner" if org_id else manage_keys.OPERATOR,
            maker=at.actor,
            actor=at.actor,
            now_us=at.now_us,
        )
    document = _document(made.row)
    text = f"{made.token}\nThis is the only time the key is shown ({made.row.id})."
    return Answer({**document, "key": made.token}, text)


async def listing(arguments: Namespace) -> Answer:
    async with desk(arguments) as at, at.database.read() as conn:
        found = await rows.keys_of(conn, await _org_id(conn, arguments.org))
    documents = [_document(row) for row in found]
    lines = [(d["id"], d["name"], d["hint"], d["role"], d["maker"]) for d in documents]
    head = ("ID", "NAME", "KEY", "ROLE", "MAKER")
    return Answer({"object": "list", "data": documents}, table(head, lines))


async def disable(arguments: Namespace) -> Answer:
    async with desk(arguments) as at, at.database.begin() as conn:
        org_id = await _org_id(conn, arguments.org)
        row = await manage_keys.disable(
            conn, org_id, arguments.id, actor=at.actor, now_us=at.now_us
        )
    return Answer(_document(row), f"disabled {row.id}")


async def _org_id(conn: Connection, name: str | None) -> str:
    return "" if name is None else (await admin.find_org(conn, name)).id


def _document(row: ManageKeyRow) -> dict[str, Any]:
    """Everything but the key; the names are those of the management API."""
    return {
        "object": "management_key",
        "id": row.id,
        "name": row.name,
        "hint": hint(row.prefix, row.last4),
        "role": row.role,
        "organization_id": row.org_id or None,
        "maker": row.maker,
        "created_at": second(row.created_us),
        "expires_at": row.expires_at_s,
        "disabled_at": row.disabled_at_s,
        "last_used_at": second(row.last_used_us),
    }
