"""Groups of organisations: rows in, rows out."""

from __future__ import annotations

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tokenmarket.core.catalog_groups import Group
from tokenmarket.store.accounts import NameTaken, bump_generation
from tokenmarket.store.backoffice_tables import org_group
from tokenmarket.store.database import Connection
from tokenmarket.store.tables import organization

_names = msgspec.json.Decoder(tuple[str, ...])


class GroupRow(msgspec.Struct, frozen=True):
    """One group; allowed sets are None for "all". ``members`` counts its organisations."""

    id: str
    name: str
    markup_bp: int
    models: tuple[str, ...] | None
    providers: tuple[str, ...] | None
    created_us: int
    updated_us: int
    members: int = 0

    def group(self) -> Group:
        """As the catalog takes it."""
        return Group(self.id, self.name, self.markup_bp, _set(self.models), _set(self.providers))


async def listed(conn: Connection) -> list[GroupRow]:
    """All, by name."""
    members = (
        select(organization.c.group_id, func.count().label("members"))
        .group_by(organization.c.group_id)
        .subquery()
    )
    query = (
        select(org_group, func.coalesce(members.c.members, 0).label("members"))
        .join(members, members.c.group_id == org_group.c.id, isouter=True)
        .order_by(org_group.c.name)
    )
    return [
        GroupRow(
            id=row.id,
            name=row.name,
            markup_bp=row.markup_bp,
            models=None if row.models is None else _names.decode(row.models),
            providers=None if row.providers is None else _names.decode(row.providers),
            created_us=row.created_us,
            updated_us=row.updated_us,
            members=row.members,
        )
        for row in await conn.execute(query)
    ]


async def find(conn: Connection, group_id: str) -> GroupRow | None:
    """One group; None if there is none."""
    return next((row for row in await listed(conn) if row.id == group_id), None)


async def put(conn: Connection, row: GroupRow) -> None:
    """Insert, or change what it says. Raises NameTaken."""
    values = {
        "name": row.name,
        "markup_bp": row.markup_bp,
        "models": _text(row.models),
        "providers": _text(row.providers),
        "updated_us": row.updated_us,
    }
    try:
        changed = await conn.execute(
            update(org_group).where(org_group.c.id == row.id).values(values)
        )
        if changed.rowcount == 0:
            await conn.execute(
                insert(org_group).values(id=row.id, created_us=row.created_us, **values)
            )
    except IntegrityError as error:
        raise NameTaken(row.name) from error
    await bump_generation(conn)


async def remove(conn: Connection, group_id: str) -> None:
    """Only what nobody is in: the caller has looked."""
    await conn.execute(delete(org_group).where(org_group.c.id == group_id))
    await bump_generation(conn)


async def assign(conn: Connection, org_id: str, group_id: str | None) -> None:
    """The organisation's group from now on; None: everybody's prices."""
    here = update(organization).where(organization.c.id == org_id)
    await conn.execute(here.values(group_id=group_id))
    await bump_generation(conn)


def _set(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _text(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else msgspec.json.encode(names).decode()
