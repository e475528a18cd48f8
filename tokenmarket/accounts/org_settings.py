"""What an organisation's owners and admins set about it: its name and its billing time zone."""

from __future__ import annotations

import msgspec

from tokenmarket.accounts.admin import NotThere, Taken
from tokenmarket.accounts.people import checked_person_name, checked_time_zone
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import org_desk
from tokenmarket.store.accounts import OrgRow
from tokenmarket.store.database import Database


async def change(
    database: Database, org_id: str, *, name: str, time_zone: str, now_us: int, actor: str
) -> OrgRow:
    """Raises NotThere, Refused, or Taken for a name in use."""
    name, time_zone = checked_person_name(name), checked_time_zone(time_zone)
    async with database.begin() as conn:
        old = await rows.org_by_id(conn, org_id)
        if old is None:
            raise NotThere(N_("There is no such organization."))
        same_name = await rows.org_by_name(conn, name)
        if same_name is not None and same_name.id != org_id:
            raise Taken(N_("There is an organization with this name already."))
        new = msgspec.structs.replace(old, name=name, time_zone=time_zone)
        if new == old:
            return old
        await org_desk.change(conn, org_id, name=name, time_zone=time_zone)
        changed: dict[str, object] = {
            field: [getattr(old, field), getattr(new, field)]
            for field in ("name", "time_zone")
            if getattr(old, field) != getattr(new, field)
        }
        await rows.append_audit(conn, now_us, actor, "org.settings", org_id, changed, org_id=org_id)
    return new
