"""``tokenmarket webhook secret``: what an organization checks our callbacks with."""

from __future__ import annotations

import os
from argparse import Namespace

from tokenmarket.accounts import admin
from tokenmarket.cli.running import Answer, desk, second
from tokenmarket.core.video.webhooks import SECRET_BYTES_NEW, new_secret
from tokenmarket.store import accounts as rows
from tokenmarket.store import webhooks


async def secret(arguments: Namespace) -> Answer:
    """Shows the current one; makes it when there is none, or another one with ``--rotate``."""
    async with desk(arguments) as at:
        async with at.database.read() as conn:
            org = await admin.find_org(conn, arguments.org)
        found = await webhooks.secrets(at.database, at.kek, org.id, at.now_us)
        made = arguments.rotate or not found
        if made:
            await webhooks.add_secret(
                at.database,
                at.kek,
                org.id,
                new_secret(os.urandom(SECRET_BYTES_NEW)).encode(),
                at.now_us,
                overlap_us=arguments.overlap * 1_000_000,
            )
            found = await webhooks.secrets(at.database, at.kek, org.id, at.now_us)
            async with at.database.begin() as conn:
                await rows.append_audit(
                    conn, at.now_us, at.actor, "webhook.secret", found[0].id, {"org": org.id}
                )
    current, *others = found
    text = current.secret.decode()
    document = {
        "object": "webhook_secret",
        "id": current.id,
        "organization": org.name,
        "organization_id": org.id,
        "secret": text,
        "created": made,
        "created_at": second(current.created_us),
        "retiring": [{"id": one.id, "retires_at": second(one.retired_us)} for one in others],
    }
    more = f"\n{len(others)} earlier one(s) sign beside it for a while" if others else ""
    return Answer(document, f"{text}\nsigns the callbacks of {org.name} ({org.id}){more}")
