"""The catalog's TOML dialect (``design/catalog.md``): ``parse`` a file, ``dump`` a document.

``parse`` reports every mistake of a file together, each with file, line and key. What one file
alone cannot know (does the model of this route exist?) is ``check`` in ``core/catalog_compile.py``,
after ``merge``. ``dump`` writes what ``parse`` reads: applying an export changes nothing. API keys
are never written.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Collection
from typing import cast
from urllib.parse import urlsplit

from tokenmarket.core.catalog import (
    ADAPTERS,
    OPERATIONS,
    POLICIES,
    DataPolicy,
    Model,
    Provider,
    ProviderLimits,
    Timeouts,
)
from tokenmarket.core.catalog_compile import check, compile
from tokenmarket.core.catalog_dump import dump
from tokenmarket.core.catalog_rows import (
    CatalogDocument,
    CatalogError,
    Fault,
    ModelRow,
    Place,
    PriceEntry,
    ProviderRow,
    RouteRow,
    merge,
)
from tokenmarket.core.catalog_tables import HEADER_SAFE, Faults, Table, free_value, printable
from tokenmarket.core.pricing import price_row
from tokenmarket.core.toml_positions import positions
from tokenmarket.core.usage import UNITS

__all__ = [
    "CatalogDocument",
    "CatalogError",
    "Fault",
    "ModelRow",
    "Place",
    "PriceEntry",
    "ProviderRow",
    "RouteRow",
    "check",
    "compile",
    "dump",
    "merge",
    "parse",
]

FILE_BYTES_MAX = 4 * 1024 * 1024
PRICE_ROWS_MAX = 500
SANDBOX_URL = "sandbox:"  # the sandbox provider inside this process

PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PROVIDER_RULE = "1 to 63 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit"
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]*(?:/[A-Za-z0-9][A-Za-z0-9._:@+-]*)?")
_MODEL_RULE = "letters, digits and . _ : @ + - with at most one '/'"
_UPSTREAM_NAME = re.compile(r"[\x21-\x7e]+")  # it is sent in a header (x-tokenmarket-model)
_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_ATTRIBUTE_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ATTRIBUTE_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:x*/+-]{0,63}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Set by the upstream client, or a credential's place: a fixed header there would fight with it.
_HEADERS_REFUSED = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def parse(text: str, filename: str, *, adapters: Collection[str] = ADAPTERS) -> CatalogDocument:
    """Reads one file. Raises CatalogError with all its faults."""
    if len(text.encode()) > FILE_BYTES_MAX:
        raise CatalogError([Fault(filename, 1, "file", f"is larger than {FILE_BYTES_MAX} bytes")])
    try:
        values = cast("dict[str, object]", tomllib.loads(text))
        lines = positions(text)
    except RecursionError:
        raise CatalogError([Fault(filename, 1, "file", "is nested too deeply")]) from None
    except ValueError as error:  # TOMLDecodeError, and numbers that Python refuses
        raise CatalogError([_syntax_fault(text, filename, error)]) from None
    faults = Faults(filename, lines)
    root = Table(values, (), faults)
    document = CatalogDocument(
        tuple(_provider(table, adapters) for table in root.tables("provider")),
        tuple(_model(table) for table in root.tables("model")),
        tuple(_route(table) for table in root.tables("route")),
    )
    root.close()
    _duplicates(document, faults)
    if faults.found:
        raise CatalogError(faults.found)
    return document


def _syntax_fault(text: str, filename: str, error: ValueError) -> Fault:
    found = re.search(r"\(at line ([0-9]+), column", str(error))
    line = int(found.group(1)) if found else text.count("\n") + 1
    reason = printable(str(error).split(" (at ", maxsplit=1)[0], 120)
    return Fault(filename, line, "syntax", f"not TOML: {reason}")


def _duplicates(document: CatalogDocument, faults: Faults) -> None:
    names: list[tuple[str, str, int]] = []
    for index, row in enumerate(document.providers):
        names.append(("provider", row.provider.name, index))
    for index, row in enumerate(document.models):
        names += [("model", name, index) for name in (row.model.id, *row.model.aliases)]
    for index, row in enumerate(document.routes):
        names.append(("route", f"{row.model} at {row.provider}", index))
    seen: dict[tuple[str, str], int] = {}
    for kind, name, index in names:
        first = seen.get((kind, name))
        seen.setdefault((kind, name), index)
        if first is not None:
            line = faults.line((kind, first))
            faults.add((kind, index), f"{printable(name)!r} is defined twice, first in line {line}")


# ---------------------------------------------------------------------------------- providers


def _provider(table: Table, adapters: Collection[str]) -> ProviderRow:
    adapter = table.choice("adapter", adapters)
    limits, data, timeouts = table.table("limits"), table.table("data"), table.table("timeout_s")
    days = data.integer("retention_days", -1)
    standard = Timeouts()
    provider = Provider(
        name=table.text("name", pattern=PROVIDER_NAME, rule=_PROVIDER_RULE),
        adapter=adapter,
        base_url=_base_url(table, adapter),
        api_key_env=table.text(
            "api_key_env", "", _ENVIRONMENT_NAME, "the name of an environment variable"
        )
        or None,
        timeouts=Timeouts(
            connect=timeouts.seconds("connect", standard.connect),
            first_byte=timeouts.seconds("first_byte", standard.first_byte),
            idle=timeouts.seconds("idle", standard.idle),
            total=timeouts.seconds("total", standard.total),
        ),
        headers=_headers(table.table("headers")),
        limits=ProviderLimits(
            rpm=limits.integer("rpm"),
            tpm=limits.integer("tpm"),
            concurrency=limits.integer("concurrency"),
        ),
        data=DataPolicy(
            retention_days=None if days < 0 else days,
            trains=data.flag("trains", None),
            region=data.text("region", "") or None,
        ),
        enabled=bool(table.flag("enabled", True)),
    )
    keys: list[str] = []
    for path, key in table.strings("api_keys"):
        if key and HEADER_SAFE.fullmatch(key) and len(key) <= 4096:
            keys.append(key)
        else:  # the value is a secret: it does not go into the message
            table.faults.add(path, "an API key is 1 to 4096 printable ASCII characters")
    for part in (limits, data, timeouts, table):
        part.close()
    return ProviderRow(provider, tuple(keys), table.place)


def _base_url(table: Table, adapter: str) -> str:
    url = table.text("base_url", pattern=HEADER_SAFE, rule="printable ASCII", length_max=1000)
    if not url or (url == SANDBOX_URL and adapter == "sandbox"):
        return url
    wrong = ""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            wrong = "must begin with https:// or http://"
        elif not parts.hostname:
            wrong = "has no host"
        elif parts.username is not None or parts.password is not None or "@" in parts.netloc:
            wrong = "must not carry a user name or password: use api_key_env"
        elif "?" in url or "#" in url:
            wrong = "must not have a query or a fragment"
        elif not re.fullmatch(r"[\x21-\x7e]+", url) or "\\" in url:
            wrong = "must not have spaces or backslashes"
        elif parts.port == 0:
            wrong = "has a port that is not a port"
    except ValueError:
        wrong = "is not a URL"
    if wrong:
        table.fault("base_url", wrong)  # without the value: it may carry a password
    return url.rstrip("/")


def _headers(table: Table) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    for name in table.values:
        value = table.text(name, pattern=HEADER_SAFE, rule="printable ASCII", length_max=2000)
        if not _HEADER_NAME.fullmatch(name):
            table.fault(name, "is not a header name")
        elif name.lower() in _HEADERS_REFUSED:
            table.fault(name, "is set by the gateway and cannot be fixed here")
        elif name.lower() in (known for known, _ in headers):
            table.fault(name, "is there twice (header names ignore case)")
        else:
            headers.append((name.lower(), value))
    return tuple(headers)


# ------------------------------------------------------------------------------------- models


def _model(table: Table) -> ModelRow:
    identity = table.text("id", pattern=MODEL_NAME, rule=_MODEL_RULE, length_max=128)
    name = table.table("name")
    name_en = name.text("en", identity or "-")
    aliases: list[str] = []
    for path, alias in table.strings("aliases"):
        if MODEL_NAME.fullmatch(alias) and len(alias) <= 128:
            aliases.append(alias)
        else:
            table.faults.add(path, f"{printable(alias)!r} is not a model name: {_MODEL_RULE}")
    features = table.table("capabilities")
    capabilities = free_value(features.values, features.path, table.faults)
    deprecated_at = table.text("deprecated_at", "", _DATE, "a date as '2027-01-31'") or None
    if deprecated_at is not None:
        try:
            datetime.date.fromisoformat(deprecated_at)
        except ValueError:
            table.fault("deprecated_at", "there is no such day")
    model = Model(
        id=identity,
        operation=table.choice("operation", OPERATIONS),
        name_en=name_en,
        name_zh=name.text("zh", name_en),
        vendor=table.text("vendor", ""),
        default_provider=table.text("default_provider", "", PROVIDER_NAME, _PROVIDER_RULE) or None,
        policy=table.choice("policy", POLICIES, "default"),
        context_tokens=table.integer("context_tokens", most=10**9),
        max_output_tokens=table.integer("max_output_tokens", most=10**9),
        aliases=tuple(aliases),
        capabilities=cast("dict[str, object]", capabilities),
        deprecated_at=deprecated_at,
        enabled=bool(table.flag("enabled", True)),
    )
    name.close()
    table.close()
    return ModelRow(model, table.place)


# ------------------------------------------------------------------------------------- routes


def _route(table: Table) -> RouteRow:
    model = table.text("model", pattern=MODEL_NAME, rule=_MODEL_RULE, length_max=128)
    markup = table.text("markup_percent", "0")
    try:
        price_row("request", "0", markup_percent=markup)
    except ValueError as error:
        table.fault("markup_percent", str(error))
    row = RouteRow(
        model=model,
        provider=table.text("provider", pattern=PROVIDER_NAME, rule=_PROVIDER_RULE),
        upstream_model=table.text(
            "upstream_model", model or "-", _UPSTREAM_NAME, "printable ASCII without spaces"
        ),
        price=_prices(table, "price"),
        cost=_prices(table, "cost"),
        priority=table.integer("priority", least=-1000, most=1000),
        weight=table.integer("weight", 1, most=1_000_000),
        markup_percent=markup,
        enabled=bool(table.flag("enabled", True)),
        place=table.place,
    )
    table.close()
    return row


def _prices(table: Table, key: str) -> tuple[PriceEntry, ...]:
    entries: list[PriceEntry] = []
    for count, row in enumerate(table.tables(key)):
        if count == PRICE_ROWS_MAX:
            table.fault(key, f"has more than {PRICE_ROWS_MAX} rows")
            break
        entry = _price(row)
        for other in entries:
            if other.unit == entry.unit and _same(other, entry):
                row.fault("unit", f"a second row for {entry.unit} with the same conditions")
        entries.append(entry)
    for index, entry in enumerate(entries):
        for other in entries[:index]:
            if _ambiguous(other, entry, entries):
                table.faults.add(
                    (*table.path, key, index),
                    f"this row and row {entries.index(other) + 1} for {entry.unit} can both match"
                    " and are equally specific: add a row with the conditions of both",
                )
    return tuple(entries)


def _price(row: Table) -> PriceEntry:
    unit = row.choice("unit", UNITS)
    usd = row.text("usd")
    if usd:
        try:
            price_row("request", usd)
        except ValueError as error:
            row.fault("usd", str(error))
    when = row.table("when")
    above = when.integer("context_above", 0, least=1, most=10**9)
    conditions: list[tuple[str, str]] = []
    for name, value in when.values.items():
        if name == "context_above":
            continue
        when.take(name)
        if not _ATTRIBUTE_NAME.fullmatch(name):
            when.fault(name, "a condition's name is a-z, 0-9 and '_', at most 32 characters")
        elif isinstance(value, float) or not isinstance(value, str | int):
            when.fault(name, "expected a string, a whole number, true or false")
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if not _ATTRIBUTE_VALUE.fullmatch(text):
                when.fault(name, f"{printable(text)!r} is not a value a request can have")
            conditions.append((name, text))
    row.close()
    return PriceEntry(unit, usd, tuple(sorted(conditions)), above)


def _same(one: PriceEntry, other: PriceEntry) -> bool:
    return one.when == other.when and one.context_above == other.context_above


def _ambiguous(one: PriceEntry, other: PriceEntry, entries: list[PriceEntry]) -> bool:
    """Whether both can match one request, equally specific, with no more specific row for that."""
    if one.unit != other.unit or one.keys != other.keys or one.when == other.when:
        return False  # same conditions: a duplicate, or the higher context_above wins
    both = dict(one.when) | dict(other.when)
    if any(both[key] != value for key, value in one.when):
        return False  # they ask for different values of one attribute
    above = max(one.context_above, other.context_above)
    return not any(
        entry.unit == one.unit
        and entry.keys > one.keys
        and entry.context_above <= above
        and all(both.get(key) == value for key, value in entry.when)
        for entry in entries
    )
