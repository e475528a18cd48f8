"""Management endpoints of the operator about providers: their connection, keys, and a test call.

They call what the pages call (``backoffice/``). No key of a provider is in any answer.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.backoffice import catalog_edits, probing, providers
from tokenmarket.backoffice.providers import ProviderWishes
from tokenmarket.core import sealing
from tokenmarket.core.catalog import DataPolicy, Provider, ProviderLimits
from tokenmarket.store import credentials
from tokenmarket.store.credentials import CredentialRow
from tokenmarket.store.database import Connection
from tokenmarket.web.manage.endpoint import (
    OPERATOR,
    Call,
    Deleted,
    Endpoint,
    Listing,
    Nothing,
    page,
)

_TAG = "supply"
_Text = Annotated[str, msgspec.Meta(max_length=2_000)]
_Own = set[tuple[str, ...]]


class ProviderKey(msgspec.Struct, kw_only=True):
    """A stored key of a provider, without the key. ``alert``: a refusal that a person must look
    at; ``resting_s`` 0: it may be used now. Both as this server has seen them."""

    object: Literal["provider_key"] = "provider_key"
    id: str
    hint: str
    base_url: str
    created_at: int
    alert: str | None
    resting_s: float


class ProviderData(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a provider does with prompts; null: not known."""

    retention_days: int | None = None
    trains: bool | None = None
    region: Annotated[str, msgspec.Meta(max_length=100)] | None = None


class ProviderState(msgspec.Struct, kw_only=True):
    """A provider as requests meet it now. Switched off it takes no new requests; ``running`` says
    how many have not ended yet. ``changed``: it is not as shipped."""

    object: Literal["provider"] = "provider"
    name: str
    adapter: str
    base_url: str
    api_key_env: str | None
    enabled: bool
    changed: bool
    running: int
    rpm: int
    tpm: int
    concurrency: int
    data: ProviderData
    keys: list[ProviderKey]


class ProviderBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A provider as it shall be; limits of 0 are none. Another base URL leaves keys behind; without
    ``data`` what is known of prompts stays."""

    adapter: str
    base_url: _Text
    api_key_env: str | None = None
    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0
    data: ProviderData | msgspec.UnsetType = msgspec.UNSET
    enabled: bool = True


class ProviderSecret(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One more key of a provider: it is sealed and can never be read again."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]


class ProviderTest(msgspec.Struct, kw_only=True):
    """What a test call found; ``status`` is HTTP's, if it came so far."""

    object: Literal["provider_test"] = "provider_test"
    ok: bool
    finding: str
    status: int | None
    latency_ms: int | None
    detail: str


async def list_providers(call: Call) -> Listing[ProviderState]:
    async with call.parts.database.read() as conn:
        document = await catalog_edits.in_force(conn, call.parts.catalog.shipped)
        own = await catalog_edits.own_rows(conn)
        stored = await credentials.listed(conn)
    by_name = {row.provider.name: row.provider for row in document.providers}
    wanted = [name for name in sorted(by_name) if name > call.cursor][: call.limit + 1]
    found = [_provider(call, by_name[name], own, stored) for name in wanted]
    return page(found, call.limit, lambda one: one.name)


async def show_provider(call: Call) -> ProviderState:
    async with call.parts.database.read() as conn:
        return await _state(conn, call)


async def put_provider(call: Call) -> ProviderState:
    body: ProviderBody = call.body
    name, parts = call.params["name"], call.parts
    async with parts.database.begin() as conn:
        document = await catalog_edits.in_force(conn, parts.catalog.shipped)
        wishes = ProviderWishes(
            body.adapter,
            body.base_url,
            body.api_key_env,
            limits=ProviderLimits(body.rpm, body.tpm, body.concurrency),
            enabled=body.enabled,
        )
        if body.data is not msgspec.UNSET:
            told = body.data
            data = DataPolicy(told.retention_days, told.trains, told.region)
            wishes = msgspec.structs.replace(wishes, data=data)
        shipped, now_us, actor = parts.catalog.shipped, call.now_us, call.actor
        if any(row.provider.name == name for row in document.providers):
            before = providers.find(document, name)
            kept = before.data if body.data is msgspec.UNSET else wishes.data
            wishes = msgspec.structs.replace(wishes, data=kept, timeouts=before.timeouts)
            await providers.change(
                conn, shipped, _kek(call), name, wishes, now_us=now_us, actor=actor
            )
        else:
            await providers.create(conn, shipped, name, wishes, now_us=now_us, actor=actor)
        return await _state(conn, call)


