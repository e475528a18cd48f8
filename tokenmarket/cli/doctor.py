"""``tokenmarket doctor``: looks at everything a running gateway depends on, and says what to do."""

from __future__ import annotations

import os
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Literal

import msgspec

from tokenmarket.catalog import CatalogSource, load_shipped, usable
from tokenmarket.cli.running import FAILED, OK, Answer, Desk, desk
from tokenmarket.config import Config, ConfigError, provider_secrets
from tokenmarket.core.sealing import SealBroken
from tokenmarket.store import accounts as rows
from tokenmarket.store import catalog_rows, credentials
from tokenmarket.store.credentials import OpenCredential
from tokenmarket.store.database import SQLITE_VERSION, sqlite_is_safe

FREE_BYTES_MIN = 1024 * 1024 * 1024  # a few journal segments of 64 MB and a day of usage rows
BUILT_US = 1_763_000_000_000_000  # November 2025: a clock before this is wrong

State = Literal["ok", "warning", "failed"]


class Check(msgspec.Struct, frozen=True):
    """One thing looked at; ``message`` says what to do unless the state is ok."""

    name: str
    state: State
    message: str


async def examine(arguments: Namespace) -> Answer:
    """Exit 1 if anything failed; warnings alone are 0. A broken configuration is exit 2."""
    async with desk(arguments) as at:
        checks = [
            *_configuration(at.config),
            _directory(at.config.data_dir),
            _space(at.config.data_dir),
            await _database(at),
            await _audit(at),
            await _clock(at),
            *await _providers(at),
        ]
    failed = any(check.state == "failed" for check in checks)
    signs = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}
    text = "\n".join(f"{signs[check.state]}  {check.name}: {check.message}" for check in checks)
    document = {"object": "doctor", "ok": not failed, "checks": checks}
    return Answer(document, text, FAILED if failed else OK)


def _configuration(config: Config) -> list[Check]:
    found = [Check("configuration", "ok", f"read; data in {config.data_dir}")]
    for name in config.environment.unknown():
        found.append(
            Check("configuration", "warning", f"{name} means nothing to this version; remove it")
        )
    if config.journal_sync == "interval":
        text = "journal_sync = interval: a power cut may cost you up to 20 ms of charges"
        found.append(Check("configuration", "ok", text))
    return found


def _directory(path: Path) -> Check:
    mode = path.stat().st_mode
    if mode & 0o007:
        return Check("data directory", "warning", f"others may enter it; chmod 700 {path}")
    if not os.access(path, os.W_OK | os.X_OK):
        return Check("data directory", "failed", f"this user may not write there: {path}")
    return Check("data directory", "ok", "private and writable")


def _space(path: Path) -> Check:
    free = shutil.disk_usage(path).free
    text = f"{free // 1024**2} MiB free"
    if free < FREE_BYTES_MIN:
        return Check("disk", "failed", f"{text}; the journal needs at least 1024 MiB to be safe")
    return Check("disk", "ok", text)


async def _database(at: Desk) -> Check:
    problems = await at.database.problems()
    if problems:
        text = "; ".join(problems[:3])
        return Check("database", "failed", f"damaged: {text}; stop and restore a backup")
    if not sqlite_is_safe():
        text = f"intact, but SQLite {SQLITE_VERSION} is older than 3.51.3: upgrade it"
        return Check("database", "warning", text)
    return Check("database", "ok", f"intact, SQLite {SQLITE_VERSION}")


async def _audit(at: Desk) -> Check:
    async with at.database.read() as conn:
        broken = await rows.broken_audit(conn)
    if broken is not None:
        return Check("audit trail", "failed", f"changed by hand at line {broken}; find out by whom")
    return Check("audit trail", "ok", "every line follows from the one before")


async def _clock(at: Desk) -> Check:
    if at.now_us < BUILT_US:
        return Check("clock", "failed", "it is years behind: set it, and run a time service")
    async with at.database.read() as conn:
        newest = max((org.created_us for org in await rows.orgs(conn)), default=0)
    if newest > at.now_us + 60_000_000:
        return Check("clock", "failed", "it was set back: there are organizations of the future")
    return Check("clock", "ok", "plausible")


async def _providers(at: Desk) -> list[Check]:
    async with at.database.read() as conn:
        source = CatalogSource(load_shipped(), await catalog_rows.overlay(conn))
        try:
            stored = await credentials.open_all(conn, at.kek)
        except SealBroken:
            text = "the stored keys do not open with this secret; add them again"
            return [Check("providers", "failed", text)]
    found = [Check("catalog", "warning", str(fault)) for fault in source.faults]
    ready = frozenset(
        name
        for name, provider in source.current.providers.items()
        if provider.keyless or _has_key(at, name, source, stored, found)
    )
    models = sum(
        any(usable(route, ready) for route in routes) for routes in source.current.routes.values()
    )
    with_keys = ", ".join(sorted(ready)) or "none"
    text = f"{models} of {len(source.current.models)} models can be called; with keys: {with_keys}"
    found.append(Check("providers", "ok" if models else "warning", text))
    return found


def _has_key(
    at: Desk, name: str, source: CatalogSource, stored: list[OpenCredential], found: list[Check]
) -> bool:
    try:
        provider = source.current.providers[name]
        return bool(provider_secrets(at.config.environment, provider, stored))
    except ConfigError as error:
        found.append(Check("providers", "failed", str(error)))
        return False
