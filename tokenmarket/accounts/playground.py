"""The key under which a person's playground requests run: one per person and organisation.

Its text is derived from the root secret, so that the server can use it without storing it; the row
is like that of any other key, and shows up in lists, usage and receipts under its name.
"""

from __future__ import annotations

from hashlib import blake2b

from tokenmarket.accounts import admin
from tokenmarket.accounts.admin import KeyWishes
from tokenmarket.accounts.people import User
from tokenmarket.core import keys, sealing
from tokenmarket.core.sealing import Root
from tokenmarket.store import accounts as rows
from tokenmarket.store.database import Database

NAME = "Playground"


async def token(database: Database, root: Root, org_id: str, user: User, *, now_us: int) -> str:
    """The key's text; its row is made on first use. A disabled one stays disabled."""
    secret = root.derive(sealing.PLAYGROUND_KEYS)
    text = keys.generate(
        "live", blake2b(f"{org_id}/{user.id}".encode(), key=secret, digest_size=32).digest()
    )
    pepper = root.derive(sealing.PEPPER)
    digest = keys.digest(text, pepper).hex()
    async with database.read() as conn:
        found = await rows.key_by_digest(conn, digest)
    if found is None:
        async with database.begin() as conn:
            if await rows.key_by_digest(conn, digest) is None:
                org = await admin.find_org(conn, org_id)
                wishes = KeyWishes(name=f"{NAME} · {user.email}"[:100])
                await admin.create_key(
                    conn,
                    org,
                    wishes,
                    pepper,
                    now_us=now_us,
                    actor=f"user:{user.id}",
                    token=text,
                )
    return text
