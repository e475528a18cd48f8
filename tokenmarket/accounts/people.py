"""The accounts of people: made, found, changed. A person signs in; an API key calls.

``sign_in`` is in ``accounts/signing_in.py``; here is what can be done without a password. An
e-mail address is compared, and stored, in lower case; its shape is checked only as far as mail
needs it. Sentences of Refused and Taken are constant, so that pages can translate them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from zoneinfo import ZoneInfo, available_timezones

from tokenmarket.accounts.admin import NotThere, Refused, Taken, checked_name
from tokenmarket.core import ids
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import people as people_rows
from tokenmarket.store.accounts import NameTaken
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.people import User

__all__ = ["User"]

EMAIL_CHARS_MAX = 254
LANGUAGES = ("en", "zh")
THEMES = ("auto", "light", "dark")
CURRENCIES = ("USD", "CNY")

_EMAIL = re.compile(r"[^\s@\"(),:;<>\[\]\\]{1,64}@[\w-]+(?:\.[\w-]+)*")


def actor(user_id: str) -> str:
    """How a person is named in the audit trail."""
    return f"user:{user_id}"


async def create(
    conn: Connection,
    email: str,
    name: str,
    password_hash: str,
    *,
    now_us: int,
    operator: bool = False,
    language: str = "en",
    verified: bool = False,
    by: str = "",
) -> User:
    """A new account; ``by`` is the actor, the person itself if empty. Raises Refused, Taken."""
    user = User(
        id=ids.new_id("usr", now_us, os.urandom(ids.RANDOM_BYTES)),
        email=checked_email(email),
        name=checked_person_name(name),
        operator=operator,
        has_totp=False,
        language=language if language in LANGUAGES else "en",
        theme="auto",
        currency="USD",
        time_zone="UTC",
        created_us=now_us,
        disabled_at_s=None,
        email_verified_us=now_us if verified else None,
    )
    try:
        await people_rows.insert_person(conn, user, password_hash)
    except NameTaken as error:
        raise Taken(N_("There is an account with this e-mail address already.")) from error
    detail: dict[str, object] = {"operator": operator}
    await rows.append_audit(conn, now_us, by or actor(user.id), "user.create", user.id, detail)
    return user


async def find(database: Database, user_id: str) -> User:
    """Raises NotThere."""
    async with database.read() as conn:
        found = await people_rows.person_by_id(conn, user_id)
    if found is None:
        raise NotThere(N_("There is no such account."))
    return found[0]


async def find_by_email(database: Database, email: str) -> User | None:
    async with database.read() as conn:
        found = await people_rows.person_by_email(conn, comparable(email))
    return None if found is None else found[0]


async def set_profile(database: Database, user: User, *, name: str, now_us: int) -> None:
    """Raises Refused."""
    await _change(database, user, "user.rename", now_us, name=checked_person_name(name))


async def set_preferences(
    database: Database,
    user: User,
    *,
    language: str,
    theme: str,
    currency: str,
    time_zone: str,
    now_us: int,
) -> None:
    """What the person's own pages look like. Raises Refused."""
    if language not in LANGUAGES or theme not in THEMES or currency not in CURRENCIES:
        raise Refused(N_("Choose one of the values offered."))
    await _change(
        database,
        user,
        "user.preferences",
        now_us,
        language=language,
        theme=theme,
        currency=currency,
        time_zone=checked_time_zone(time_zone),
    )


async def set_disabled(
    database: Database, user_id: str, disabled: bool, *, now_us: int, by: str
) -> None:
    """An operator suspends an account, or lets it in again. Raises NotThere; Taken for the last
    operator. Whoever calls also closes the sessions."""
    async with database.begin() as conn:
        found = await people_rows.person_by_id(conn, user_id)
        if found is None:
            raise NotThere(N_("There is no such account."))
        user = found[0]
        last = user.operator and await people_rows.count_people(conn, operators=True) == 1
        if disabled and last and user.disabled_at_s is None:
            raise Taken(N_("The last operator cannot be suspended."))
        at_s = now_us // 1_000_000 if disabled else None
        await people_rows.change_person(conn, user_id, disabled_at_s=at_s)
        action = "user.suspend" if disabled else "user.restore"
        await rows.append_audit(conn, now_us, by, action, user_id, {})


async def set_operator(
    database: Database, user_id: str, operator: bool, *, now_us: int, by: str
) -> None:
    """Raises NotThere; Taken for the last operator."""
    async with database.begin() as conn:
        found = await people_rows.person_by_id(conn, user_id)
        if found is None:
            raise NotThere(N_("There is no such account."))
        last = await people_rows.count_people(conn, operators=True) == 1
        if found[0].operator and not operator and last and found[0].disabled_at_s is None:
            raise Taken(N_("The last operator stays an operator."))
        await people_rows.change_person(conn, user_id, operator=int(operator))
        detail: dict[str, object] = {"operator": operator}
        await rows.append_audit(conn, now_us, by, "user.operator", user_id, detail)


def comparable(email: str) -> str:
    """The form in which two addresses are the same."""
    return unicodedata.normalize("NFKC", email).strip().lower()


def checked_email(email: str) -> str:
    """Raises Refused."""
    address = comparable(email)
    fits = len(address) <= EMAIL_CHARS_MAX and address.isprintable()
    if not fits or _EMAIL.fullmatch(address) is None:
        raise Refused(N_("This is not an e-mail address."))
    return address


def checked_person_name(name: str) -> str:
    """Raises Refused."""
    try:
        return checked_name(name.strip())
    except Refused as error:
        raise Refused(N_("A name is one line of 1 to 100 printable characters.")) from error


def checked_time_zone(name: str) -> str:
    """An IANA name; raises Refused."""
    if name not in available_timezones():
        raise Refused(N_("Choose one of the time zones offered."))
    return ZoneInfo(name).key


async def _change(
    database: Database, user: User, action: str, now_us: int, **values: object
) -> None:
    async with database.begin() as conn:
        await people_rows.change_person(conn, user.id, **values)
        await rows.append_audit(conn, now_us, actor(user.id), action, user.id, dict(values))
