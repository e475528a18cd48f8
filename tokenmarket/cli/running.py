"""How every command runs: open what it needs, print what it found, turn errors into exit codes."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from argparse import Namespace
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tokenmarket import config as configuration
from tokenmarket.accounts import admin
from tokenmarket.config import Config, ConfigError
from tokenmarket.core import sealing
from tokenmarket.core.catalog_rows import CatalogError, Fault
from tokenmarket.store.database import Database, StoreError, sqlite_path

OK, FAILED, USAGE, CONFLICT = 0, 1, 2, 3


class Answer(msgspec.Struct, frozen=True):
    """What a command found: for programs, for people, and the exit code."""

    document: dict[str, Any]
    text: str
    exit_code: int = OK


class Desk(msgspec.Struct, frozen=True):
    """What a command works with. ``actor`` is who the audit trail names."""

    config: Config
    database: Database
    now_us: int
    actor: str

    @property
    def pepper(self) -> bytes:
        return self.config.root.derive(sealing.PEPPER)

    @property
    def kek(self) -> bytes:
        return self.config.root.derive(sealing.KEY_ENCRYPTION)


Command = Callable[[Namespace], Coroutine[Any, Any, Answer] | int]


def run(command: Command, arguments: Namespace) -> int:
    """Run and print; an error becomes one line on stderr (with --json also one object on stdout).

    ``serve`` and ``sandbox`` are plain functions that own their event loop and their logging.
    """
    try:
        result = command(arguments)
        if isinstance(result, int):
            return result
        logging.basicConfig(
            stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s"
        )
        answer = asyncio.run(result)
    except (ConfigError, StoreError, admin.Refused) as error:
        return _fail(arguments, "usage", error, USAGE)
    except CatalogError as error:
        return _fail(arguments, "catalog", error, USAGE, faults=error.faults)
    except (admin.NotThere, admin.Taken) as error:
        return _fail(arguments, "conflict", error, CONFLICT)
    except KeyboardInterrupt:
        return 130
    _print(msgspec.json.encode(answer.document).decode() if arguments.json else answer.text)
    return answer.exit_code


@asynccontextmanager
async def desk(arguments: Namespace, *, create: bool = False) -> AsyncGenerator[Desk]:
    """Configuration and database, opened so as not to disturb a server on the same files.

    ``create``: this command may be the first one ever, and makes directory, secret and tables.
    """
    config = configuration.load(vars(arguments), create=create)
    if not create:
        _must_exist(config)
    database = await Database.open(config.database_url, beside=True)
    try:
        await database.create_schema(upgrade=False)
        await admin.claim_root(database, config.root)
        yield Desk(
            config=config,
            database=database,
            now_us=time.time_ns() // 1000,
            actor=f"cli:{os.getuid()}",
        )
    finally:
        await database.close()


def second(now_us: int | None) -> int | None:
    """Microseconds -> unix seconds, None stays None."""
    return None if now_us is None else now_us // 1_000_000


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns for people."""
    widths = [max(len(line[at]) for line in [head, *rows]) for at in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *rows]
    ]
    return "\n".join(lines)


def _must_exist(config: Config) -> None:
    path = sqlite_path(config.database_url)
    if not path.exists():
        raise ConfigError(
            "database", str(path), "does not exist; start the server once, or check --data"
        )


def _fail(
    arguments: Namespace,
    kind: str,
    error: Exception,
    exit_code: int,
    faults: tuple[Fault, ...] = (),
) -> int:
    sys.stderr.write(f"tokenmarket: {error}\n")
    if arguments.json:
        document: dict[str, Any] = {"object": "error", "type": kind, "message": str(error)}
        if faults:
            document["faults"] = faults
        _print(msgspec.json.encode(document).decode())
    return exit_code


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
