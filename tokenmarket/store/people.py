"""People: rows in, rows out. What is checked before stands in ``accounts/people.py``.

Every read carries whether the person has a second factor, because everybody who asks for a person
asks for that next.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import IntegrityError

from tokenmarket.store.accounts import NameTaken
from tokenmarket.store.database import Connection
from tokenmarket.store.people_tables import person, totp

_NOT_SHOWN = ("password_hash",)


class User(msgspec.Struct, frozen=True):
    """A person who can sign in; ``operator`` runs this installation.

    ``theme``: auto | light | dark. ``currency`` is what amounts are also shown in. ``time_zone`` is
    an IANA name.
    """

    id: str
    email: str
    name: str
    operator: bool
    has_totp: bool
    language: str
    theme: str
    currency: str
    time_zone: str
    created_us: int
    disabled_at_s: int | None
    email_verified_us: int | None


async def insert_person(conn: Connection, user: User, password_hash: str) -> None:
    """Raises NameTaken."""
    values: dict[str, object] = msgspec.structs.asdict(user)
    del values["has_totp"]
    values.update(operator=int(user.operator), password_hash=password_hash)
    try:
        await conn.execute(insert(person).values(values))
    except IntegrityError as error:
        raise NameTaken(user.email) from error


async def person_by_email(conn: Connection, email: str) -> tuple[User, str] | None:
    """The person and the hash of the password."""
    return await _one(conn, person.c.email == email)


async def person_by_id(conn: Connection, user_id: str) -> tuple[User, str] | None:
    """The person and the hash of the password."""
    return await _one(conn, person.c.id == user_id)


async def people_by_ids(conn: Connection, user_ids: list[str]) -> dict[str, User]:
    """Those that exist; at most 500 ids per call."""
    rows = await conn.execute(_people().where(person.c.id.in_(user_ids)))
    return {row["id"]: user_of(row) for row in rows.mappings()}


async def people(
    conn: Connection, *, prefix: str = "", after: str = "", limit: int = 50
) -> list[User]:
    """By e-mail, whose address begins with ``prefix``, behind the address ``after``."""
    query = _people().where(person.c.email > after).order_by(person.c.email).limit(limit)
    if prefix:
        query = query.where(person.c.email.startswith(prefix, autoescape=True))
    return [user_of(row) for row in (await conn.execute(query)).mappings()]


async def count_people(conn: Connection, *, operators: bool = False) -> int:
    """All accounts, or those of operators who are not disabled."""
    query = select(func.count()).select_from(person)
    if operators:
        query = query.where(person.c.operator == 1, person.c.disabled_at_s.is_(None))
    return (await conn.execute(query)).scalar_one()


async def change_person(conn: Connection, user_id: str, **values: object) -> None:
    """Set columns; NameTaken for an e-mail that somebody else has."""
    try:
        await conn.execute(update(person).where(person.c.id == user_id).values(values))
    except IntegrityError as error:
        raise NameTaken(str(values.get("email", ""))) from error


def person_columns() -> list[ColumnElement[Any]]:
    """What ``user_of`` needs of a row, for queries that join people to something."""
    shown: list[ColumnElement[Any]] = [
        column for column in person.c if column.name not in _NOT_SHOWN
    ]
    confirmed = select(totp.c.user_id).where(
        totp.c.user_id == person.c.id, totp.c.confirmed_us.is_not(None)
    )
    return [*shown, confirmed.exists().label("has_totp")]


def user_of(row: RowMapping) -> User:
    fields = {name: row[name] for name in User.__struct_fields__}
    fields.update(operator=bool(row["operator"]), has_totp=bool(row["has_totp"]))
    return msgspec.convert(fields, User)


def _people():
    return select(*person_columns())


async def _one(conn: Connection, condition: ColumnElement[bool]) -> tuple[User, str] | None:
    query = select(*person_columns(), person.c.password_hash).where(condition)
    row = (await conn.execute(query)).mappings().one_or_none()
    return None if row is None else (user_of(row), row["password_hash"])
