"""People for tests: made without the cost of a real password."""

from tokenmarket.accounts import people
from tokenmarket.accounts.passwords import Passwords
from tokenmarket.store.database import Database
from tokenmarket.store.people import User

NOW_US = 1_795_392_000_000_000  # 2026-11-23
PASSWORD = "correct horse battery"


def cheap_passwords() -> Passwords:
    return Passwords(time_cost=1, memory_kib=8)


async def make_person(
    database: Database,
    email: str = "ann@example.com",
    *,
    name: str = "Ann",
    operator: bool = False,
    password_hash: str = "none",
    now_us: int = NOW_US,
) -> User:
    async with database.begin() as conn:
        return await people.create(
            conn, email, name, password_hash, now_us=now_us, operator=operator
        )
