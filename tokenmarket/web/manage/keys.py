"""Management endpoints for an organization's API keys: list, make, show, change, roll, disable.

The same domain functions as the pages of keys. A key's text is in the answer that made it and
nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts import admin, org_keys
from tokenmarket.accounts.admin import KeyWishes, NewKey
from tokenmarket.accounts.org_keys import Known, WrongEntry
from tokenmarket.core import sealing
from tokenmarket.core.keys import hint
from tokenmarket.core.money import nano_from_usd, usd_from_nano
from tokenmarket.core.wording import said_by
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import KeyRow, Limits
from tokenmarket.web.manage.endpoint import Call, Endpoint, Listing, page

Whole = Annotated[int, msgspec.Meta(ge=0, le=admin.RATE_MAX)]
Names = Annotated[list[str], msgspec.Meta(min_length=1, max_length=admin.ALLOWED_MAX)]
_SPEND = ("spend_day", "spend_month", "spend_total")
_LISTS = ("models", "providers", "operations", "addresses")


class KeyLimits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a key may use; null: no limit. Spend caps are in USD, days and months in UTC."""

    rpm: Whole | None = None
    tpm: Whole | None = None
    concurrency: Whole | None = None
    spend_day: str | None = None
    spend_month: str | None = None
    spend_total: str | None = None


class KeyAllowed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a key may call and from where; null: everything."""

    models: Names | None = None
    providers: Names | None = None
    operations: Names | None = None
    addresses: Names | None = None


class KeySpent(msgspec.Struct, kw_only=True):
    """What one key was charged today, this month (both in UTC) and ever, in USD."""

    day: str
    month: str
    total: str


class ApiKey(msgspec.Struct, kw_only=True):
    """An API key, without the key itself. ``kind`` is api, or playground: the one that the
    playground of ``created_by`` uses. ``spent_month`` is this month's charges in UTC; ``spent`` is
    null in lists."""

    object: Literal["key"] = "key"
    id: str
    name: str
    hint: str
    kind: str
    status: str
    team_id: str | None
    created_by: str | None
    created_at: int
    expires_at: int | None
    disabled_at: int | None
    last_used_at: int | None
    rotates: str | None
    spent_month: str
    limits: KeyLimits
    allowed: KeyAllowed
    spent: KeySpent | None = None


class NewApiKey(ApiKey, kw_only=True):
    """An API key that was just made; ``key`` is shown this once."""

    key: str


class ApiKeyWishes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a new API key shall be."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=admin.NAME_CHARS_MAX)]
    limits: KeyLimits = msgspec.field(default_factory=KeyLimits)
    allowed: KeyAllowed = msgspec.field(default_factory=KeyAllowed)
    expires_at: int | None = None
    team_id: str | None = None


class ApiKeyChanges(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall change of an API key; members that are left out stay as they are."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    limits: KeyLimits | msgspec.UnsetType = msgspec.UNSET
    allowed: KeyAllowed | msgspec.UnsetType = msgspec.UNSET
    expires_at: int | msgspec.UnsetType | None = msgspec.UNSET


class RollWishes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How long the old key goes on, in seconds."""

    overlap_s: Annotated[int, msgspec.Meta(ge=0, le=org_keys.OVERLAP_S_MAX)] = 0


async def listing(call: Call) -> Listing[ApiKey]:
    async with call.parts.database.read() as conn:
        found = await rows.keys_of(conn, call.org_id)
        spent = await org_keys.spent_this_month(conn, call.org_id, call.now_us)
    later = [row for row in reversed(found) if not call.cursor or row.id < call.cursor]
    shown = [_document(row, spent.get(row.id, 0), call) for row in later[: call.limit + 1]]
    return page(shown, call.limit, lambda item: item.id)


async def create(call: Call) -> NewApiKey:
    wishes: ApiKeyWishes = call.body
    wanted = KeyWishes(
        name=wishes.name,
        limits=_limits(wishes.limits),
        expires_at_s=wishes.expires_at,
        team_id=wishes.team_id,
        **_allowed(wishes.allowed),
    )
    org_keys.check_names(wanted, _known(call))
    async with call.parts.database.begin() as conn:
        org = await admin.find_org(conn, call.org_id)
        made = await admin.create_key(
            conn, org, wanted, _pepper(call), now_us=call.now_us, actor=call.actor
        )
    return _new(made, call)


async def show(call: Call) -> ApiKey:
    async with call.parts.database.read() as conn:
        row = await org_keys.find(conn, call.org_id, call.params["id"])
    return await _one(call, row)


