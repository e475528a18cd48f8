"""Management endpoints of the operator about supply: providers and their keys, routes.

They call what the pages call (``backoffice/``). No key of a provider is in any answer.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.backoffice import catalog_edits, providers
from tokenmarket.backoffice.catalog_edits import RouteWishes
from tokenmarket.backoffice.providers import ProviderWishes
from tokenmarket.core import sealing
from tokenmarket.core.catalog import Provider, ProviderLimits
from tokenmarket.store import credentials
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Deleted, Endpoint, Listing, page

_TAG = "supply"
_Text = Annotated[str, msgspec.Meta(max_length=2_000)]


class ProviderKey(msgspec.Struct, kw_only=True):
    """A stored key of a provider, without the key."""

    object: Literal["provider_key"] = "provider_key"
    id: str
    hint: str
    base_url: str
    created_at: int


class ProviderState(msgspec.Struct, kw_only=True):
    """A provider as requests meet it now. Drained: not enabled while requests still run there."""

    object: Literal["provider"] = "provider"
    name: str
    adapter: str
    base_url: str
    api_key_env: str | None
    enabled: bool
    running: int
    rpm: int
    tpm: int
    concurrency: int
    keys: list[ProviderKey]


class ProviderBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A provider as it shall be; limits of 0 are none. Another base URL leaves keys behind."""

    adapter: str
    base_url: _Text
    api_key_env: str | None = None
    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0
    enabled: bool = True


class ProviderSecret(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One more key of a provider: it is sealed and can never be read again."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=16_384)]


class RouteBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A route by model and provider, and what shall hold for it."""

    model: str
    provider: str
    upstream_model: str
    priority: int = 0
    weight: int = 1
    enabled: bool = True


class RouteObject(msgspec.Struct, kw_only=True):
    """A route with its live state."""

    object: Literal["route"] = "route"
    model: str
    provider: str
    upstream_model: str
    priority: int
    weight: int
    enabled: bool
    available: bool
    reason: str | None
    price_version: str


async def list_providers(call: Call) -> Listing[ProviderState]:
    async with call.parts.database.read() as conn:
        document = await catalog_edits.in_force(conn, call.parts.catalog.shipped)
        stored = await credentials.listed(conn)
    names = sorted(row.provider.name for row in document.providers)
    wanted = [name for name in names if name > call.cursor][: call.limit + 1]
    by_name = {row.provider.name: row.provider for row in document.providers}
    found = [_provider(call, by_name[name], stored) for name in wanted]
    return page(found, call.limit, lambda one: one.name)


async def put_provider(call: Call) -> ProviderState:
    body: ProviderBody = call.body
    name, parts = call.params["name"], call.parts
    async with parts.database.begin() as conn:
        document = await catalog_edits.in_force(conn, parts.catalog.shipped)
        known = any(row.provider.name == name for row in document.providers)
        wishes = ProviderWishes(
            body.adapter,
            body.base_url,
            body.api_key_env,
            limits=ProviderLimits(body.rpm, body.tpm, body.concurrency),
            enabled=body.enabled,
        )
        shipped, now_us, actor = parts.catalog.shipped, call.now_us, call.actor
        if known:
            before = providers.find(document, name)
            wishes = msgspec.structs.replace(wishes, data=before.data, timeouts=before.timeouts)
            provider = await providers.change(
                conn, shipped, _kek(call), name, wishes, now_us=now_us, actor=actor
            )
        else:
            provider = await providers.create(
                conn, shipped, name, wishes, now_us=now_us, actor=actor
            )
        stored = await credentials.listed(conn, name)
    return _provider(call, provider, stored)


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
    return _key(row)


async def remove_provider_key(call: Call) -> Deleted:
    key_id = call.params["key"]
    async with call.parts.database.begin() as conn:
        await providers.remove_key(
            conn, call.params["name"], key_id, now_us=call.now_us, actor=call.actor
        )
    return Deleted(id=key_id)


async def list_routes(call: Call) -> Listing[RouteObject]:
    catalog, outbound = call.parts.catalog.current, call.parts.outbound
    model, provider = call.query.get("model"), call.query.get("provider")
    found: list[RouteObject] = []
    for name, routes in sorted(catalog.routes.items()):
        for route in routes:
            if (model and name != model) or (provider and route.provider.name != provider):
                continue
            state = outbound.state(route)
            found.append(
                RouteObject(
                    model=name,
                    provider=route.provider.name,
                    upstream_model=route.upstream_model,
                    priority=route.priority,
                    weight=route.weight,
                    enabled=route.enabled and route.provider.enabled,
                    available=state.available,
                    reason=state.reason,
                    price_version=route.prices.version,
                )
            )
    rest = [one for one in found if _route_cursor(one) > call.cursor]
    return page(rest[: call.limit + 1], call.limit, _route_cursor)


async def put_route(call: Call) -> RouteBody:
    body: RouteBody = call.body
    wishes = RouteWishes(body.upstream_model, body.priority, body.weight, body.enabled)
    async with call.parts.database.begin() as conn:
        await catalog_edits.change_route(
            conn,
            call.parts.catalog.shipped,
            (body.model, body.provider),
            wishes,
            now_us=call.now_us,
            actor=call.actor,
        )
    return body


def _provider(
    call: Call, provider: Provider, stored: list[credentials.CredentialRow]
) -> ProviderState:
    limits = provider.limits
    return ProviderState(
        name=provider.name,
        adapter=provider.adapter,
        base_url=provider.base_url,
        api_key_env=provider.api_key_env,
        enabled=provider.enabled,
        running=call.parts.outbound.in_flight(provider.name),
        rpm=limits.rpm,
        tpm=limits.tpm,
        concurrency=limits.concurrency,
        keys=[
            _key(row)
            for row in stored
            if row.provider == provider.name and row.disabled_at_s is None
        ],
    )


def _key(row: credentials.CredentialRow) -> ProviderKey:
    return ProviderKey(
        id=row.id, hint=row.hint, base_url=row.base_url, created_at=row.created_us // 1_000_000
    )


def _route_cursor(one: RouteObject) -> str:
    return f"{one.model} {one.provider}"


def _kek(call: Call) -> bytes:
    return call.parts.root.derive(sealing.KEY_ENCRYPTION)


_FILTERS = (("model", "Only of this model."), ("provider", "Only at this provider."))
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
    Endpoint(
        "PUT",
        "/admin/providers/{name}",
        OPERATOR,
        put_provider,
        ProviderBody,
        ProviderState,
        "Adds a provider, changes it, or switches it off: running requests end normally.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/admin/providers/{name}/keys",
        OPERATOR,
        add_provider_key,
        ProviderSecret,
        ProviderKey,
        "Adds a key to the provider's pool.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/admin/providers/{name}/keys/{key}",
        OPERATOR,
        remove_provider_key,
        None,
        Deleted,
        "Stops using a key of the provider.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/admin/routes",
        OPERATOR,
        list_routes,
        None,
        Listing[RouteObject],
        "All routes with their live state.",
        _TAG,
        query=_FILTERS,
    ),
    Endpoint(
        "PUT",
        "/admin/routes",
        OPERATOR,
        put_route,
        RouteBody,
        RouteBody,
        "Changes the order, share or upstream model of a route.",
        _TAG,
    ),
]
