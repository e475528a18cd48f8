"""Admission asks for money again only while it is not known what there is."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tokenmarket.admission import REFILLS_MAX, Admission
from tokenmarket.billing.clock import Clock
from tokenmarket.billing.wallet import InsufficientFunds, Wallet
from tokenmarket.core.catalog import Model, Provider, Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import parse
from tokenmarket.core.pricing import price_row, price_sheet
from tokenmarket.core.routing import Plan
from tokenmarket.exchange import Exchange

BODY = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'
ROUTE = Route(
    Model("m", "chat", "M", "M", "tests", context_tokens=1000),
    Provider("p", "openai", "https://p.test/v1"),
    "m",
    price_sheet(
        [price_row("input_token", "1", {}, 0, "0"), price_row("output_token", "1", {}, 0, "0")]
    ),
)


class Purse:
    """A wallet that runs a script: what each ``try_hold`` and each ``refill`` does."""

    def __init__(self, free_nano: int, after_refill: Callable[[Any], None]) -> None:
        self.free_nano = free_nano
        self.refills = 0
        self._after_refill = after_refill

    def affordable_nano(self, funds: Any, model: str) -> int:
        return self.free_nano

    def try_hold(self, funds: Any, request_id: str, amount_nano: int, **_: object) -> Any:
        if funds.stale or amount_nano > self.free_nano:
            raise InsufficientFunds(self.free_nano, 0, amount_nano, in_flight=False)
        return SimpleNamespace(amount_nano=amount_nano)

    async def refill(self, funds: Any, need_nano: int, model: str) -> bool:
        self.refills += 1
        funds.stale = False
        self._after_refill(funds)
        return self.free_nano >= need_nano


class Limits:
    def take(self, estimate: int, now_us: int) -> Any:
        return SimpleNamespace(cancel=lambda: None)


async def admitted(purse: Purse) -> None:
    request = parse("chat", BODY)
    caller = SimpleNamespace(
        funds=SimpleNamespace(stale=True), limiter=Limits(), org_id="o", key_id="k"
    )
    inbound = SimpleNamespace(request_id="req_1", started_us=0)
    admission = Admission(
        cast("Any", None),
        cast("Wallet", purse),
        cast("Clock", SimpleNamespace(monotonic_us=lambda: 0)),
    )
    await admission.admit(
        request,
        Plan("default", None, (ROUTE,), ()),
        Exchange("chat", cast("Any", inbound)),
        cast("Any", caller),
    )


async def test_limits_that_change_while_money_is_fetched_refuse_nobody() -> None:
    """It was a 402 that needed less than was available: limits were reloaded between the refill
    and the second try."""
    changes = [True, False]

    def again(funds: Any) -> None:
        funds.stale = changes.pop(0)

    purse = Purse(10**9, again)
    await admitted(purse)
    assert purse.refills == 2


async def test_money_that_is_not_there_is_looked_for_once() -> None:
    purse = Purse(5, lambda funds: None)
    with pytest.raises(ApiError) as refused:
        await admitted(purse)
    assert refused.value.code == "BILLING_001"
    assert purse.refills == 1


async def test_limits_that_never_rest_end_after_a_few_tries() -> None:
    def always(funds: Any) -> None:
        funds.stale = True

    purse = Purse(10**9, always)
    with pytest.raises(ApiError):
        await admitted(purse)
    assert purse.refills == REFILLS_MAX
