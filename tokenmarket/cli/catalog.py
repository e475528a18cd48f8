"""``tokenmarket catalog apply | export``, and the catalog in force for the other commands."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from tokenmarket.accounts import admin
from tokenmarket.catalog import load_shipped
from tokenmarket.cli.running import Answer, desk
from tokenmarket.core.catalog_rows import CatalogDocument, CatalogError, merge
from tokenmarket.core.catalog_tables import near
from tokenmarket.core.catalog_toml import dump, parse
from tokenmarket.store import accounts as rows
from tokenmarket.store import catalog_rows
from tokenmarket.store.catalog_rows import Applied
from tokenmarket.store.database import Connection

FILE_BYTES_MAX = 16 * 1024 * 1024


async def apply(arguments: Namespace) -> Answer:
    document = _read_all(arguments.files)
    async with desk(arguments, create=True) as at, at.database.begin() as conn:
        applied = await catalog_rows.apply(conn, at.kek, load_shipped(), document, now_us=at.now_us)
        if applied.anything:
            detail = _document(applied)
            await rows.append_audit(conn, at.now_us, at.actor, "catalog.apply", "catalog", detail)
    return Answer(_document(applied), _text(applied))


async def export(arguments: Namespace) -> Answer:
    async with desk(arguments) as at, at.database.read() as conn:
        if arguments.own:
            text = dump(await catalog_rows.overlay(conn))
        else:
            text = dump(await in_force(conn))
    return Answer({"object": "catalog", "toml": text}, text.rstrip("\n"))


async def in_force(conn: Connection) -> CatalogDocument:
    """The shipped files with the operator's rows on top."""
    return merge([load_shipped(), await catalog_rows.overlay(conn)])


async def check_names(conn: Connection, models: Iterable[str], providers: Iterable[str]) -> None:
    """Refused for names that the catalog does not have: a typing error would lock a key out."""
    document = await in_force(conn)
    known = {row.model.id for row in document.models}
    _check("model", models, known)
    _check("provider", providers, {row.provider.name for row in document.providers})


def _check(kind: str, names: Iterable[str], known: set[str]) -> None:
    for name in names:
        if name not in known:
            raise admin.Refused(
                f"there is no {kind} {name[:100]!r} in the catalog; {near(name[:100], known)}"
            )


def _read_all(files: list[str]) -> CatalogDocument:
    """All mistakes of all files together."""
    documents: list[CatalogDocument] = []
    errors: list[CatalogError] = []
    for file in files:
        try:
            documents.append(parse(_read(file), file))
        except CatalogError as error:
            errors.append(error)
    if errors:
        raise CatalogError(fault for error in errors for fault in error.faults)
    return merge(documents)


def _read(file: str) -> str:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise admin.Refused(f"{file}: more than {FILE_BYTES_MAX} bytes are not a catalog")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise admin.Refused(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise admin.Refused(f"{file}: is not UTF-8: {error.reason}") from error


def _document(applied: Applied) -> dict[str, object]:
    return {
        "object": "catalog.applied",
        "changed": applied.anything,
        "providers": applied.providers,
        "models": applied.models,
        "routes": [{"model": model, "provider": name} for model, name in applied.routes],
        "keys": applied.keys,
        "keys_missing": applied.keyless,
    }


def _text(applied: Applied) -> str:
    if not applied.anything:
        return "nothing to change"
    lines = [
        f"changed {len(applied.providers)} providers, {len(applied.models)} models, "
        f"{len(applied.routes)} routes, keys of {len(applied.keys)} providers"
    ]
    lines += [
        f"provider {name}: its stored key belongs to another base_url; give the key again"
        for name in applied.keyless
    ]
    return "\n".join(lines)
