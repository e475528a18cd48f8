"""``tokenmarket key create | list | disable | rotate``."""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime
from typing import Any

from tokenmarket.accounts import admin
from tokenmarket.accounts.admin import KeyWishes, NewKey
from tokenmarket.cli.catalog import check_names
from tokenmarket.cli.orgs import limits_document, limits_from
from tokenmarket.cli.running import Answer, desk, second, table
from tokenmarket.core.keys import hint
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import KeyRow, OrgRow


async def create(arguments: Namespace) -> Answer:
    wishes = KeyWishes(
        name=arguments.name,
        limits=limits_from(arguments),
        models=arguments.models,
        providers=arguments.providers,
        operations=arguments.operations,
        addresses=arguments.addresses,
        expires_at_s=arguments.expires,
    )
    async with desk(arguments) as at:
        async with at.database.read() as conn:
            await check_names(conn, wishes.models or (), wishes.providers or ())
        async with at.database.begin() as conn:
            org = await admin.find_org(conn, arguments.org)
            made = await admin.create_key(
                conn, org, wishes, at.pepper, now_us=at.now_us, actor=at.actor
            )
    return _shown_once(made)


async def listing(arguments: Namespace) -> Answer:
    async with desk(arguments) as at, at.database.read() as conn:
        org_id = None
        if arguments.org is not None:
            org_id = (await admin.find_org(conn, arguments.org)).id
        orgs = {org.id: org for org in await rows.orgs(conn)}
        found = await rows.keys_of(conn, org_id)
    now_s = at.now_us // 1_000_000
    documents = [key_document(key, orgs[key.org_id], now_s) for key in found]
    lines = [
        (d["id"], d["organization"], d["name"], d["hint"], d["status"], _day(d["last_used_at"]))
        for d in documents
    ]
    head = ("ID", "ORGANIZATION", "NAME", "KEY", "STATUS", "LAST USED")
    return Answer({"object": "list", "data": documents}, table(head, lines))


async def disable(arguments: Namespace) -> Answer:
    async with desk(arguments) as at, at.database.begin() as conn:
        row = await admin.disable_key(conn, arguments.id, now_us=at.now_us, actor=at.actor)
        org = await admin.find_org(conn, row.org_id)
    document = key_document(row, org, at.now_us // 1_000_000)
    return Answer(document, f"disabled {row.id} ({document['hint']})")


async def rotate(arguments: Namespace) -> Answer:
    async with desk(arguments) as at, at.database.begin() as conn:
        made = await admin.rotate_key(
            conn,
            arguments.id,
            at.pepper,
            overlap_s=arguments.overlap,
            now_us=at.now_us,
            actor=at.actor,
        )
    return _shown_once(made)


def key_document(key: KeyRow, org: OrgRow, now_s: int) -> dict[str, Any]:
    """Everything but the key; the names are those of ``GET /key``."""
    status = "active"
    if key.disabled_at_s is not None or org.disabled_at_s is not None:
        status = "disabled"
    elif key.expires_at_s is not None and key.expires_at_s <= now_s:
        status = "expired"
    return {
        "object": "key",
        "id": key.id,
        "name": key.name,
        "hint": hint(key.prefix, key.last4),
        "organization": org.name,
        "organization_id": org.id,
        "status": status,
        "created_at": second(key.created_us),
        "expires_at": key.expires_at_s,
        "disabled_at": key.disabled_at_s,
        "rotates": key.rotates,
        "last_used_at": None if key.last_used_day is None else key.last_used_day * 86_400,
        "limits": limits_document(key.limits),
        "allowed": {
            "models": key.models,
            "providers": key.providers,
            "operations": key.operations,
            "addresses": key.addresses,
        },
    }


def _shown_once(made: NewKey) -> Answer:
    document = key_document(made.row, made.org, second(made.row.created_us) or 0)
    text = (
        f"{made.token}\n"
        f"This is the only time the key is shown ({made.row.id}, organization {made.org.name})."
    )
    if made.row.rotates is not None:
        text += f"\nIt replaces {made.row.rotates}."
    return Answer({**document, "key": made.token}, text)


def _day(at_s: int | None) -> str:
    return "never" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")
