"""The read-only endpoints: models, receipts, key, credits, usage (``design/api.md`` section 8).

Every object is looked up by the caller's organisation, so another tenant's id is simply not found.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote

import msgspec

from tokenmarket.accounts import Caller
from tokenmarket.billing.clock import Clock
from tokenmarket.billing.wallet import Wallet
from tokenmarket.catalog import CatalogSource
from tokenmarket.core import ids
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.routing import RouteState
from tokenmarket.core.wording import say
from tokenmarket.exchange import Exchange
from tokenmarket.receipts import gather, render, shown

_encode = msgspec.json.Encoder().encode
DAY_US = 86_400_000_000
USAGE_DAYS_DEFAULT = 30
USAGE_DAYS_MAX = 400
GROUPS = ("day", "model", "provider", "key", "operation")

Read = Callable[[Caller, str, bytes], Awaitable[bytes]]
UsageRows = Callable[[str, int, int, list[str]], Awaitable[Sequence[Mapping[str, object]]]]


class Reads:
    """Handlers take (caller, rest of the path, query) and return JSON bytes."""

    def __init__(
        self,
        *,
        catalog: CatalogSource,
        wallet: Wallet,
        running: Callable[[str], Exchange | None],
        route_state: Callable[[Route], RouteState],
        posted_receipt: Callable[[str, str], Awaitable[bytes | None]],
        usage_rows: UsageRows,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._wallet = wallet
        self._running = running
        self._route_state = route_state
        self._posted_receipt = posted_receipt
        self._usage_rows = usage_rows
        self._clock = clock

    def exact(self, prefix: str) -> dict[str, Read]:
        """Paths without a variable part."""
        return {
            f"{prefix}/models": self.models,
            f"{prefix}/key": self.key,
            f"{prefix}/credits": self.credits,
            f"{prefix}/usage": self.usage,
            f"{prefix}/generation": self.generation,
        }

    def prefixes(self, prefix: str) -> tuple[tuple[str, Read], ...]:
        """Paths whose rest names an object."""
        return ((f"{prefix}/models/", self.model), (f"{prefix}/requests/", self.request))

    # --- models ---------------------------------------------------------------------------------

    async def models(self, caller: Caller, rest: str, query: bytes) -> bytes:
        """The list; a key with an allow-list sees its models only."""
        return self._catalog.for_group(caller.group_id).openai_models(caller.allowed.models)

    async def model(self, caller: Caller, rest: str, query: bytes) -> bytes:
        """One model, or its endpoints. Ids may hold one slash."""
        name = unquote(rest)
        endpoints = name.endswith("/endpoints")
        if endpoints:
            name = name.removesuffix("/endpoints")
        catalog = self._catalog.for_group(caller.group_id)
        model = catalog.find_model(name)
        allowed = caller.allowed.models
        if model is None or (allowed is not None and model.id not in allowed):
            near = catalog.near_names(name[:128])
            hint = say(" Did you mean {near}?", near=", ".join(near)) if near else ""
            raise ApiError(
                "MODEL_001",
                say("There is no model {name!r} here.{hint}", name=name[:128], hint=hint),
            )
        item = catalog.openai_model(model)
        if not endpoints:
            return item
        routes = catalog.current.routes.get(model.id, ())
        return _encode(
            {
                "object": "model.endpoints",
                "id": model.id,
                "model": msgspec.Raw(item),
                "endpoints": [self._endpoint(route) for route in routes],
            }
        )

    def _endpoint(self, route: Route) -> dict[str, object]:
        """One route with its live state; what was not measured yet is null."""
        state = self._route_state(route)
        return {
            "provider": route.provider.name,
            "upstream_model": route.upstream_model,
            "priority": route.priority,
            "weight": route.weight,
            "pricing": self._catalog.pricing(route),
            "price_version": route.prices.version,
            "available": state.available and route.enabled and route.provider.enabled,
            "reason": state.reason,
            "retry_after_s": state.retry_after_s,
            "latency_ms": state.latency_ms,
            "tokens_per_s": state.tokens_per_s,
        }

    # --- receipts -------------------------------------------------------------------------------

    async def request(self, caller: Caller, rest: str, query: bytes) -> bytes:
        """The receipt of a running, just finished or posted request."""
        exchange = self._running(rest)
        if (
            exchange is not None
            and exchange.caller is not None
            and exchange.caller.org_id == caller.org_id
        ):
            return _encode(shown(gather(exchange, None, self._clock.monotonic_us())))
        found: bytes | None = None
        if ids.is_id(rest, "req"):
            found = self._wallet.unposted_receipt(caller.org_id, rest)
            if found is None:
                found = await self._posted_receipt(caller.org_id, rest)
        if found is None:
            raise ApiError("REQUEST_004", say("There is no request {rest!r}.", rest=rest[:64]))
        return render(found)

    async def generation(self, caller: Caller, rest: str, query: bytes) -> bytes:
        """``/generation?id=``: the receipt under OpenRouter's path."""
        values = query_values(query, ("id",))
        if "id" not in values:
            raise ApiError("REQUEST_001", "Give the request's id: ?id=req_…", param="id")
        return await self.request(caller, values["id"], b"")

    # --- account ----------------------------------------------------------------------------------

    async def credits(self, caller: Caller, rest: str, query: bytes) -> bytes:
        """Balance, what running requests hold, and what is left to spend."""
        balance = await self._wallet.balance(caller.org_id)
        return _encode(
            {
                "object": "credits",
                "currency": "USD",
                "balance": usd_from_nano(balance.balance_nano),
                "held": usd_from_nano(balance.held_nano),
                "available": usd_from_nano(balance.available_nano),
            }
        )

    async def key(self, caller: Caller, rest: str, query: bytes) -> bytes:
        """What this key may do."""
        if caller.funds is None:
            caller.funds = await self._wallet.funds(caller.org_id, caller.key_id)
        spent = await self._wallet.spent(caller.funds)
        limits = caller.key_limits
        allowed = caller.allowed
        return _encode(
            {
                "object": "key",
                "id": caller.key_id,
                "name": caller.key_name,
                "hint": caller.key_hint,
                "organization": {"id": caller.org_id, "name": caller.org_name},
                "created_at": caller.created_at_s,
                "expires_at": caller.expires_at_s,
                "limits": {
                    "rpm": limits.rpm,
                    "tpm": limits.tpm,
                    "concurrency": limits.concurrency,
                    "spend": [
                        {
                            "scope": limit.owner_kind,
                            "period": limit.period,
                            "limit": usd_from_nano(limit.limit_nano),
                            "used": usd_from_nano(used_nano),
                            "resets_at": None
                            if limit.period == "total"
                            else limit.ends_us // 1_000_000,
                        }
                        for limit, used_nano in spent
                    ],
                },
                "allowed": {
                    "models": _names(allowed.models),
                    "providers": _names(allowed.providers),
                    "operations": _names(allowed.operations),
                    "addresses": None
                    if caller.addresses is None
                    else [str(network) for network in caller.addresses],
                },
            }
        )

    async def usage(self, caller: Caller, rest: str, query: bytes) -> bytes:
        """Sums over settled requests, grouped; days are UTC."""
        values = query_values(query, ("from", "to", "group_by"))
        now_us = self._clock.wall_us()
        to_us = _time_us(values["to"], "to") if "to" in values else now_us + 1
        start_us = (now_us // DAY_US - USAGE_DAYS_DEFAULT + 1) * DAY_US
        from_us = _time_us(values["from"], "from") if "from" in values else min(start_us, to_us)
        if from_us > to_us:
            raise ApiError("REQUEST_001", "'from' is after 'to'.", param="from")
        if to_us - from_us > USAGE_DAYS_MAX * DAY_US:
            raise ApiError(
                "REQUEST_001",
                say("At most {usage_days_max} days.", usage_days_max=USAGE_DAYS_MAX),
                param="from",
            )
        groups = [name for name in values.get("group_by", "day").split(",") if name]
        for name in groups:
            if name not in GROUPS or groups.count(name) > 1:
                raise ApiError(
                    "REQUEST_001",
                    say("group_by takes each of {groups} once.", groups=", ".join(GROUPS)),
                    param="group_by",
                )
        rows = await self._usage_rows(caller.org_id, from_us, to_us, groups)
        return _encode(
            {
                "object": "list",
                "from": from_us // 1_000_000,
                "to": -(-to_us // 1_000_000),
                "group_by": groups,
                "data": [_usage_row(row, groups) for row in rows],
                "total": _usage_row(_total(rows), []),
                "time_zone": "UTC",
            }
        )


SUMS = (
    "requests",
    "failed",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "charge_nano",
)


def _total(rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    return {name: sum(int(str(row[name])) for row in rows) for name in SUMS}


def _usage_row(row: Mapping[str, object], groups: list[str]) -> dict[str, object]:
    shown: dict[str, object] = {name: row[name] for name in groups}
    if "day" in shown:
        day_s = int(str(shown["day"])) * 86_400
        shown["day"] = datetime.fromtimestamp(day_s, UTC).strftime("%Y-%m-%d")
    counts = {name: int(str(row[name])) for name in SUMS}
    return {
        **shown,
        "requests": counts["requests"],
        "failed": counts["failed"],
        "usage": {
            "prompt_tokens": counts["prompt_tokens"],
            "completion_tokens": counts["completion_tokens"],
            "total_tokens": counts["prompt_tokens"] + counts["completion_tokens"],
            "cached_tokens": counts["cached_tokens"],
            "reasoning_tokens": counts["reasoning_tokens"],
        },
        "charged": usd_from_nano(counts["charge_nano"]),
    }


def _names(allowed: frozenset[str] | None) -> list[str] | None:
    return None if allowed is None else sorted(allowed)


def query_values(query: bytes, known: tuple[str, ...]) -> dict[str, str]:
    """The query's values; unknown and repeated names are refused."""
    try:
        values = parse_qs(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20
        )
    except ValueError:
        raise ApiError("REQUEST_001", "The query string cannot be read.") from None
    for name, found in values.items():
        if name not in known or len(found) > 1:
            raise ApiError(
                "REQUEST_001",
                say("Known query parameters: {known}.", known=", ".join(known)),
                param=name[:64],
            )
    return {name: found[0] for name, found in values.items()}


def _time_us(text: str, param: str) -> int:
    """Unix seconds or a UTC date."""
    if re.fullmatch(r"\d{1,11}", text):
        return int(text) * 1_000_000
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        try:
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        except ValueError:
            day = None
        if day is not None:
            return int(day.timestamp()) * 1_000_000
    raise ApiError("REQUEST_001", "Expected unix seconds or a date, as in 2026-11-23.", param=param)
