"""Spend limits of keys and organisations: windows leased and spent like money."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.support.money import NOON_US, world
from tokenmarket.billing.funds import Hold
from tokenmarket.billing.wallet import (
    InsufficientFunds,
    SpendLimitReached,
)
from tokenmarket.store.money import DAY_US


async def test_spend_limits_are_all_or_nothing_and_the_smallest_wins() -> None:
    async with world() as w:
        await w.add_owner(org_day=1_000, key_total=300)
        await w.add_owner(key="k2")
        await w.grant(5_000)
        wallet = await w.open()
        funds, other = await wallet.funds("o1", "k1"), await wallet.funds("o1", "k2")
        assert wallet.affordable_nano(funds, "m") == 300
        assert wallet.affordable_nano(other, "m") == 1_000
        hold = w.hold(funds, "r1", 250)
        with pytest.raises(SpendLimitReached) as caught:
            w.hold(funds, "r2", 100)
        limit = caught.value
        assert (limit.owner, limit.period, limit.limit_nano) == ("key", "total", 300)
        assert (limit.used_nano, limit.resets_at_s, limit.in_flight) == (0, None, True)
        with pytest.raises(SpendLimitReached) as caught:
            w.hold(other, "r2", 751)
        assert (caught.value.owner, caught.value.period) == ("organization", "day")
        assert caught.value.resets_at_s == (NOON_US + DAY_US // 2) // 1_000_000
        w.settle(hold, 200)
        assert wallet.affordable_nano(funds, "m") == 100
        assert wallet.affordable_nano(other, "m") == 800
        await wallet.flush()
        assert await w.scalar("SELECT used_nano FROM spend_window WHERE owner_kind = 'key'") == 200
        await wallet.close()
        assert await w.differences() == []


async def test_a_new_day_opens_a_new_window_and_the_old_hold_stays_in_its_own() -> None:
    async with world() as w:
        await w.add_owner(key_day=100)
        await w.grant(5_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        late = w.hold(funds, "r1", 100)
        w.clock.advance(DAY_US)
        with pytest.raises(InsufficientFunds):
            w.hold(funds, "r2", 100)
        assert await wallet.refill(funds, 100)
        w.settle(w.hold(funds, "r2", 100), 100)
        w.settle(late, 60)
        await wallet.flush()
        rows = await w.scalar(
            "SELECT group_concat(used_nano, ',') FROM (SELECT * FROM spend_window ORDER BY id)"
        )
        assert rows == "60,100"
        await wallet.close()
        assert await w.differences() == []


async def test_idle_limits_are_given_back_and_are_not_mistaken_for_used_up() -> None:
    async with world() as w:
        await w.add_owner(key_month=100)
        await w.grant(5_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        w.settle(w.hold(funds, "r1", 50), 30)
        await wallet.flush()
        w.clock.advance(11_000_000)
        await wallet.release_idle(w.clock.monotonic)
        w.clock.advance(11_000_000)
        await wallet.release_idle(w.clock.monotonic)
        assert await w.scalar("SELECT leased_nano FROM spend_window") == 0
        with pytest.raises(InsufficientFunds):
            w.hold(funds, "r2", 70)
        assert await wallet.refill(funds, 70)
        hold = w.hold(funds, "r2", 70)
        with pytest.raises(SpendLimitReached):
            w.hold(funds, "r3", 1)
        w.settle(hold, 70)
        await wallet.close()
        assert await w.differences() == []


async def test_limits_change_while_requests_run() -> None:
    async with world() as w:
        await w.add_owner(key_total=1_000)
        await w.grant(5_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        hold = w.hold(funds, "r1", 800)
        await w.limit(key_total=500)
        await wallet.reload()
        assert await wallet.refill(funds, 0)
        assert wallet.affordable_nano(funds, "m") == 0
        with pytest.raises(SpendLimitReached):
            w.hold(funds, "r2", 1)
        w.settle(hold, 300)
        assert wallet.affordable_nano(funds, "m") == 200
        await w.limit(key_total=2_000)
        await wallet.reload()
        assert await wallet.refill(funds, 0)
        assert wallet.affordable_nano(funds, "m") == 1_700
        await w.limit(key_total=None)
        await wallet.reload()
        assert await wallet.refill(funds, 0)
        assert wallet.affordable_nano(funds, "m") == 4_700
        await wallet.close()
        assert await w.differences() == []


async def test_a_limit_set_late_counts_what_was_spent_before() -> None:
    async with world() as w:
        await w.add_owner()
        await w.grant(5_000)
        wallet = await w.open()
        funds = await wallet.funds("o1", "k1")
        w.settle(w.hold(funds, "r1", 400), 400)
        await wallet.flush()
        await w.limit(key_day=500)
        await wallet.reload()
        assert await wallet.refill(funds, 0)
        assert wallet.affordable_nano(funds, "m") == 100
        await wallet.close()
        assert await w.differences() == []


async def test_the_keys_of_a_team_share_its_budget_to_the_last_nano() -> None:
    async with world() as w:
        for key in ("k1", "k2", "k3"):
            await w.add_owner(key=key)
        await w.add_team("k1", "k2", team_month=1_000)
        await w.grant(50_000)
        wallet = await w.open()
        one, two = await wallet.funds("o1", "k1"), await wallet.funds("o1", "k2")
        alone = await wallet.funds("o1", "k3")
        holds: list[Hold] = []
        for number in range(40):  # both keys in turn, 60 each: 16 fit
            with suppress(SpendLimitReached):
                holds.append(w.hold(one if number % 2 else two, f"r{number}", 60))
        assert len(holds) == 16
        holds.append(w.hold(one, "exact", 40))
        for funds in (one, two):
            with pytest.raises(SpendLimitReached) as caught:
                w.hold(funds, "more", 1)
            assert (caught.value.owner, caught.value.period) == ("team", "month")
        w.settle(w.hold(alone, "outside", 5_000), 5_000)
        for hold in holds:
            w.settle(hold, hold.amount_nano)
        await wallet.flush()
        used = await w.scalar("SELECT used_nano FROM spend_window WHERE owner_kind = 'team'")
        assert used == 1_000
        await wallet.close()
        assert await w.differences() == []


async def test_a_budget_set_later_counts_what_the_teams_keys_have_spent() -> None:
    async with world() as w:
        for key in ("k1", "k2", "k3"):
            await w.add_owner(key=key)
        await w.add_team("k1", "k2")
        await w.grant(50_000)
        wallet = await w.open()
        for number, key in enumerate(("k1", "k2", "k3")):
            funds = await wallet.funds("o1", key)
            w.settle(w.hold(funds, f"r{number}", 100), 100)
        await wallet.flush()
        await w.limit(team_month=250)
        await wallet.reload()
        funds = await wallet.funds("o1", "k1")
        assert await wallet.refill(funds, 50)
        assert wallet.affordable_nano(funds, "m") == 50
        with pytest.raises(SpendLimitReached):
            w.hold(funds, "too much", 51)
        w.settle(w.hold(funds, "fits", 50), 50)
        await wallet.flush()
        await wallet.close()
        assert await w.differences() == []
        opening = await w.scalar("SELECT opening_nano FROM spend_window WHERE owner_kind = 'team'")
        assert opening == 200
