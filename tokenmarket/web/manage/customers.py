"""Management endpoints of the operator about customers: groups, organizations, announcements."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts import members
from tokenmarket.accounts.admin import NotThere
from tokenmarket.backoffice import groups, orgs
from tokenmarket.backoffice.groups import GroupWishes
from tokenmarket.core.catalog_groups import percent_text
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import nano_from_usd, usd_from_nano
from tokenmarket.core.wording import said_by
from tokenmarket.store import org_desk, org_groups
from tokenmarket.store.accounts import Limits
from tokenmarket.store.database import Connection
from tokenmarket.store.org_desk import OrgLine
from tokenmarket.store.org_groups import GroupRow
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Deleted, Endpoint, Listing, page

_TAG = "customers"
_CAPS = ("spend_day", "spend_month", "spend_total")
_SUSPENDED = {"": None, "active": False, "suspended": True}
_Text = Annotated[str, msgspec.Meta(max_length=2_000)]


class GroupBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A group as it shall be. Null for models or providers allows all."""

    name: _Text
    markup_percent: str = "0"
    models: list[str] | None = None
    providers: list[str] | None = None


class GroupObject(msgspec.Struct, kw_only=True):
    """Organizations that pay every price with one markup."""

    object: Literal["group"] = "group"
    id: str
    name: str
    markup_percent: str
    models: list[str] | None
    providers: list[str] | None
    organizations: int


class CustomerLimits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an organization may use; null: no limit, 0: nothing. Spend caps are in USD, days and
    months in UTC."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    spend_day: str | None = None
    spend_month: str | None = None
    spend_total: str | None = None


class CustomerPerson(msgspec.Struct, kw_only=True):
    """A member of an organization."""

    id: str
    email: str
    role: str


class CustomerObject(msgspec.Struct, kw_only=True):
    """An organization as the operator sees it. The balance is what is posted; ``people`` are null
    in lists."""

    object: Literal["organization"] = "organization"
    id: str
    name: str
    group: str | None
    suspended_at: int | None
    limits: CustomerLimits
    balance: str
    api_keys: int
    members: int
    created_at: int
    people: list[CustomerPerson] | None = None