async def reset_provider(call: Call) -> Deleted:
    name = call.params["name"]
    async with call.parts.database.begin() as conn:
        shipped, now_us = call.parts.catalog.shipped, call.now_us
        await catalog_edits.reset(
            conn, shipped, "provider", (name,), now_us=now_us, actor=call.actor
        )
    return Deleted(id=name)


async def test_provider(call: Call) -> ProviderTest:
    parts = call.parts
    found = await probing.try_provider(
        parts.database,
        parts.catalog.shipped,
        _kek(call),
        parts.config.environment,
        parts.outbound,
        call.params["name"],
    )
    return ProviderTest(
        ok=found.ok,
        finding=found.finding,
        status=found.status,
        latency_ms=found.latency_ms,
        detail=found.detail,
    )


async def add_provider_key(call: Call) -> ProviderKey:
    async with call.parts.database.begin() as conn:
        row = await providers.add_key(
            conn,
            call.parts.catalog.shipped,
            _kek(call),
            call.params["name"],
            call.body.key,
            now_us=call.now_us,
            actor=call.actor,
        )
    return _key(call, row)


async def remove_provider_key(call: Call) -> Deleted:
    key_id = call.params["key"]
    async with call.parts.database.begin() as conn:
        await providers.remove_key(
            conn, call.params["name"], key_id, now_us=call.now_us, actor=call.actor
        )
    return Deleted(id=key_id)


async def _state(conn: Connection, call: Call) -> ProviderState:
    """Raises NotThere."""
    name = call.params["name"]
    document = await catalog_edits.in_force(conn, call.parts.catalog.shipped)
    own = await catalog_edits.own_rows(conn)
    provider = providers.find(document, name)
    return _provider(call, provider, own, await credentials.listed(conn, name))


def _provider(
    call: Call, provider: Provider, own: _Own, stored: list[CredentialRow]
) -> ProviderState:
    limits, data = provider.limits, provider.data
    here = [row for row in stored if row.provider == provider.name and row.disabled_at_s is None]
    return ProviderState(
        name=provider.name,
        adapter=provider.adapter,
        base_url=provider.base_url,
        api_key_env=provider.api_key_env,
        enabled=provider.enabled,
        changed=("provider", provider.name) in own,
        running=call.parts.outbound.in_flight(provider.name),
        rpm=limits.rpm,
        tpm=limits.tpm,
        concurrency=limits.concurrency,
        data=ProviderData(
            retention_days=data.retention_days, trains=data.trains, region=data.region
        ),
        keys=[_key(call, row) for row in here],
    )


def _key(call: Call, row: CredentialRow) -> ProviderKey:
    live = {key.id: key for key in call.parts.outbound.keys(row.provider)}.get(row.id)
    return ProviderKey(
        id=row.id,
        hint=row.hint,
        base_url=row.base_url,
        created_at=row.created_us // 1_000_000,
        alert=None if live is None else live.alert,
        resting_s=0.0 if live is None else round(live.resting_s, 1),
    )


def _kek(call: Call) -> bytes:
    return call.parts.root.derive(sealing.KEY_ENCRYPTION)


_ONE = "/admin/providers/{name}"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/admin/providers",
        OPERATOR,
        list_providers,
        None,
        Listing[ProviderState],
        "All providers, by name.",
        _TAG,
    ),
    Endpoint("GET", _ONE, OPERATOR, show_provider, None, ProviderState, "One provider.", _TAG),
    Endpoint(
        "PUT",
        _ONE,
        OPERATOR,
        put_provider,
        ProviderBody,
        ProviderState,
        "Adds a provider, changes it, or switches it off: running requests end normally.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        _ONE,
        OPERATOR,
        reset_provider,
        None,
        Deleted,
        "Takes back what was changed: the provider is as shipped, or gone if it was added.",
        _TAG,
    ),
    Endpoint(
        "POST",
        f"{_ONE}/test",
        OPERATOR,
        test_provider,
        Nothing,
        ProviderTest,
        "Asks the provider for its list of models, with this server's keys.",
        _TAG,
    ),
    Endpoint(
        "POST",
        f"{_ONE}/keys",
        OPERATOR,
        add_provider_key,
        ProviderSecret,
        ProviderKey,
        "Adds a key to the provider's pool.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        f"{_ONE}/keys/{{key}}",
        OPERATOR,
        remove_provider_key,
        None,
        Deleted,
        "Stops using a key of the provider.",
        _TAG,
    ),
]
