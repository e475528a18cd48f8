"""Sessions of people and one-time links; only keyed digests of their tokens come here."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, insert, or_, select, update

from tokenmarket.store.database import Connection
from tokenmarket.store.people import User, person_columns, user_of
from tokenmarket.store.people_tables import one_time_link, person, session


class SessionRow(msgspec.Struct, frozen=True):
    """One sign-in. ``proved_us``: when a password or code was last given."""

    id: str
    digest: str
    user_id: str
    address: str
    agent: str
    impersonator: str | None
    created_us: int
    seen_us: int
    proved_us: int


class LinkRow(msgspec.Struct, frozen=True):
    """One one-time link; ``user_id`` is '' where it stands for nobody yet."""

    digest: str
    purpose: str
    user_id: str
    created_us: int
    expires_at_s: int
    used_us: int | None


# ---------------------------------------------------------------------------------------- sessions


async def insert_session(conn: Connection, row: SessionRow) -> None:
    await conn.execute(insert(session).values(msgspec.structs.asdict(row)))


async def session_by_digest(conn: Connection, digest: str) -> tuple[SessionRow, User] | None:
    """Whatever its age; with the person."""
    columns = [column.label(f"session_{column.name}") for column in session.c]
    query = (
        select(*columns, *person_columns())
        .join(person, person.c.id == session.c.user_id)
        .where(session.c.digest == digest)
    )
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    names = SessionRow.__struct_fields__
    return SessionRow(*(row[f"session_{name}"] for name in names)), user_of(row)


async def sessions_of(conn: Connection, user_id: str) -> list[SessionRow]:
    """Those seen last first."""
    query = select(session).where(session.c.user_id == user_id).order_by(session.c.seen_us.desc())
    names = SessionRow.__struct_fields__
    rows = (await conn.execute(query)).mappings()
    return [SessionRow(*(row[name] for name in names)) for row in rows]


async def change_session(conn: Connection, digest: str, values: dict[str, object]) -> bool:
    """Whether there was such a session."""
    found = await conn.execute(update(session).where(session.c.digest == digest).values(values))
    return found.rowcount == 1


async def delete_session(conn: Connection, digest: str) -> None:
    await conn.execute(delete(session).where(session.c.digest == digest))


async def delete_session_by_id(conn: Connection, user_id: str, session_id: str) -> bool:
    """Whether this person had such a session."""
    found = await conn.execute(
        delete(session).where(session.c.user_id == user_id, session.c.id == session_id)
    )
    return found.rowcount > 0


async def delete_sessions_of(conn: Connection, user_id: str, but: str = "") -> int:
    """All of a person, those that look through their eyes included, except the session ``but``."""
    theirs = or_(session.c.user_id == user_id, session.c.impersonator == user_id)
    found = await conn.execute(delete(session).where(theirs, session.c.id != but))
    return found.rowcount


async def delete_old_sessions(conn: Connection, created_us: int, seen_us: int) -> None:
    """Those begun, or last seen, before these times."""
    old = or_(session.c.created_us < created_us, session.c.seen_us < seen_us)
    await conn.execute(delete(session).where(old))


# ------------------------------------------------------------------------------------------- links


async def insert_link(conn: Connection, row: LinkRow) -> None:
    await conn.execute(insert(one_time_link).values(msgspec.structs.asdict(row)))


async def link_by_digest(conn: Connection, digest: str) -> LinkRow | None:
    query = select(one_time_link).where(one_time_link.c.digest == digest)
    row = (await conn.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    return LinkRow(*(row[name] for name in LinkRow.__struct_fields__))


async def use_link(conn: Connection, digest: str, now_us: int) -> bool:
    """Whether this was the one use: two at once cannot both be told yes."""
    found = await conn.execute(
        update(one_time_link)
        .where(one_time_link.c.digest == digest, one_time_link.c.used_us.is_(None))
        .values(used_us=now_us)
    )
    return found.rowcount == 1


async def delete_other_links(conn: Connection, link: LinkRow) -> None:
    """All of the same person and purpose but this one."""
    await conn.execute(
        delete(one_time_link).where(
            one_time_link.c.user_id == link.user_id,
            one_time_link.c.purpose == link.purpose,
            one_time_link.c.digest != link.digest,
        )
    )


async def delete_old_links(conn: Connection, expired_before_s: int) -> None:
    await conn.execute(delete(one_time_link).where(one_time_link.c.expires_at_s < expired_before_s))
