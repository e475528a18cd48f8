"""People of a running server for the browser tests: one of each role, signed in without typing.

They are made in the server's own database by the functions that the pages use; only the slow part
of signing in (argon2) is left out, because tests of the sign-in pages do that themselves.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tokenmarket.accounts import admin, people, teams
from tokenmarket.accounts import members as inviting
from tokenmarket.accounts.links import Links, Purpose
from tokenmarket.accounts.passwords import Passwords
from tokenmarket.accounts.sessions import Sessions
from tokenmarket.accounts.sign_up_links import SignUpLinks
from tokenmarket.backoffice import facts
from tokenmarket.billing.clock import SystemClock
from tokenmarket.core import sealing
from tokenmarket.core.sealing import Root
from tokenmarket.store import members
from tokenmarket.store.database import Database

ROLES = ("owner", "admin", "billing", "developer", "viewer")
PASSWORD = "correct horse battery"
T = TypeVar("T")


@dataclass(frozen=True)
class Person:
    """Somebody with a session; ``token`` is the session cookie's value."""

    user_id: str
    email: str
    token: str


def root_of(data: Path) -> Root:
    """The root secret of a data directory."""
    return Root(bytes.fromhex((data / "secret.key").read_text().strip()))


def populate(data: Path) -> dict[str, Person]:
    """One person per role in the organisation ``demo``, an operator, and a stranger who is owner of
    another organisation."""
    return with_database(data, lambda database: _populate(database, root_of(data)))


def with_database(data: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    """``work`` on the server's own database, in a thread: Playwright has a loop in this one."""

    async def run() -> T:
        database = await Database.open(data / "tokenmarket.db", beside=True)
        try:
            return await work(database)
        finally:
            await database.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


def set_exchange_rate(data: Path, cny: str, day: str) -> None:
    """As an operator does on the settings page."""

    async def write(database: Database) -> None:
        async with database.begin() as conn:
            await facts.set_exchange_rate(conn, cny, day, now_us=1, actor="test")

    with_database(data, write)


def user_id(data: Path, email: str) -> str:
    """Of somebody who has an account."""
    user = with_database(data, lambda database: people.find_by_email(database, email))
    assert user is not None
    return user.id


def session(data: Path, user_id: str, impersonator: str | None = None) -> str:
    """The token of a new session, whose password was given just now; ``impersonator``: the operator
    who looks through this person's eyes."""
    secret = root_of(data).derive(sealing.SESSIONS)

    async def make(database: Database) -> str:
        sessions = Sessions(database, SystemClock(), secret)
        return await sessions.open(
            user_id, address="127.0.0.1", agent="test", impersonator=impersonator
        )

    return with_database(data, make)


def one_time(data: Path, purpose: Purpose, user_id: str) -> str:
    """The token of a new one-time link."""
    secret = root_of(data).derive(sealing.LINKS)

    async def make(database: Database) -> str:
        links = Links(database, SystemClock(), secret)
        return await links.make(purpose, user_id, lifetime_s=3_600)

    return with_database(data, make)


def sign_up_link(data: Path, email: str) -> str:
    """The token of the letter that leads to a new account."""
    return SignUpLinks(SystemClock(), root_of(data).derive(sealing.SIGN_UP_LINKS)).make(email)


def invitation(data: Path, org_id: str, email: str, role: str) -> str:
    """The token of a new invitation by an owner."""
    clock, secret = SystemClock(), root_of(data).derive(sealing.LINKS)

    async def make(database: Database) -> str:
        token, _ = await inviting.invite(
            database,
            Links(database, clock, secret),
            org_id,
            email=email,
            role=role,
            by=inviting.By("test", "owner"),
            now_us=clock.wall_us(),
        )
        return token

    return with_database(data, make)


def team(data: Path, org_id: str, name: str) -> str:
    """The id of a team of this name, made if there is none."""

    async def make(database: Database) -> str:
        for view in await teams.of_org(database, org_id):
            if view.row.name == name:
                return view.row.id
        now_us = SystemClock().wall_us()
        wishes = teams.TeamWishes(name)
        made = await teams.create(database, org_id, wishes, now_us=now_us, by="test")
        return made.id

    return with_database(data, make)


async def _populate(database: Database, root: Root) -> dict[str, Person]:
    clock = SystemClock()
    now_us = clock.wall_us()
    sessions = Sessions(database, clock, root.derive(sealing.SESSIONS))
    passwords = Passwords()
    found: dict[str, Person] = {}
    try:
        secret = await passwords.hash(PASSWORD)
        async with database.begin() as conn:
            org = await admin.find_org(conn, "demo")
            other = await admin.create_org(conn, "other", now_us=now_us, actor="test")
        for role in (*ROLES, "operator", "stranger"):
            async with database.begin() as conn:
                user = await people.create(
                    conn,
                    f"{role}@example.test",
                    role.capitalize(),
                    secret,
                    now_us=now_us,
                    operator=role == "operator",
                    verified=True,
                )
                if role in ROLES:
                    await members.insert_membership(conn, org.id, user.id, role, now_us)
                elif role == "stranger":
                    await members.insert_membership(conn, other.id, user.id, "owner", now_us)
            token = await sessions.open(user.id, address="127.0.0.1", agent="test")
            found[role] = Person(user.id, user.email, token)
    finally:
        passwords.close()
    return found
