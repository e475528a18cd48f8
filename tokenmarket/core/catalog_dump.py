"""Writes a catalog document as TOML that ``catalog_toml.parse`` reads back unchanged.

Defaults are left out, API keys always are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import cast

from tokenmarket.core.catalog import Model, Provider, ProviderLimits, Timeouts
from tokenmarket.core.catalog_rows import CatalogDocument, PriceEntry, RouteRow

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dump(document: CatalogDocument) -> str:
    """All rows, providers first; sorted, so that two exports can be compared."""
    providers = sorted((row.provider for row in document.providers), key=lambda row: row.name)
    models = sorted((row.model for row in document.models), key=lambda row: row.id)
    routes = sorted(document.routes, key=lambda row: (row.model, row.priority, row.provider))
    tables = [
        *(_table("provider", _provider(row)) for row in providers),
        *(_table("model", _model(row)) for row in models),
        *(_table("route", _route(row)) for row in routes),
    ]
    return "\n".join(tables)


def _table(kind: str, members: dict[str, object]) -> str:
    lines = [f"[[{kind}]]"]
    for key, value in members.items():
        if key in ("price", "cost"):
            rows = cast("list[dict[str, object]]", value)
            lines += [f"{key} = [", *(f"  {_value(row)}," for row in rows), "]"]
        else:
            lines.append(f"{key} = {_value(value)}")
    return "\n".join(lines) + "\n"


def _provider(row: Provider) -> dict[str, object]:
    members: dict[str, object] = {
        "name": row.name,
        "adapter": row.adapter,
        "base_url": row.base_url,
    }
    if row.api_key_env is not None:
        members["api_key_env"] = row.api_key_env
    standard = Timeouts()
    timeouts = {
        name: getattr(row.timeouts, name)
        for name in standard.__struct_fields__
        if getattr(row.timeouts, name) != getattr(standard, name)
    }
    limits = {
        name: getattr(row.limits, name)
        for name in ProviderLimits.__struct_fields__
        if getattr(row.limits, name)
    }
    policy = {
        name: getattr(row.data, name)
        for name in row.data.__struct_fields__
        if getattr(row.data, name) is not None
    }
    members |= _without_empty(
        timeout_s=timeouts, headers=dict(row.headers), limits=limits, data=policy
    )
    if not row.enabled:
        members["enabled"] = False
    return members


def _model(row: Model) -> dict[str, object]:
    name = {"en": row.name_en} | ({"zh": row.name_zh} if row.name_zh != row.name_en else {})
    members: dict[str, object] = {"id": row.id, "operation": row.operation, "name": name}
    members |= _without_empty(
        vendor=row.vendor,
        default_provider=row.default_provider,
        policy="" if row.policy == "default" else row.policy,
        context_tokens=row.context_tokens,
        max_output_tokens=row.max_output_tokens,
        aliases=list(row.aliases),
        capabilities=row.capabilities,
        deprecated_at=row.deprecated_at,
    )
    if not row.enabled:
        members["enabled"] = False
    return members


def _route(row: RouteRow) -> dict[str, object]:
    members: dict[str, object] = {
        "model": row.model,
        "provider": row.provider,
        "upstream_model": row.upstream_model,
    }
    members |= _without_empty(
        priority=row.priority,
        markup_percent="" if row.markup_percent == "0" else row.markup_percent,
        price=_prices(row.price),
        cost=_prices(row.cost),
    )
    if row.weight != 1:
        members["weight"] = row.weight
    if not row.enabled:
        members["enabled"] = False
    return members


def _prices(entries: Iterable[PriceEntry]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for entry in entries:
        when: dict[str, object] = dict(entry.when)
        if entry.context_above:
            when["context_above"] = entry.context_above
        row: dict[str, object] = {"unit": entry.unit, "usd": entry.usd}
        rows.append(row | ({"when": when} if when else {}))
    return rows


def _without_empty(**members: object) -> dict[str, object]:
    return {key: value for key, value in members.items() if value}


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML string, but for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, cast("list[object]", value))) + "]"
    if isinstance(value, dict):
        members = cast("dict[str, object]", value).items()
        if not members:
            return "{}"
        return "{ " + ", ".join(f"{_key(key)} = {_value(member)}" for key, member in members) + " }"
    return repr(value)  # int and finite float: Python writes them as TOML does


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _value(key)
