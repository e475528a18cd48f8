"""Management endpoints for the organization itself: its settings and its audit log."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from tokenmarket.accounts import org_settings
from tokenmarket.accounts.admin import NAME_CHARS_MAX, NotThere
from tokenmarket.core.errors import ApiError
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import OrgRow
from tokenmarket.store.audit import AuditRow, audit_lines
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Endpoint, Listing, page


class Organization(msgspec.Struct, kw_only=True):
    """The organization of the key. ``time_zone``: days and months of reports and invoices."""

    object: Literal["organization"] = "organization"
    id: str
    name: str
    kind: str
    time_zone: str
    created_at: int
    disabled_at: int | None


class OrganizationChanges(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall change; members that are left out stay as they are."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)] | None = None
    time_zone: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class AuditEvent(msgspec.Struct, kw_only=True):
    """One line of the audit log. ``id`` ascends without gaps over the whole installation."""

    object: Literal["audit_event"] = "audit_event"
    id: int
    at: int
    actor: str
    action: str
    subject: str
    organization: str | None
    detail: dict[str, Any]


async def show(call: Call) -> Organization:
    return _organization(await own_org(call))


async def change(call: Call) -> Organization:
    changes: OrganizationChanges = call.body
    old = await own_org(call)
    new = await org_settings.change(
        call.parts.database,
        call.org_id,
        name=old.name if changes.name is None else changes.name,
        time_zone=old.time_zone if changes.time_zone is None else changes.time_zone,
        now_us=call.now_us,
        actor=call.actor,
    )
    return _organization(new)


async def audit(call: Call) -> Listing[AuditEvent]:
    return await _audit(call, call.org_id)


async def whole_audit(call: Call) -> Listing[AuditEvent]:
    return await _audit(call, call.query.get("organization_id") or None)


async def _audit(call: Call, org_id: str | None) -> Listing[AuditEvent]:
    cursor = call.cursor
    if cursor and re.fullmatch("[0-9]{1,15}", cursor, re.ASCII) is None:
        raise ApiError("REQUEST_001", "This is no cursor of ours.", param="cursor")
    async with call.parts.database.read() as conn:
        found = await audit_lines(
            conn,
            org_id=org_id,
            actor=call.query.get("actor", ""),
            action=call.query.get("action", ""),
            subject=call.query.get("subject", ""),
            before_seq=int(cursor) if cursor else None,
            limit=call.limit + 1,
        )
    shown = page(found, call.limit, lambda row: str(row.seq))
    return Listing(data=[_event(row) for row in shown.data], next_cursor=shown.next_cursor)


async def own_org(call: Call) -> OrgRow:
    """The organization of the key."""
    async with call.parts.database.read() as conn:
        org = await rows.org_by_id(conn, call.org_id)
    if org is None:
        raise NotThere("There is no such organization.")
    return org


def zone_of(org: OrgRow) -> ZoneInfo:
    """Of its days and months; UTC if this machine does not know it."""
    try:
        return ZoneInfo(org.time_zone)
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def _organization(org: OrgRow) -> Organization:
    return Organization(
        id=org.id,
        name=org.name,
        kind=org.kind,
        time_zone=org.time_zone,
        created_at=org.created_us // 1_000_000,
        disabled_at=org.disabled_at_s,
    )


def _event(row: AuditRow) -> AuditEvent:
    return AuditEvent(
        id=row.seq,
        at=row.at_us // 1_000_000,
        actor=row.actor,
        action=row.action,
        subject=row.object,
        organization=row.org_id,
        detail=msgspec.json.decode(row.detail, type=dict[str, Any]),
    )


_TAG = "Organization"
_QUERY = (
    ("actor", "Only what this actor did, as in user:usr_…"),
    ("action", "Only this action (key.create) or group of actions (key)."),
    ("subject", "Only what was done to this, by its id or name."),
)
ENDPOINTS = [
    Endpoint(
        "GET", "/organization", "view", show, None, Organization, "The key's organization.", _TAG
    ),
    Endpoint(
        "PATCH",
        "/organization",
        "settings",
        change,
        OrganizationChanges,
        Organization,
        "Change its name or billing time zone.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/audit",
        "audit",
        audit,
        None,
        Listing[AuditEvent],
        "The organization's audit log, newest first.",
        _TAG,
        query=_QUERY,
    ),
    Endpoint(
        "GET",
        "/admin/audit",
        OPERATOR,
        whole_audit,
        None,
        Listing[AuditEvent],
        "The audit log of the whole installation, newest first.",
        _TAG,
        query=(*_QUERY, ("organization_id", "Of this organization only.")),
    ),
]
