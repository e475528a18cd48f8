"""What the money machine does with tasks. Its oracle: a task holds until it ends, once; ends and
refunds that come twice change nothing; a process may die in between."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.support.losing import losing
from tests.support.money import World
from tokenmarket.billing.funds import InsufficientFunds, SpendLimitReached
from tokenmarket.store import tasks
from tokenmarket.store.money_moves import Unavailable
from tokenmarket.store.tasks import TaskRow

LOST = st.sampled_from(["", "", "", "answer", "work"])


class TaskRules(RuleBasedStateMachine):
    world: World
    number: int
    credit: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, TaskRow] = {}  # live ones, by request id
        self.ended: dict[str, TaskRow] = {}
        self.task_charges: dict[str, int] = {}

    def do(self, work: Awaitable[Any]) -> Any:
        raise NotImplementedError

    def task_held(self, org: str) -> int:
        return sum(row.held_nano for row in self.tasks.values() if row.org_id == org)

    def task_charged(self, org: str) -> int:
        return sum(n for name, n in self.task_charges.items() if self.ended[name].org_id == org)

    @rule(
        org=st.sampled_from(["o1", "o2"]),
        key=st.sampled_from(["k1", "k2"]),
        amount=st.integers(0, 1_000),
        lost=LOST,
    )
    def make_task(self, org: str, key: str, amount: int, lost: str) -> None:
        self.number += 1
        name = f"t{self.number}"
        made = None
        # first, so that what is lost below is the making, not a refill: a bucket that a lost refill
        # leased is known again only at the next one
        funds = self.do(self.world.wallet.funds(org, org + key))
        if lost:
            self.do(self.world.wallet.refill(funds, amount, "m"))
        with losing(self.world, lost):
            try:
                made = self.do(self.world.task(name, amount, org=org, key=org + key))
            except (InsufficientFunds, SpendLimitReached):
                return  # that nothing is held then, balance and books say
            except Unavailable:
                assert lost
        there = self.do(tasks.any_by_id(self.world.database, f"video_{name}"))
        assert there == made
        if there is not None:
            self.tasks[there.request_id] = there

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), state=st.sampled_from(["submitting", "submit_unknown", "running"]))
    def step_task(self, data: st.DataObject, state: str) -> None:
        row = self.tasks[data.draw(st.sampled_from(sorted(self.tasks)))]
        with contextlib.suppress(ValueError):  # no such step from there
            moved = self.do(tasks.transition(self.world.database, row, state))
            self.tasks[row.request_id] = moved

    @precondition(lambda self: self.tasks)
    @rule(
        data=st.data(),
        charge=st.integers(0, 1_200),
        state=st.sampled_from(["succeeded", "succeeded", "failed", "cancelled", "expired"]),
        lost=LOST,
        times=st.integers(1, 3),
    )
    def end_task(self, data: st.DataObject, charge: int, state: str, lost: str, times: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.tasks)))
        row = self.tasks[name]
        if row.state == "accepted" and state == "succeeded":
            state = "rejected"
        due = charge if state == "succeeded" else 0
        with losing(self.world, lost), contextlib.suppress(Unavailable):
            self.do(self.world.settle_task(row, due, state))
        for _ in range(times):  # whatever was lost, and what others noticed too
            self.do(self.world.settle_task(row, due, state))
        ended = self.do(tasks.any_by_id(self.world.database, row.id))
        assert (ended.state, ended.state_seq) == (state, row.state_seq + 1)
        assert ended.charged_nano == min(due, row.held_nano)
        del self.tasks[name]
        self.ended[name] = ended
        self.task_charges[name] = ended.charged_nano

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), lost=LOST)
    def refund_task(self, data: st.DataObject, lost: str) -> None:
        row = self.ended[data.draw(st.sampled_from(sorted(self.ended)))]
        before = self.do(tasks.refunded_nano(self.world.database, row))
        with losing(self.world, lost), contextlib.suppress(Unavailable):
            self.do(self.world.wallet.tasks.refund(row.id, "test"))
        for _ in range(2):
            self.do(self.world.wallet.tasks.refund(row.id, "test"))
        assert self.do(tasks.refunded_nano(self.world.database, row)) == row.charged_nano
        self.credit[row.org_id] += (row.charged_nano or 0) - before

    def end_all_tasks(self) -> None:
        for name, row in self.tasks.items():
            self.ended[name] = self.do(self.world.settle_task(row, 0, "failed"))
            self.task_charges[name] = 0
        self.tasks = {}
