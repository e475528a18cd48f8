"""Groups of organisations: their markup, what they may use, who is in them."""

from __future__ import annotations

import os
import re

import msgspec

from tokenmarket.accounts.admin import NotThere, Refused, Taken, checked_name
from tokenmarket.accounts.facts import group_of_new
from tokenmarket.core import ids
from tokenmarket.core.catalog_groups import MARKUP_BP_MAX, MARKUP_BP_MIN, percent_text
from tokenmarket.core.catalog_rows import CatalogDocument
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import org_groups
from tokenmarket.store.accounts import NameTaken, OrgRow
from tokenmarket.store.database import Connection
from tokenmarket.store.org_groups import GroupRow

GROUPS_MAX = 100
ALLOWED_MAX = 2_000
_PERCENT = re.compile(r"([+-]?)([0-9]{1,6})(?:\.([0-9]{1,2}))?")


class GroupWishes(msgspec.Struct, frozen=True):
    """A group as it shall be; allowed sets are None for "all"."""

    name: str
    markup_bp: int = 0
    models: tuple[str, ...] | None = None
    providers: tuple[str, ...] | None = None


def markup_bp_from(text: str) -> int:
    """``"12.5"`` -> 1250. Raises Refused."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise Refused(N_("Write a percentage with at most two decimals, such as 12.5 or -5."))
    sign, whole, part = match.groups()
    markup_bp = int(whole) * 100 + int((part or "").ljust(2, "0"))
    return -markup_bp if sign == "-" else markup_bp


async def create(
    conn: Connection, wishes: GroupWishes, known: CatalogDocument, *, now_us: int, actor: str
) -> GroupRow:
    """``known`` is the catalog in force. Raises Refused, Taken."""
    if len(await org_groups.listed(conn)) >= GROUPS_MAX:
        raise Taken(N_("There are 100 groups; more are not kept."))
    group_id = ids.new_id("grp", now_us, os.urandom(ids.RANDOM_BYTES))
    row = _row(group_id, wishes, known, now_us, now_us)
    await _put(conn, row)
    await rows.append_audit(conn, now_us, actor, "group.create", row.id, _detail(row))
    return row


async def change(
    conn: Connection,
    group_id: str,
    wishes: GroupWishes,
    known: CatalogDocument,
    *,
    now_us: int,
    actor: str,
) -> GroupRow:
    """Raises NotThere, Refused, Taken. Running requests keep their prices."""
    before = await find(conn, group_id)
    row = _row(group_id, wishes, known, before.created_us, now_us)
    await _put(conn, row)
    detail = _detail(row) | {"before": _detail(before)}
    await rows.append_audit(conn, now_us, actor, "group.change", group_id, detail)
    return row


async def remove(conn: Connection, group_id: str, *, now_us: int, actor: str) -> None:
    """Raises NotThere, or Taken while organisations are in it."""
    row = await find(conn, group_id)
    if row.members:
        raise Taken(N_("Organizations are in this group: move them to another one first."))
    if await group_of_new(conn) == group_id:
        raise Taken(N_("New organizations start in this group: choose another one first."))
    await org_groups.remove(conn, group_id)
    await rows.append_audit(conn, now_us, actor, "group.remove", group_id, _detail(row))


async def assign(
    conn: Connection, org: OrgRow, group_id: str | None, *, now_us: int, actor: str
) -> None:
    """Puts the organisation into a group (None: everybody's prices). Raises NotThere."""
    if group_id is not None:
        await find(conn, group_id)
    if org.group_id == group_id:
        return
    await org_groups.assign(conn, org.id, group_id)
    detail: dict[str, object] = {"group": group_id, "before": org.group_id}
    await rows.append_audit(conn, now_us, actor, "org.group", org.id, detail)


async def find(conn: Connection, group_id: str) -> GroupRow:
    """Raises NotThere."""
    row = await org_groups.find(conn, group_id) if ids.is_id(group_id, "grp") else None
    if row is None:
        raise NotThere(N_("There is no such group."))
    return row


def _row(
    group_id: str, wishes: GroupWishes, known: CatalogDocument, created_us: int, now_us: int
) -> GroupRow:
    if not MARKUP_BP_MIN <= wishes.markup_bp <= MARKUP_BP_MAX:
        raise Refused(N_("A markup is above -100 and at most 100000 percent."))
    return GroupRow(
        id=group_id,
        name=checked_name(wishes.name),
        markup_bp=wishes.markup_bp,
        models=_checked(wishes.models, {row.model.id for row in known.models}),
        providers=_checked(wishes.providers, {row.provider.name for row in known.providers}),
        created_us=created_us,
        updated_us=now_us,
    )


def _checked(names: tuple[str, ...] | None, known: set[str]) -> tuple[str, ...] | None:
    if names is None:
        return None
    unique = tuple(sorted(set(names)))
    if not 0 < len(unique) <= ALLOWED_MAX:
        raise Refused(N_("Name at least one, or none to allow all."))
    if not known.issuperset(unique):
        raise Refused(N_("The catalog does not have all of these names."))
    return unique


async def _put(conn: Connection, row: GroupRow) -> None:
    try:
        await org_groups.put(conn, row)
    except NameTaken as error:
        raise Taken(N_("There is a group with this name already.")) from error


def _detail(row: GroupRow) -> dict[str, object]:
    return {
        "name": row.name,
        "markup_percent": percent_text(row.markup_bp),
        "models": row.models,
        "providers": row.providers,
    }
