"""What the operator does to people: suspend, let in again, make an operator or not any more."""

from __future__ import annotations

from tokenmarket.accounts import people
from tokenmarket.accounts.admin import NotThere
from tokenmarket.accounts.sessions import Sessions
from tokenmarket.core import ids
from tokenmarket.core.texts import N_
from tokenmarket.store.database import Database
from tokenmarket.store.people import User


async def find(database: Database, user_id: str) -> User:
    """Raises NotThere."""
    if not ids.is_id(user_id, "usr"):
        raise NotThere(N_("There is no such account."))
    return await people.find(database, user_id)


async def set_suspended(
    database: Database, sessions: Sessions, user_id: str, suspended: bool, *, now_us: int, by: str
) -> None:
    """All sessions of a suspended person end. Raises NotThere; Taken for the last operator."""
    user = await find(database, user_id)
    if (user.disabled_at_s is not None) == suspended:
        return
    await people.set_disabled(database, user_id, suspended, now_us=now_us, by=by)
    if suspended:
        await sessions.close_all(user_id)


async def set_operator(
    database: Database, sessions: Sessions, user_id: str, operator: bool, *, now_us: int, by: str
) -> None:
    """The person signs in again with the new rights. Raises NotThere; Taken for the last one."""
    user = await find(database, user_id)
    if user.operator == operator:
        return
    await people.set_operator(database, user_id, operator, now_us=now_us, by=by)
    await sessions.close_all(user_id)
