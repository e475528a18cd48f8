"""The first operator: a one-time link that only whoever controls the machine sees.

There is no default password. A server without an operator prints the link when it starts, and
``tokenmarket admin link`` prints another one at any time: who can run it owns the database anyway.
"""

from __future__ import annotations

from tokenmarket.accounts.links import WELCOME_S, Links
from tokenmarket.store import people as people_rows
from tokenmarket.store.database import Database


async def has_operator(database: Database) -> bool:
    """Whether anybody can sign in as operator."""
    async with database.read() as conn:
        return await people_rows.count_people(conn, operators=True) > 0


async def welcome_link(links: Links, base_url: str) -> str:
    """The address that makes whoever opens it first an operator, within a day."""
    token = await links.make("welcome", "", lifetime_s=WELCOME_S)
    return f"{base_url}/en/welcome/{token}"


def welcome_text(link: str) -> str:
    """What a start without an operator prints."""
    return (
        "\nSet up your administrator account (this link works once, within 24 hours; another one:\n"
        "tokenmarket admin link):\n"
        f"\n  {link}\n"
    )
