"""One-time links: whoever holds one may do one thing, once, until it expires.

    token = await links.make("reset", user.id, lifetime_s=links.RESET_S)
    link = await links.find("reset", token)      # None: unknown, of another purpose, used, too old
    async with database.begin() as conn:
        await links.use(conn, link)              # raises Spent for the second of two at once

Only a keyed digest is stored. Using one ends all others of the person and purpose; making one does
not, or strangers who keep asking for a reset would keep ending the owner's. ``second_factor`` is no
link but works like one: it stands between password and code.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Literal

from tokenmarket.billing.clock import Clock
from tokenmarket.store import sessions as rows
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.sessions import LinkRow

Purpose = Literal["reset", "verify", "welcome", "second_factor"]
RESET_S = 3_600
RESET_BY_HAND_S = 86_400  # made by an operator, who passes it on
VERIFY_S = 7 * 86_400
WELCOME_S = 86_400
SECOND_FACTOR_S = 600
INVITATION_S = 7 * 86_400
TOKEN_CHARS_MAX = 100


class Spent(Exception):
    """The link has been used in the meantime."""


class Links:
    """``secret`` is ``root.derive(sealing.LINKS)``."""

    def __init__(self, database: Database, clock: Clock, secret: bytes) -> None:
        self._database = database
        self._clock = clock
        self._secret = secret

    async def make(self, purpose: Purpose, user_id: str, *, lifetime_s: int) -> str:
        """The token of a new link."""
        token = secrets.token_urlsafe(32)
        now_us = self._clock.wall_us()
        now_s = now_us // 1_000_000
        row = LinkRow(self.digest(token), purpose, user_id, now_us, now_s + lifetime_s, None)
        async with self._database.begin() as conn:
            await rows.delete_old_links(conn, now_s)
            await rows.insert_link(conn, row)
        return token

    async def find(self, purpose: Purpose, token: str) -> LinkRow | None:
        """The link if it can be used now; takes any text."""
        if not 0 < len(token) <= TOKEN_CHARS_MAX:
            return None
        async with self._database.read() as conn:
            row = await rows.link_by_digest(conn, self.digest(token))
        if row is None or row.purpose != purpose or row.used_us is not None:
            return None
        return row if self._clock.wall_us() < row.expires_at_s * 1_000_000 else None

    async def use(self, conn: Connection, link: LinkRow) -> None:
        """In the transaction of what it allows; raises Spent."""
        if not await rows.use_link(conn, link.digest, self._clock.wall_us()):
            raise Spent
        await rows.delete_other_links(conn, link)

    def digest(self, token: str) -> str:
        """What is stored of a token, also of an invitation's."""
        text = token.encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._secret, digest_size=32, person=b"link").hexdigest()
