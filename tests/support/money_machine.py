"""T1.1: a machine that does everything that can happen to money, over the real SQL.

The oracle keeps its own books in plain dicts and knows nothing of leases. After every step all
invariants hold; at the end everything dead is adopted, and every request has been charged exactly
what the oracle says.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Awaitable
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from tests.support import straight_payments
from tests.support.losing import losing
from tests.support.money import World, database_at, memory_folder, usage_event
from tests.support.task_rules import TaskRules
from tokenmarket.billing import verify
from tokenmarket.billing.funds import Hold, InsufficientFunds, SpendLimitReached
from tokenmarket.ledger import grants, refunds
from tokenmarket.store.money import DAY_US, NEVER_US
from tokenmarket.store.money_checks import read_books
from tokenmarket.store.money_ledger import Short, lines
from tokenmarket.store.money_moves import Unavailable, lease_rests

AMOUNTS = st.integers(1, 1_000)
ORGS = ("o1", "o2")


class Asked(NamedTuple):
    """What the oracle knows of one request, with the journal positions of what was written."""

    org: str
    key: str
    held: int
    hold_at: int
    progress: list[tuple[int, int]]  # (position, charge)
    end: tuple[int, int] | None  # (position, charge); a receipt without hold has held = -1


class MoneyMachine(TaskRules):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = memory_folder()
        self.number = 0
        self.asked_seldom = 0
        self.checked_at = -1
        self.live: dict[str, Hold] = {}
        self.asked: dict[str, Asked] = {}
        self.charges: dict[str, int] = {}  # what SQL must say in the end
        self.credit = dict.fromkeys(ORGS, 0)
        self.expired = dict.fromkeys(ORGS, 0)
        self.refunded: dict[str, int] = {}

    def do(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        database = self.do(database_at(self.folder / "money.db"))
        self.world = World(self.folder, database)
        for org in ORGS:
            self.do(self.world.add_owner(org, f"{org}k1"))
            self.do(self.world.add_owner(org, f"{org}k2"))
        for org in ORGS:  # enough to begin with, else most steps would be refusals
            self.do(self.world.grant(3_000, "g0", org))
            self.credit[org] += 3_000
        self.do(self.world.open(segment_bytes=2_048))

    def seldom(self) -> bool:
        """Every fourth time: so that requests, not paperwork, fill the steps."""
        self.asked_seldom += 1
        return self.asked_seldom % 4 == 0

    # ------------------------------------------------------------------------------ money in, time

    @rule(org=st.sampled_from(ORGS), amount=AMOUNTS, days=st.sampled_from([0, 0, 1, 3]))
    def grant(self, org: str, amount: int, days: int) -> None:
        self.number += 1
        ends = self.world.clock.wall + days * DAY_US if days else NEVER_US
        for first in (True, False):  # the second does nothing
            given = self.do(self.world.grant(amount, f"g{self.number}", org, expires_us=ends))
            assert given is first
        self.credit[org] += amount

    @rule(org=st.sampled_from(ORGS), amount=AMOUNTS)
    def top_up(self, org: str, amount: int) -> None:
        self.number += 1
        for first in (True, False):
            paid = straight_payments.top_up(
                self.world.database,
                org_id=org,
                psp="psp",
                payment_id=f"p{self.number}",
                amount_nano=amount,
                now_us=self.world.clock.wall,
            )
            assert self.do(paid) is first
        self.credit[org] += amount

    @precondition(seldom)
    @rule(org=st.sampled_from(ORGS), amount=AMOUNTS)
    def take_back(self, org: str, amount: int) -> None:
        self.number += 1
        adjusting = grants.adjust(
            self.world.database,
            org_id=org,
            adjustment_id=f"a{self.number}",
            amount_nano=-amount,
            reason="test",
            now_us=self.world.clock.wall,
        )
        try:
            self.do(adjusting)
            self.credit[org] -= amount
        except Short:
            pass

    @rule(us=st.sampled_from([1, 1_000_000, 11_000_000, DAY_US]), jump=st.booleans())
    def time_passes(self, us: int, jump: bool) -> None:
        self.world.clock.advance(us)
        if jump:  # somebody sets the wall clock back
            self.world.clock.wall -= us // 2

    @precondition(seldom)
    @rule()
    def expire(self) -> None:
        self.do(grants.expire(self.world.database, self.world.clock.wall))
        for org in ORGS:
            moved = self.do(lines(self.world.database, org, NEVER_US, "", 10_000))
            expired = sum(item.amount_nano for item in moved if item.kind == "expiry")
            self.credit[org] -= expired - self.expired[org]
            self.expired[org] = expired

    @precondition(seldom)
    @rule(
        org=st.sampled_from(ORGS),
        owner=st.sampled_from(["org", "key"]),
        period=st.sampled_from(["day", "total"]),
        limit=st.sampled_from([None, 100, 700, 2_000]),
    )
    def set_limit(self, org: str, owner: str, period: str, limit: int | None) -> None:
        self.do(self.world.limit(org, f"{org}k1", **{f"{owner}_{period}": limit}))
        self.do(self.world.wallet.reload())

    # ------------------------------------------------------------------------------------ requests

    @rule(
        org=st.sampled_from(ORGS),
        key=st.sampled_from(["k1", "k2"]),
        amounts=st.lists(AMOUNTS, min_size=1, max_size=4),
        steps=st.lists(st.integers(0, 1_500), max_size=4),
        ends=st.lists(st.integers(0, 1_200), max_size=4),
        posted=st.booleans(),
    )
    def requests(
        self,
        org: str,
        key: str,
        amounts: list[int],
        steps: list[int],
        ends: list[int],
        posted: bool,
    ) -> None:
        for amount in amounts:
            self.request(org, key, amount)
        for charge, name in zip(steps, sorted(self.live), strict=False):
            self.step(name, charge)
        for charge, name in zip(ends, sorted(self.live), strict=False):
            self.end(name, charge)
        if posted:
            self.sync()
            self.post("")

    def request(self, org: str, key: str, amount: int) -> None:
        self.number += 1
        name, key = f"r{self.number}", org + key
        wallet = self.world.wallet
        funds = self.do(wallet.funds(org, key))
        for attempt in range(2):
            affordable = wallet.affordable_nano(funds, "m")
            try:
                hold = self.world.hold(funds, name, amount)
            except InsufficientFunds:
                stale = funds.stale or any(
                    not window.covers(self.world.clock.wall) for window in funds.windows
                )
                assert stale or affordable < amount
                if attempt or not self.do(wallet.refill(funds, amount)):
                    return
            except SpendLimitReached:
                return
            else:
                self.live[name] = hold
                self.asked[name] = Asked(org, key, amount, wallet._journal.place, [], None)
                return

    @precondition(lambda self: self.live)
    @rule(data=st.data(), charge=st.integers(0, 1_500))
    def progress(self, data: st.DataObject, charge: int) -> None:
        self.step(data.draw(st.sampled_from(sorted(self.live))), charge)

    def step(self, name: str, charge: int) -> None:
        self.world.wallet.progress(self.live[name], charge)
        self.asked[name].progress.append((self.world.wallet._journal.place, charge))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), charge=st.integers(0, 1_200))
    def settle(self, data: st.DataObject, charge: int) -> None:
        self.end(data.draw(st.sampled_from(sorted(self.live))), charge)

    def end(self, name: str, charge: int) -> None:
        hold = self.live.pop(name)
        captures: list[Any] = []
        place = self.world.wallet.settle(
            hold, charge, lambda c: captures.append(c) or self.world.event(hold)(c)
        )
        captured = captures[0].charged_nano
        assert min(charge, hold.amount_nano) <= captured <= charge
        assert captured + captures[0].uncollected_nano == charge
        self.asked[name] = self.asked[name]._replace(end=(place, captured))
        self.charges[name] = captured

    @rule(org=st.sampled_from(ORGS))
    def refused(self, org: str) -> None:
        self.number += 1
        name = f"r{self.number}"
        place = self.world.wallet.record(
            usage_event(name, org, org + "k1", self.world.clock.wall, status="rejected")
        )
        self.asked[name] = Asked(org, org + "k1", -1, place, [], (place, 0))
        self.charges[name] = 0

    @precondition(lambda self: self.charges)
    @rule(data=st.data(), amount=AMOUNTS)
    def refund(self, data: st.DataObject, amount: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.charges)))
        self.number += 1
        done = False
        for _ in range(2):
            with contextlib.suppress(refunds.NotRefundable):
                done |= self.do(
                    refunds.refund(
                        self.world.database,
                        request_id=name,
                        refund_id=str(self.number),
                        amount_nano=amount,
                        reason="test",
                        now_us=self.world.clock.wall,
                    )
                )
        if done:
            self.refunded[name] = self.refunded.get(name, 0) + amount
            self.credit[self.asked[name].org] += amount
            assert self.refunded[name] <= self.charges[name]

    # --------------------------------------------------------------------------- disk, SQL, leases

    @rule()
    def sync(self) -> None:
        self.do(self.world.wallet._journal.flush())

    @rule(lost=st.sampled_from(["", "", "answer", "work"]))
    def post(self, lost: str) -> None:
        wallet = self.world.wallet
        if lost:
            with losing(self.world, lost), contextlib.suppress(Unavailable):
                self.do(wallet._poster.run(wallet._journal.synced))
        else:
            self.do(wallet._poster.run(wallet._journal.synced))

    @rule(lost=st.sampled_from(["", "answer", "work"]))
    def give_back(self, lost: str) -> None:
        wallet = self.world.wallet
        with losing(self.world, lost), contextlib.suppress(Unavailable):
            self.do(wallet.release_idle(self.world.clock.monotonic))

    # -------------------------------------------------------------------------------------- deaths

    @rule(power=st.booleans(), died_adopting=st.booleans())
    def death(self, power: bool, died_adopting: bool) -> None:
        synced = self.world.wallet._journal.synced if power else 1 << 62
        self.do(self.world.power_loss() if power else self.world.crash())
        for name, asked in list(self.asked.items()):
            if name in self.charges and asked.end is not None and asked.end[0] <= synced:
                continue
            if asked.hold_at > synced or asked.held < 0:
                self.charges.pop(name, None)
                del self.asked[name]  # nobody will ever know
                continue
            reached = [charge for place, charge in asked.progress if place <= synced]
            charge = min(asked.held, reached[-1]) if reached else 0
            self.charges[name] = charge
            self.asked[name] = asked._replace(end=(0, charge))
        self.asked = {n: a._replace(end=(0, a.end[1])) for n, a in self.asked.items() if a.end}
        self.live = {}
        if died_adopting:
            self._die_adopting()
        self.do(self.world.open(segment_bytes=2_048))

    def _die_adopting(self) -> None:
        class Died(Exception):
            pass

        def die(point: str) -> None:
            if point == "adopt_close":
                raise Died

        with contextlib.suppress(Died):
            self.do(self.world.open(failpoint=die))

    @precondition(seldom)
    @rule()
    def restart(self) -> None:
        if not self.live:
            self.do(self.world.wallet.close())
            pending = self.do(self.world.scalar("SELECT SUM(dr_pending) FROM account"))
            assert (pending or 0) == sum(row.held_nano for row in self.tasks.values())
            self.asked = {n: a._replace(end=(0, a.end[1])) for n, a in self.asked.items() if a.end}
            self.do(self.world.open(segment_bytes=2_048))

    # ---------------------------------------------------------------------------------- invariants

    @invariant()
    def books_are_right(self) -> None:
        if not hasattr(self, "world") or self.world.database.operations == self.checked_at:
            return  # nothing was asked of SQL since
        books = self.do(read_books(self.world.database))
        assert books.wrong == []
        assert list(verify._windows(books)) == []
        self.checked_at = self.world.database.operations

    @invariant()
    def memory_and_sql_agree(self) -> None:
        if not hasattr(self, "world"):
            return
        leases = self.world.wallet._leases
        doubtful = leases._doubtful or self.world.wallet._poster._doubtful
        rests = self.do(lease_rests(self.world.database, self.world.wallet.worker_id))
        for pool in leases.pools.values():
            for item in (*pool.buckets, *pool.windows.values()):
                excess = getattr(item, "excess", 0)
                assert item.held >= 0
                assert item.unposted >= 0
                assert item.free + excess >= 0
                if not doubtful:
                    have = item.free + item.held + item.unposted + item.returning + excess
                    assert rests.get(item.lease_no, 0) == have

    @invariant()
    def nobody_is_below_zero(self) -> None:
        if not hasattr(self, "world"):
            return
        wallet = self.world.wallet
        doubtful = wallet._leases._doubtful or wallet._poster._doubtful
        if doubtful and self.number % 3:
            return  # asking for the balance would end the doubt: let the next steps meet it
        for org in ORGS:
            balance = self.do(wallet.balance(org))
            self.checked_at = self.world.database.operations  # our own question changed nothing
            charged = sum(c for n, c in self.charges.items() if self.asked[n].org == org)
            charged += self.task_charged(org)
            assert balance.balance_nano == self.credit[org] - charged
            held = sum(h.amount_nano for h in self.live.values() if h.org_id == org)
            assert balance.held_nano == held + self.task_held(org)
            assert balance.available_nano >= 0

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self._finish()
        finally:
            if hasattr(self, "world"):
                with contextlib.suppress(Exception):
                    self.world.wallet.abandon()
                self.do(self.world.database.close())
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _finish(self) -> None:
        world = self.world
        for name, hold in self.live.items():
            world.wallet.void(hold, world.event(hold, "failed"))
            self.charges[name] = 0
        self.live = {}
        self.end_all_tasks()
        self.memory_and_sql_agree()
        self.nobody_is_below_zero()
        self.do(world.wallet.close())
        assert self.do(world.differences()) == []
        assert self.do(world.scalar("SELECT SUM(dr_pending) FROM account")) in (0, None)
        assert self.do(world.scalar("SELECT COUNT(*) FROM lease WHERE state = 'open'")) == 0
        assert self.do(world.scalar("SELECT COUNT(*) FROM suspense")) == 0
        posted = self.do(_charges(world))
        assert posted == {**self.charges, **self.task_charges}


async def _charges(world: World) -> dict[str, int]:
    from sqlalchemy import text

    async with world.database.read() as conn:
        rows = await conn.execute(text("SELECT request_id, charge_nano FROM usage_event"))
        return dict(rows.all())
