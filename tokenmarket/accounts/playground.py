"""The key under which a person's playground requests run: one per person and organisation.

Its text is derived from the root secret, so that the server can use it without storing it; the row
is of the kind ``playground`` and shows up in lists, usage and receipts. It is neither rolled nor
edited (but for its spend caps); a disabled one is followed by the next of a numbered series.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import count
from typing import NamedTuple

from tokenmarket.accounts import admin
from tokenmarket.accounts.admin import KeyWishes
from tokenmarket.accounts.people import User
from tokenmarket.core import keys, sealing
from tokenmarket.core.sealing import Root
from tokenmarket.store import accounts as rows
from tokenmarket.store.database import Connection, Database

NAME = "Playground"


class _Owner(NamedTuple):
    org_id: str
    user: User
    root: Root
    now_us: int


async def token(database: Database, root: Root, org_id: str, user: User, *, now_us: int) -> str:
    """The text of the key that is valid; its row is made on first use."""
    owner = _Owner(org_id, user, root, now_us)
    async with database.read() as conn:
        text, is_there = await _valid(conn, owner)
    if not is_there:
        async with database.begin() as conn:
            text, is_there = await _valid(conn, owner)
            if not is_there:
                await _make(conn, owner, text)
    return text


async def _valid(conn: Connection, owner: _Owner) -> tuple[str, bool]:
    """The first key of the series that did not end, and whether it has a row."""
    pepper = owner.root.derive(sealing.PEPPER)
    for number in count():
        text = _text(owner, number)
        found = await rows.key_by_digest(conn, keys.digest(text, pepper).hex())
        if found is None:
            return text, False
        row = found[0]
        ended = row.expires_at_s is not None and row.expires_at_s * 1_000_000 <= owner.now_us
        if row.disabled_at_s is None and not ended:
            return text, True
    raise AssertionError("a count has no end")


def _text(owner: _Owner, number: int) -> str:
    place = f"{owner.org_id}/{owner.user.id}" + (f"/{number}" if number else "")
    secret = owner.root.derive(sealing.PLAYGROUND_KEYS)
    return keys.generate("live", blake2b(place.encode(), key=secret, digest_size=32).digest())


async def _make(conn: Connection, owner: _Owner, text: str) -> None:
    await admin.create_key(
        conn,
        await admin.find_org(conn, owner.org_id),
        KeyWishes(name=f"{NAME} · {owner.user.email}"[: admin.NAME_CHARS_MAX]),
        owner.root.derive(sealing.PEPPER),
        now_us=owner.now_us,
        actor=f"user:{owner.user.id}",
        token=text,
    )
