"""The lane's log line and counts are those of the general way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenmarket.accounts import Caller
from tokenmarket.billing.clock import SystemClock
from tokenmarket.billing.funds import Capture
from tokenmarket.core.wire import Inbound
from tokenmarket.exchange import Exchange
from tokenmarket.telemetry import Log, Telemetry


class Row:
    """Any object with these members."""

    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)


@pytest.mark.parametrize("user", ["", "customer 7", 'x" sk-abcdefghij'])
def test_one_line_both_ways(user: str) -> None:
    blocks: list[bytes] = []
    caller: Caller = Row(org_id="org_1", key_id="key_1")  # type: ignore[assignment]  # two ids
    rooms, lane = (Telemetry(Log(blocks.append, SystemClock()), SystemClock()) for _ in range(2))
    route: Any = Row(model=Row(id="m%d"), provider=Row(name="p"))
    exchange = Exchange("chat", Inbound("req_1", "POST", "/", b"", {}, b"", "", 5_000_000, 70))
    exchange.caller, exchange.route = caller, route
    exchange.status = "succeeded"
    exchange.attempts = [Row()]  # type: ignore[list-item]  # counted only
    exchange.request = Row(typed=Row(user=user, metadata=None))  # type: ignore[assignment]
    exchange.prompt_tokens, exchange.completion_tokens = 7, 5
    exchange.captured = Capture(17, 0, 3, ())
    exchange.first_byte_us = 12_345
    rooms.finished(exchange, 70 + 12_345)
    line = lane.text_line("m%d", "p", caller)
    lane.finished_text(line, b"req_1", 5_012_345, 12_345, 17, 7, 5, user)
    rooms.log.flush()
    lane.log.flush()
    assert blocks[0] == blocks[1]
    assert json.loads(blocks[0])["duration_ms"] == 12.345
    assert b"sk-abc" not in blocks[0]
    assert rooms.render() == lane.render()
