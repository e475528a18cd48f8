"""What the operator does to organisations: suspend, limits, credit and debit."""

from __future__ import annotations

from typing import Any

import msgspec

from tokenmarket.accounts.admin import NotThere, Refused, checked_limits
from tokenmarket.core import ids
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import org_desk
from tokenmarket.store.accounts import Limits, OrgRow
from tokenmarket.store.database import Connection

REASON_CHARS_MAX = 300


async def find(conn: Connection, org_id: str) -> OrgRow:
    """Raises NotThere."""
    row = await rows.org_by_id(conn, org_id) if ids.is_id(org_id, "org") else None
    if row is None:
        raise NotThere(N_("There is no such organization."))
    return row


async def set_suspended(
    conn: Connection, org_id: str, suspended: bool, *, reason: str, now_us: int, actor: str
) -> None:
    """All its keys stop within two seconds, or work again; requests that run end as they would
    have. Raises NotThere, Refused."""
    org = await find(conn, org_id)
    reason = checked_reason(reason)
    if (org.disabled_at_s is not None) == suspended:
        return
    at_s = now_us // 1_000_000 if suspended else None
    await org_desk.change(conn, org_id, disabled_at_s=at_s)
    action = "org.suspend" if suspended else "org.restore"
    detail: dict[str, object] = {"reason": reason}
    await rows.append_audit(conn, now_us, actor, action, org_id, detail, org_id=org_id)


async def set_limits(
    conn: Connection, org_id: str, limits: Limits, *, now_us: int, actor: str
) -> None:
    """Raises NotThere, Refused."""
    org = await find(conn, org_id)
    checked_limits(limits)
    if limits == org.limits:
        return
    values: dict[str, Any] = msgspec.structs.asdict(limits)
    await org_desk.change(conn, org_id, **values)
    detail: dict[str, object] = {
        name: [getattr(org.limits, name), value]
        for name, value in values.items()
        if value != getattr(org.limits, name)
    }
    await rows.append_audit(conn, now_us, actor, "org.limits", org_id, detail, org_id=org_id)


def checked_reason(text: str) -> str:
    """One line that says why. Raises Refused."""
    reason = text.strip()
    if not reason or len(reason) > REASON_CHARS_MAX or not reason.isprintable():
        raise Refused(N_("Give a reason in one line of at most 300 characters."))
    return reason