class CustomerChanges(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall be different; what is left out stays, ``limits`` are given all together.
    Suspending needs a reason."""

    group: str | msgspec.UnsetType | None = msgspec.UNSET
    suspended: bool | msgspec.UnsetType = msgspec.UNSET
    limits: CustomerLimits | msgspec.UnsetType = msgspec.UNSET
    reason: _Text = ""


async def list_groups(call: Call) -> Listing[GroupObject]:
    async with call.parts.database.read() as conn:
        rows = await org_groups.listed(conn)
    found = [_group(row) for row in rows if row.name > call.cursor][: call.limit + 1]
    return page(found, call.limit, lambda one: one.name)


async def create_group(call: Call) -> GroupObject:
    async with call.parts.database.begin() as conn:
        row = await groups.create(
            conn,
            _wishes(call.body),
            call.parts.catalog.document,
            now_us=call.now_us,
            actor=call.actor,
        )
    return _group(row)


async def show_group(call: Call) -> GroupObject:
    async with call.parts.database.read() as conn:
        return _group(await groups.find(conn, call.params["group"]))


async def change_group(call: Call) -> GroupObject:
    group_id = call.params["group"]
    async with call.parts.database.begin() as conn:
        await groups.change(
            conn,
            group_id,
            _wishes(call.body),
            call.parts.catalog.document,
            now_us=call.now_us,
            actor=call.actor,
        )
        return _group(await groups.find(conn, group_id))


async def remove_group(call: Call) -> Deleted:
    group_id = call.params["group"]
    async with call.parts.database.begin() as conn:
        await groups.remove(conn, group_id, now_us=call.now_us, actor=call.actor)
    return Deleted(id=group_id)


async def list_customers(call: Call) -> Listing[CustomerObject]:
    query = call.query
    state, group = query.get("state", ""), query.get("group")
    if state not in _SUSPENDED:
        raise ApiError("REQUEST_001", "state is active or suspended.", param="state")
    async with call.parts.database.read() as conn:
        lines = await org_desk.search(
            conn,
            text=query.get("search", ""),
            group_id="" if group == "none" else group,
            suspended=_SUSPENDED[state],
            after_id=call.cursor,
            limit=call.limit + 1,
        )
    return page([_customer(line) for line in lines], call.limit, lambda one: one.id)


async def show_customer(call: Call) -> CustomerObject:
    async with call.parts.database.read() as conn:
        org = await orgs.find(conn, call.params["organization"])
        found = await _found(conn, org.id)
    everybody = await members.of_org(call.parts.database, found.id)
    people = [
        CustomerPerson(id=one.user.id, email=one.user.email, role=one.role) for one in everybody
    ]
    return msgspec.structs.replace(found, people=people)


async def change_customer(call: Call) -> CustomerObject:
    body: CustomerChanges = call.body
    org_id, now_us, actor = call.params["organization"], call.now_us, call.actor
    async with call.parts.database.begin() as conn:
        org = await orgs.find(conn, org_id)
        if body.group is not msgspec.UNSET:
            await groups.assign(conn, org, body.group, now_us=now_us, actor=actor)
        if body.suspended is not msgspec.UNSET:
            await orgs.set_suspended(
                conn, org_id, body.suspended, reason=body.reason, now_us=now_us, actor=actor
            )
        if body.limits is not msgspec.UNSET:
            limits = _limits(body.limits)
            await orgs.set_limits(conn, org_id, limits, now_us=now_us, actor=actor)
        return await _found(conn, org_id)


async def _found(conn: Connection, org_id: str) -> CustomerObject:
    """Raises NotThere."""
    line = await org_desk.find(conn, org_id)
    if line is None:
        raise NotThere("There is no such organization.")
    return _customer(line)


def _wishes(body: GroupBody) -> GroupWishes:
    return GroupWishes(
        body.name,
        groups.markup_bp_from(body.markup_percent),
        None if body.models is None else tuple(body.models),
        None if body.providers is None else tuple(body.providers),
    )


def _group(row: GroupRow) -> GroupObject:
    return GroupObject(
        id=row.id,
        name=row.name,
        markup_percent=percent_text(row.markup_bp),
        models=None if row.models is None else list(row.models),
        providers=None if row.providers is None else list(row.providers),
        organizations=row.members,
    )


def _customer(line: OrgLine) -> CustomerObject:
    org = line.org
    limits = org.limits
    caps = {name: getattr(limits, f"{name}_nano") for name in _CAPS}
    return CustomerObject(
        id=org.id,
        name=org.name,
        group=org.group_id,
        suspended_at=org.disabled_at_s,
        limits=CustomerLimits(
            rpm=limits.rpm,
            tpm=limits.tpm,
            concurrency=limits.concurrency,
            **{name: None if nano is None else usd_from_nano(nano) for name, nano in caps.items()},
        ),
        balance=usd_from_nano(line.balance_nano),
        api_keys=line.keys,
        members=line.members,
        created_at=org.created_us // 1_000_000,
    )


def _limits(wanted: CustomerLimits) -> Limits:
    """Raises ApiError; what is too large is refused where it is written."""
    caps: dict[str, int | None] = {}
    for name in _CAPS:
        text = getattr(wanted, name)
        try:
            caps[f"{name}_nano"] = None if text is None else nano_from_usd(text)
        except ValueError as error:
            raise ApiError("REQUEST_001", said_by(error), param=f"limits.{name}") from error
    return Limits(rpm=wanted.rpm, tpm=wanted.tpm, concurrency=wanted.concurrency, **caps)


ENDPOINTS = [
    Endpoint(
        "GET",
        "/admin/groups",
        OPERATOR,
        list_groups,
        None,
        Listing[GroupObject],
        "All groups, by name.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/admin/groups",
        OPERATOR,
        create_group,
        GroupBody,
        GroupObject,
        "Makes a group.",
        _TAG,
    ),
    Endpoint(
        "GET", "/admin/groups/{group}", OPERATOR, show_group, None, GroupObject, "One group.", _TAG
    ),
    Endpoint(
        "PUT",
        "/admin/groups/{group}",
        OPERATOR,
        change_group,
        GroupBody,
        GroupObject,
        "Changes a group; running requests keep their prices.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/admin/groups/{group}",
        OPERATOR,
        remove_group,
        None,
        Deleted,
        "Removes a group that no organization is in.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/admin/organizations",
        OPERATOR,
        list_customers,
        None,
        Listing[CustomerObject],
        "All organizations, oldest first.",
        _TAG,
        query=(
            ("search", "Part of the name, an id, or a member's e-mail address."),
            ("state", "active or suspended."),
            ("group", "Only of this group, by its id; none: of no group."),
        ),
    ),
    Endpoint(
        "GET",
        "/admin/organizations/{organization}",
        OPERATOR,
        show_customer,
        None,
        CustomerObject,
        "One organization.",
        _TAG,
    ),
    Endpoint(
        "PATCH",
        "/admin/organizations/{organization}",
        OPERATOR,
        change_customer,
        CustomerChanges,
        CustomerObject,
        "Changes an organization's group or limits, suspends it or lets it work again.",
        _TAG,
    ),
]
