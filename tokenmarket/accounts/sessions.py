"""Sessions of people: a random token in a cookie, a keyed digest of it in SQL.

    sessions = Sessions(database, clock, root.derive(sealing.SESSIONS))
    token = await sessions.open(user.id, address="203.0.113.7", agent="…")
    session = await sessions.find(token)        # None: unknown, too old, or the account is closed

What a reader must know:

* ``find`` asks SQL once in CACHE_S per token; what another process ends (the command line, a second
  web process) therefore lasts up to CACHE_S here. What this process ends is over at once.
* A token changes at every change of privilege: ``rotate`` after the password is given again, and a
  new ``open`` at sign-in; whoever planted a token before it has nothing.
* ``csrf`` belongs to the token and is stored nowhere: a keyed digest of it.
"""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b

import msgspec

from tokenmarket.billing.clock import Clock
from tokenmarket.core import ids
from tokenmarket.store import sessions as rows
from tokenmarket.store.database import Database
from tokenmarket.store.people import User
from tokenmarket.store.sessions import SessionRow

DAY_US = 86_400_000_000
IDLE_US = 14 * DAY_US
ABSOLUTE_US = 30 * DAY_US
IMPERSONATION_US = 3_600_000_000  # an operator's look through somebody's eyes ends by itself
CACHE_S = 5
CACHE_MAX = 10_000
SEEN_EVERY_US = 300_000_000  # how exactly "last seen" is kept
TOKEN_CHARS_MAX = 100
AGENT_CHARS_MAX = 200


class Session(msgspec.Struct, frozen=True):
    """A person who is signed in. ``proved_us``: when a password or code was last given;
    ``impersonator``: the operator who looks through this person's eyes, or None."""

    id: str
    user: User
    csrf: str
    created_us: int
    seen_us: int
    proved_us: int
    impersonator: str | None
    address: str
    agent: str


class Sessions:
    """``secret`` is ``root.derive(sealing.SESSIONS)``."""

    def __init__(self, database: Database, clock: Clock, secret: bytes) -> None:
        self._database = database
        self._clock = clock
        self._secret = secret
        self._cache: dict[str, tuple[int, Session]] = {}  # digest -> (until, monotonic; session)
        self._ended = 0  # how often something ended: what was read before is not kept after

    async def open(
        self, user_id: str, *, address: str, agent: str, impersonator: str | None = None
    ) -> str:
        """A new session; returns its token. Also forgets all sessions that are too old."""
        token = secrets.token_urlsafe(32)
        now_us = self._clock.wall_us()
        row = SessionRow(
            id=ids.new_id("ses", now_us, os.urandom(ids.RANDOM_BYTES)),
            digest=self._digest(token),
            user_id=user_id,
            address=address[:TOKEN_CHARS_MAX],
            agent=agent[:AGENT_CHARS_MAX],
            impersonator=impersonator,
            created_us=now_us,
            seen_us=now_us,
            proved_us=now_us,
        )
        async with self._database.begin() as conn:
            await rows.delete_old_sessions(conn, now_us - ABSOLUTE_US, now_us - IDLE_US)
            await rows.insert_session(conn, row)
        return token

    async def find(self, token: str) -> Session | None:
        """The session of this token if it may be used now; takes any text."""
        if not 0 < len(token) <= TOKEN_CHARS_MAX:
            return None
        digest = self._digest(token)
        cached = self._cache.get(digest)
        if cached is not None and self._clock.monotonic_us() < cached[0]:
            return cached[1] if self._is_alive(cached[1]) else None
        return await self._load(token, digest)

    async def rotate(self, token: str, *, proved: bool = False) -> str | None:
        """The same session under a new token; ``proved``: a password or code was just given.

        None if there is no such session any more.
        """
        session = await self.find(token)
        if session is None:
            return None
        fresh = secrets.token_urlsafe(32)
        values: dict[str, object] = {"digest": self._digest(fresh)}
        if proved:
            values["proved_us"] = self._clock.wall_us()
        async with self._database.begin() as conn:
            changed = await rows.change_session(conn, self._digest(token), values)
        self._forget_all()
        return fresh if changed else None

    async def close(self, token: str) -> None:
        """Sign out."""
        async with self._database.begin() as conn:
            await rows.delete_session(conn, self._digest(token))
        self._forget_all()

    async def close_one(self, user_id: str, session_id: str) -> bool:
        """End one session of a person; False if they have no such one."""
        async with self._database.begin() as conn:
            found = await rows.delete_session_by_id(conn, user_id, session_id)
        self._forget_all()
        return found

    async def close_all(self, user_id: str, *, but: str = "") -> int:
        """End all sessions of a person except the one with the id ``but``; how many."""
        async with self._database.begin() as conn:
            ended = await rows.delete_sessions_of(conn, user_id, but)
        self._forget_all()
        return ended

    async def of_user(self, user_id: str) -> list[SessionRow]:
        """Those that are still valid, the last seen first; not those of operators looking on."""
        now_us = self._clock.wall_us()
        async with self._database.read() as conn:
            found = await rows.sessions_of(conn, user_id)
        return [row for row in found if row.impersonator is None and not _is_over(row, now_us)]

    def forget(self, user_id: str) -> None:
        """The person was changed in this process: the next ``find`` shows it."""
        for digest in [key for key, (_, found) in self._cache.items() if found.user.id == user_id]:
            del self._cache[digest]
        self._ended += 1

    async def _load(self, token: str, digest: str) -> Session | None:
        ended = self._ended
        async with self._database.read() as conn:
            found = await rows.session_by_digest(conn, digest)
        self._cache.pop(digest, None)
        if found is None:
            return None
        row, user = found
        session = Session(
            id=row.id,
            user=user,
            csrf=self._csrf(token),
            created_us=row.created_us,
            seen_us=row.seen_us,
            proved_us=row.proved_us,
            impersonator=row.impersonator,
            address=row.address,
            agent=row.agent,
        )
        if not self._is_alive(session):
            return None
        session = await self._seen(session, digest)
        if ended == self._ended:
            if len(self._cache) >= CACHE_MAX:
                del self._cache[next(iter(self._cache))]
            until_us = self._clock.monotonic_us() + CACHE_S * 1_000_000
            self._cache[digest] = (until_us, session)
        return session

    async def _seen(self, session: Session, digest: str) -> Session:
        now_us = self._clock.wall_us()
        if now_us - session.seen_us < SEEN_EVERY_US:
            return session
        async with self._database.begin() as conn:
            await rows.change_session(conn, digest, {"seen_us": now_us})
        return msgspec.structs.replace(session, seen_us=now_us)

    def _is_alive(self, session: Session) -> bool:
        if session.user.disabled_at_s is not None:
            return False
        return not _is_over(session, self._clock.wall_us())

    def _forget_all(self) -> None:
        """Ends are rare; the next requests ask SQL."""
        self._cache.clear()
        self._ended += 1

    def _digest(self, token: str) -> str:
        return self._keyed(token, b"session")

    def _csrf(self, token: str) -> str:
        return self._keyed(token, b"csrf")

    def _keyed(self, token: str, purpose: bytes) -> str:
        text = token.encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._secret, digest_size=32, person=purpose).hexdigest()


def _is_over(session: Session | SessionRow, now_us: int) -> bool:
    age_us = now_us - session.created_us
    absolute_us = ABSOLUTE_US if session.impersonator is None else IMPERSONATION_US
    return age_us >= absolute_us or now_us - session.seen_us >= IDLE_US