async def change(call: Call) -> ApiKey:
    changes: ApiKeyChanges = call.body
    async with call.parts.database.begin() as conn:
        before = await org_keys.find(conn, call.org_id, call.params["id"])
        wishes = org_keys.wishes_of(before)
        if changes.name is not msgspec.UNSET:
            wishes = msgspec.structs.replace(wishes, name=changes.name)
        if changes.limits is not msgspec.UNSET:
            wishes = msgspec.structs.replace(wishes, limits=_limits(changes.limits))
        if changes.allowed is not msgspec.UNSET:
            wishes = msgspec.structs.replace(wishes, **_allowed(changes.allowed))
        if changes.expires_at is not msgspec.UNSET:
            wishes = msgspec.structs.replace(wishes, expires_at_s=changes.expires_at)
        org_keys.check_names(wishes, _known(call), before)
        row = await org_keys.change(
            conn, call.org_id, before.id, wishes, now_us=call.now_us, actor=call.actor
        )
    return await _one(call, row)


async def roll(call: Call) -> NewApiKey:
    wishes: RollWishes = call.body
    async with call.parts.database.begin() as conn:
        made = await org_keys.roll(
            conn,
            call.org_id,
            call.params["id"],
            _pepper(call),
            overlap_s=wishes.overlap_s,
            now_us=call.now_us,
            actor=call.actor,
        )
    return _new(made, call)


async def disable(call: Call) -> ApiKey:
    async with call.parts.database.begin() as conn:
        row = await org_keys.disable(
            conn, call.org_id, call.params["id"], now_us=call.now_us, actor=call.actor
        )
    return await _one(call, row)


async def _one(call: Call, row: KeyRow) -> ApiKey:
    async with call.parts.database.read() as conn:
        nano = await org_keys.spent_by_period(conn, call.org_id, row.id, call.now_us)
    spent = {period: usd_from_nano(value) for period, value in nano.items()}
    return msgspec.structs.replace(_document(row, nano["month"], call), spent=KeySpent(**spent))


def _new(made: NewKey, call: Call) -> NewApiKey:
    shown = msgspec.structs.asdict(_document(made.row, 0, call))
    shown["spent"] = KeySpent(day="0.00", month="0.00", total="0.00")
    return NewApiKey(**shown, key=made.token)


def _document(row: KeyRow, spent_nano: int, call: Call) -> ApiKey:
    limits = row.limits
    caps = {name: getattr(limits, f"{name}_nano") for name in _SPEND}
    lists = {name: getattr(row, name) for name in _LISTS}
    return ApiKey(
        id=row.id,
        name=row.name,
        hint=hint(row.prefix, row.last4),
        kind=row.kind,
        status=org_keys.state(row, call.now_us // 1_000_000),
        team_id=row.team_id,
        created_by=row.created_by,
        created_at=row.created_us // 1_000_000,
        expires_at=row.expires_at_s,
        disabled_at=row.disabled_at_s,
        last_used_at=None if row.last_used_day is None else row.last_used_day * 86_400,
        rotates=row.rotates,
        spent_month=usd_from_nano(spent_nano),
        limits=KeyLimits(
            rpm=limits.rpm,
            tpm=limits.tpm,
            concurrency=limits.concurrency,
            **{name: None if nano is None else usd_from_nano(nano) for name, nano in caps.items()},
        ),
        allowed=KeyAllowed(
            **{name: None if some is None else list(some) for name, some in lists.items()}
        ),
    )


def _limits(wanted: KeyLimits) -> Limits:
    caps: dict[str, int | None] = {}
    for name in _SPEND:
        text = getattr(wanted, name)
        try:
            caps[f"{name}_nano"] = None if text is None else nano_from_usd(text)
        except ValueError as error:
            raise WrongEntry(f"limits.{name}", said_by(error)) from error
    return Limits(rpm=wanted.rpm, tpm=wanted.tpm, concurrency=wanted.concurrency, **caps)


def _allowed(wanted: KeyAllowed) -> dict[str, tuple[str, ...] | None]:
    lists = {name: getattr(wanted, name) for name in _LISTS}
    return {name: None if some is None else tuple(some) for name, some in lists.items()}


def _known(call: Call) -> Known:
    catalog = call.parts.catalog.current
    routes = [route for some in catalog.routes.values() for route in some]
    models = {name for name, model in catalog.models.items() if model.enabled}
    return Known(models, {route.provider.name for route in routes})


def _pepper(call: Call) -> bytes:
    return call.parts.root.derive(sealing.PEPPER)


_TAG = "API keys"
ENDPOINTS = [
    Endpoint(
        "GET", "/keys", "view", listing, None, Listing[ApiKey], "API keys, newest first.", _TAG
    ),
    Endpoint("POST", "/keys", "keys", create, ApiKeyWishes, NewApiKey, "Make an API key.", _TAG),
    Endpoint("GET", "/keys/{id}", "view", show, None, ApiKey, "One API key.", _TAG),
    Endpoint(
        "PATCH",
        "/keys/{id}",
        "keys",
        change,
        ApiKeyChanges,
        ApiKey,
        "Change the name, limits, rights or end of an API key.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/keys/{id}/roll",
        "keys",
        roll,
        RollWishes,
        NewApiKey,
        "Make a successor of an API key with the same rights.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/keys/{id}",
        "keys",
        disable,
        None,
        ApiKey,
        "Disable an API key, at once and for good.",
        _TAG,
    ),
]
