"""Providers and their keys. A key goes in and never comes out: it is sealed for one base URL.

A provider is on or off, and off means: plans leave its routes out from the next refresh on (within
two seconds), while running requests end as they would have and videos are still asked for. There is
no harder switch: a video that nobody asks for would keep its hold and cost us all the same.
"""

from __future__ import annotations

import time

import msgspec

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.backoffice.catalog_edits import apply, changed_fields, checked, in_force
from tokenmarket.config import ConfigError, checked_provider_key
from tokenmarket.core.catalog import DataPolicy, Provider, ProviderLimits, Timeouts
from tokenmarket.core.catalog_rows import CatalogDocument, ProviderRow
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import credentials
from tokenmarket.store.credentials import CredentialRow
from tokenmarket.store.database import Connection
from tokenmarket.upstream.credentials import CredentialPool, Secret

KEYS_MAX = 50
KEY_BYTES_MAX = 16_384


class ProviderWishes(msgspec.Struct, frozen=True):
    """A provider as it shall be, without its keys."""

    adapter: str
    base_url: str
    api_key_env: str | None = None
    limits: ProviderLimits = ProviderLimits()
    data: DataPolicy = DataPolicy()
    timeouts: Timeouts = Timeouts()
    enabled: bool = True


async def create(
    conn: Connection,
    shipped: CatalogDocument,
    name: str,
    wishes: ProviderWishes,
    *,
    now_us: int,
    actor: str,
) -> Provider:
    """Raises Taken, InvalidRow."""
    document = await in_force(conn, shipped)
    if any(row.provider.name == name for row in document.providers):
        raise Taken(N_("There is a provider with this name already."))
    plain = Provider(name, wishes.adapter, wishes.base_url)
    provider = msgspec.structs.replace(plain, **_fields(wishes))
    found = await _put(conn, shipped, provider, now_us)
    await rows.append_audit(conn, now_us, actor, "provider.create", name, _detail(found))
    return found


async def change(
    conn: Connection,
    shipped: CatalogDocument,
    kek: bytes,
    name: str,
    wishes: ProviderWishes,
    *,
    now_us: int,
    actor: str,
) -> Provider:
    """Another base URL leaves the stored keys behind: they must be given again for it.

    Raises NotThere, InvalidRow, or Refused if its stored keys do not fit the new adapter.
    """
    before = find(await in_force(conn, shipped), name)
    after = msgspec.structs.replace(before, **_fields(wishes))
    found = await _put(conn, shipped, after, now_us)
    for row in await credentials.open_all(conn, kek, provider=name):
        if row.base_url == found.base_url:
            _check_fits(found, row.secret)
    changed = changed_fields(before, found)
    if changed:
        await rows.append_audit(conn, now_us, actor, "provider.change", name, changed)
    return found


async def set_enabled(
    conn: Connection,
    shipped: CatalogDocument,
    name: str,
    *,
    enabled: bool,
    now_us: int,
    actor: str,
) -> None:
    """Raises NotThere."""
    before = find(await in_force(conn, shipped), name)
    if before.enabled == enabled:
        return
    await _put(conn, shipped, msgspec.structs.replace(before, enabled=enabled), now_us)
    action = "provider.enable" if enabled else "provider.disable"
    await rows.append_audit(conn, now_us, actor, action, name, {})


async def add_key(
    conn: Connection,
    shipped: CatalogDocument,
    kek: bytes,
    name: str,
    secret: str,
    *,
    now_us: int,
    actor: str,
) -> CredentialRow:
    """One more key for the provider's pool. Raises NotThere, Refused, Taken; never shows it."""
    provider = find(await in_force(conn, shipped), name)
    key = _checked_key(provider, secret)
    stored = await credentials.open_all(conn, kek, provider=name)
    here = [row for row in stored if row.base_url == provider.base_url]
    if any(row.secret == key for row in here):
        raise Taken(N_("The provider has this key already."))
    if len(here) >= KEYS_MAX:
        raise Taken(N_("A provider has at most 50 keys."))
    row = await credentials.add(conn, kek, name, provider.base_url, key, now_us=now_us)
    detail: dict[str, object] = {"key": row.id, "base_url": row.base_url}
    await rows.append_audit(conn, now_us, actor, "provider.key.add", name, detail)
    return row


async def remove_key(
    conn: Connection, name: str, credential_id: str, *, now_us: int, actor: str
) -> None:
    """Not used from the next refresh on. Raises NotThere."""
    for row in await credentials.listed(conn, name):
        if row.id == credential_id and row.disabled_at_s is None:
            await credentials.disable(conn, credential_id, now_us // 1_000_000)
            detail: dict[str, object] = {"key": credential_id}
            await rows.append_audit(conn, now_us, actor, "provider.key.remove", name, detail)
            return
    raise NotThere(N_("There is no such key."))


def find(document: CatalogDocument, name: str) -> Provider:
    """Raises NotThere."""
    for row in document.providers:
        if row.provider.name == name:
            return row.provider
    raise NotThere(N_("There is no such provider."))


def _fields(wishes: ProviderWishes) -> dict[str, object]:
    return {name: getattr(wishes, name) for name in wishes.__struct_fields__}


async def _put(
    conn: Connection, shipped: CatalogDocument, provider: Provider, now_us: int
) -> Provider:
    document = checked(CatalogDocument(providers=(ProviderRow(provider),)))
    await apply(conn, shipped, document, now_us)
    return document.providers[0].provider


def _checked_key(provider: Provider, text: str) -> str:
    if len(text.encode()) > KEY_BYTES_MAX:
        raise Refused(N_("This is too long for a key."))
    try:
        key = checked_provider_key(text, "form", "key")
    except ConfigError as error:
        raise Refused(
            N_("A key is one line of printable characters, or a JSON key file.")
        ) from error
    if key is None:
        raise Refused(N_("Enter the key."))
    _check_fits(provider, key)
    return key


def _check_fits(provider: Provider, key: str) -> None:
    """What a server could not use is not stored: it would refuse to start. Raises Refused."""
    try:
        CredentialPool(provider, [("", Secret(key))], time.monotonic)
    except ValueError as error:
        raise Refused(N_("This provider cannot use such a key.")) from error


def _detail(provider: Provider) -> dict[str, object]:
    return {
        "adapter": provider.adapter,
        "base_url": provider.base_url,
        "api_key_env": provider.api_key_env,
    }
