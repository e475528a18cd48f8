"""``tokenmarket provider add | list | test``."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from typing import Any

import msgspec

from tokenmarket.accounts import admin
from tokenmarket.catalog import load_shipped
from tokenmarket.cli.catalog import in_force
from tokenmarket.cli.running import FAILED, OK, Answer, Desk, desk, table
from tokenmarket.config import ConfigError, checked_provider_key, provider_secrets
from tokenmarket.core.catalog import Provider
from tokenmarket.core.catalog_rows import CatalogDocument, CatalogError, ProviderRow
from tokenmarket.core.catalog_toml import dump, parse
from tokenmarket.store import accounts as rows
from tokenmarket.store import catalog_rows, credentials
from tokenmarket.store.database import Connection
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.credentials import CredentialPool, Secret
from tokenmarket.upstream.probe import Probe, probe

KEY_BYTES_MAX = 16_384


async def add(arguments: Namespace) -> Answer:
    secret = _key_from_stdin() if arguments.api_key_stdin else None
    async with desk(arguments, create=True) as at, at.database.begin() as conn:
        provider = _wanted(arguments, await _find(conn, arguments.name))
        if secret is not None:
            _check_key(provider, secret)
        row = ProviderRow(provider, api_keys=() if secret is None else (secret,))
        applied = await catalog_rows.apply(
            conn, at.kek, load_shipped(), CatalogDocument(providers=(row,)), now_us=at.now_us
        )
        if applied.anything:
            detail: dict[str, object] = {
                "base_url": provider.base_url,
                "adapter": provider.adapter,
                "key": "given" if secret else "kept",
            }
            await rows.append_audit(
                conn, at.now_us, at.actor, "provider.add", provider.name, detail
            )
        document = await _document(conn, at, provider)
    text = f"provider {provider.name} ({provider.adapter}) at {provider.base_url}"
    if not document["available"]:
        text += f"\nit has no key: set {provider.api_key_env}, or give it with --api-key-stdin"
    return Answer({**document, "changed": applied.anything}, text)


async def listing(arguments: Namespace) -> Answer:
    async with desk(arguments) as at, at.database.read() as conn:
        catalog = await in_force(conn)
        documents = [await _document(conn, at, row.provider) for row in catalog.providers]
    documents.sort(key=lambda document: str(document["name"]))
    lines = [
        (d["name"], d["adapter"], d["base_url"], _key_text(d), "yes" if d["available"] else "no")
        for d in documents
    ]
    head = ("NAME", "ADAPTER", "BASE URL", "KEY", "USABLE")
    return Answer({"object": "list", "data": documents}, table(head, lines))


async def test(arguments: Namespace) -> Answer:
    """Asks for the list of models, which costs nothing anywhere."""
    async with desk(arguments) as at, at.database.read() as conn:
        provider = await _find(conn, arguments.name)
        if provider is None:
            raise admin.NotThere(f"there is no provider {arguments.name!r}")
        stored = await credentials.open_all(conn, at.kek, provider=provider.name)
    # after the read: a snapshot held for long would keep the server from checkpointing
    secrets = provider_secrets(at.config.environment, provider, stored)
    result = await _ask(at, provider, secrets)
    document = {"object": "provider.test", "name": provider.name, **result}
    text = f"provider {provider.name}: {result['message']}"
    return Answer(document, text, OK if result["ok"] else FAILED)


async def _ask(at: Desk, provider: Provider, secrets: list[tuple[str, Secret]]) -> dict[str, Any]:
    """{ok, status, latency_ms, message}; nothing of the answer's body is shown."""
    client = UpstreamClient(proxies=at.config.proxies)
    try:
        found = await probe(provider, secrets, client, time.monotonic)
    finally:
        await client.close()
    return {
        "ok": found.ok,
        "status": found.status,
        "latency_ms": found.latency_ms,
        "message": _message(found, provider),
    }


def _message(found: Probe, provider: Provider) -> str:
    return {
        "built_in": "it is built in and needs no network",
        "unusable_key": f"its key cannot be used: {found.detail}",
        "no_key": f"it has no key: set {provider.api_key_env}, or add one",
        "unreachable": f"it could not be reached: {found.detail}",
        "refused_key": f"it refused the key (HTTP {found.status})",
        "no_list": "it answers, but has no list to test the key with",
    }.get(found.finding, f"it answered HTTP {found.status}")


async def _document(conn: Connection, at: Desk, provider: Provider) -> dict[str, Any]:
    """Keys are counted for the URL they belong to; the environment is that of this process."""
    stored = [
        {"id": row.id, "source": "stored", "hint": row.hint}
        for row in await credentials.listed(conn, provider.name)
        if row.base_url == provider.base_url and row.disabled_at_s is None
    ]
    variable = provider.api_key_env
    keys: list[dict[str, str]] = list(stored)
    if variable is not None and at.config.environment.provider_key(variable):
        keys.append({"id": variable, "source": "environment", "hint": ""})
    return {
        "object": "provider",
        "name": provider.name,
        "adapter": provider.adapter,
        "base_url": provider.base_url,
        "api_key_env": variable,
        "enabled": provider.enabled,
        "keys": keys,
        "available": provider.enabled and (bool(keys) or provider.keyless),
    }


async def _find(conn: Connection, name: str) -> Provider | None:
    for row in (await in_force(conn)).providers:
        if row.provider.name == name:
            return row.provider
    return None


def _wanted(arguments: Namespace, existing: Provider | None) -> Provider:
    """The row as it shall be, through the same checks as a file; the rest of a known one stays."""
    start = existing or Provider(name=arguments.name, adapter="", base_url="")
    variable = arguments.api_key_env
    if variable is None and not arguments.api_key_stdin:
        variable = start.api_key_env
    wanted = msgspec.structs.replace(
        start, adapter=arguments.adapter, base_url=arguments.base_url, api_key_env=variable
    )
    try:
        return parse(dump(CatalogDocument((ProviderRow(wanted),))), "").providers[0].provider
    except CatalogError as error:
        problems = (f"{fault.key}: {fault.message}" for fault in error.faults)
        raise admin.Refused("; ".join(problems)) from error


def _key_from_stdin() -> str:
    text = sys.stdin.buffer.read(KEY_BYTES_MAX + 1)
    try:
        secret = checked_provider_key(text.decode("ascii", "replace"), "stdin", "key")
    except ConfigError as error:
        raise admin.Refused(str(error)) from error
    if secret is None or len(text) > KEY_BYTES_MAX:
        raise admin.Refused("no key came on stdin; as in: tokenmarket provider add … < keyfile")
    return secret


def _check_key(provider: Provider, secret: str) -> None:
    """What a server could not use is not stored: it would refuse to start. Raises Refused."""
    try:
        CredentialPool(provider, [("", Secret(secret))], time.monotonic)
    except ValueError as error:
        raise admin.Refused(f"this key does not fit {provider.adapter}: {error}") from error


def _key_text(document: dict[str, Any]) -> str:
    keys = document["keys"]
    if keys:
        return ", ".join(f"{key['source']} {key['hint']}".strip() for key in keys)
    return f"set {document['api_key_env']}" if document["api_key_env"] else "none needed"
