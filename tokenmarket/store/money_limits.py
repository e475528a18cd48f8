"""The spend limits of organisations, teams and keys, as the wallet asks for them."""

from __future__ import annotations

from sqlalchemy import Table, select

from tokenmarket.store.database import Database
from tokenmarket.store.people_tables import team
from tokenmarket.store.tables import api_key, organization

PERIODS = ("total", "month", "day")


async def spend_limits(
    database: Database, org_id: str, key_id: str
) -> list[tuple[str, str, str, int]]:
    """(owner kind, owner id, period, limit in nano-USD) of everything that bounds this key."""
    found: list[tuple[str, str, str, int]] = []
    owners: list[tuple[str, str, Table]] = [
        ("organization", org_id, organization),
        ("key", key_id, api_key),
    ]
    async with database.read() as conn:
        team_query = select(api_key.c.team_id).where(api_key.c.id == key_id)
        team_id = (await conn.execute(team_query)).scalar()
        if team_id is not None:
            owners.insert(1, ("team", team_id, team))
        for kind, owner, table in owners:
            columns = [table.c[f"spend_{period}_nano"] for period in PERIODS]
            query = select(*columns).where(table.c.id == owner)
            row = (await conn.execute(query)).one_or_none()
            for period, limit in zip(PERIODS, row or (), strict=False):
                if limit is not None:
                    found.append((kind, owner, period, limit))
    return found
