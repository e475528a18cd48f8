"""Mutants of the task money (``design/billing-tests.md`` section 9): hold freed twice, refund not
unique, no compare-and-set, a lease claimed twice, and what else would lose or double money.

Made as in ``test_billing_mutants.py``. Not applied: price looked up at settle (the charge is handed
in; that the pinned prices are used is proved by R5).
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.fault.test_billing_mutants import edit
from tests.support.money import World, world
from tokenmarket.billing import leases, tasks, till
from tokenmarket.ledger import refunds
from tokenmarket.store import money_holds
from tokenmarket.store import tasks as rows
from tokenmarket.store.money_moves import Rejected

Patch = pytest.MonkeyPatch


async def made(w: World, amount_nano: int = 600) -> rows.TaskRow:
    await w.add_owner(key_total=700)
    await w.grant(1_000)
    await w.open()
    row = await w.task("a", amount_nano)
    for state in ("submitting", "running"):
        row = await rows.transition(w.database, row, state)
        assert row is not None
    return row


async def books_are_right(w: World) -> None:
    await w.wallet.close()
    assert await w.differences() == []
    assert await w.scalar("SELECT SUM(dr_pending) FROM account") == 0


# ----------------------------------------------------------------------------------------- oracles


async def released_once(w: World) -> None:
    row = await made(w)
    await w.task("b", 50)  # so that there is something to release too much of
    ends = [await w.settle_task(row, 0, "failed") for _ in range(3)]
    assert [end is not None for end in ends] == [True, False, False]
    assert (await w.wallet.balance("o1")) == (1_000, 50, 950)
    assert await w.scalar("SELECT leased_nano FROM spend_window") >= 50
    assert await w.differences() == []


async def charged_once(w: World) -> None:
    row = await made(w)
    ends = [await w.settle_task(row, 300 + n) for n in range(3)]
    assert [end is not None for end in ends] == [True, False, False]
    assert (await w.wallet.balance("o1")) == (700, 0, 700)
    await books_are_right(w)


async def refunded_once(w: World) -> None:
    row = await made(w)
    await w.settle_task(row, 300)
    assert [await w.wallet.tasks.refund(row.id, "") for _ in range(3)] == [300, 0, 0]
    assert (await w.wallet.balance("o1")) == (1_000, 0, 1_000)
    await books_are_right(w)


async def never_above_the_hold(w: World) -> None:
    ended = await w.settle_task(await made(w), 900)
    assert ended is not None
    assert ended.charged_nano == 600
    await books_are_right(w)


async def held_while_it_runs(w: World) -> None:
    await made(w)
    assert await w.differences() == []
    funds = await w.wallet.funds("o1", "k1")
    assert w.wallet.affordable_nano(funds, "m") == 100
    await w.crash()


async def not_spent_on_its_way(w: World) -> None:
    await w.grant(1_000)
    wallet = await w.open()
    funds = await wallet.funds("o1", "k1")
    real = w.database.begin

    @contextlib.asynccontextmanager
    async def begin() -> Any:
        async with real() as conn:
            yield conn
        with contextlib.suppress(till.InsufficientFunds):
            w.hold(funds, "r1", 900)  # while the money is on its way

    w.database.begin = begin  # type: ignore[method-assign]  # somebody comes in between
    await w.task("a", 600)
    del w.database.begin  # type: ignore[method-assign]
    rest = await w.scalar("SELECT granted - captured - returned FROM lease WHERE kind = 'balance'")
    assert wallet.metrics()["held_nano"] <= rest
    await w.crash()


async def one_poller_each(w: World) -> None:
    row = await made(w)
    due_us = row.next_poll_us
    first = await rows.claim_due(w.database, "p1", due_us, 1_000, 9)
    second = await rows.claim_due(w.database, "p2", due_us, 1_000, 9)
    assert (len(first), len(second)) == (1, 0)
    third = await rows.claim_due(w.database, "p2", due_us + 1_000, 1_000, 9)
    assert await rows.transition(w.database, first[0], "queued") is None
    assert await rows.transition(w.database, third[0], "queued") is not None
    await w.crash()


async def all_or_nothing(w: World) -> None:
    await made(w)
    with pytest.raises(Rejected):  # the receipt's id is taken
        await w.task("b", 50, request_id="req_a")
    assert await w.differences() == []
    assert w.wallet.affordable_nano(await w.wallet.funds("o1", "k1"), "m") == 100
    await w.crash()


# ----------------------------------------------------------------------------------------- mutants


def hold_freed_twice(patch: Patch) -> None:
    edit(
        patch,
        money_holds,
        "_end_part",
        ("account.c.dr_pending - amount_nano", "account.c.dr_pending - 2 * amount_nano"),
    )


def limit_freed_twice(patch: Patch) -> None:
    edit(
        patch,
        money_holds,
        "_end_part",
        (
            "spend_window.c.leased_nano - amount_nano",
            "spend_window.c.leased_nano - 2 * amount_nano",
        ),
    )


def no_cas(patch: Patch) -> None:
    conditions = ", task.c.state == row.state, task.c.state_seq == row.state_seq"
    edit(patch, rows, "_step", (conditions, ""))


def no_cas_and_no_look_at_the_hold(patch: Patch) -> None:
    no_cas(patch)
    edit(patch, money_holds, "end", (', hold.c.state == "pending"', ""))


def hold_kept_at_the_end(patch: Patch) -> None:
    async def end(*_: object) -> Any:
        return money_holds.Ended([], [])

    patch.setattr(money_holds, "end", end)


def capture_above_the_hold(patch: Patch) -> None:
    edit(patch, tasks.TaskMoney, "_end", ("min(charge_nano, row.held_nano)", "charge_nano"))


def refund_not_unique(patch: Patch) -> None:
    async def claim(*_: object) -> bool:
        return True

    patch.setattr(refunds, "claim_refund", claim)
    edit(
        patch,
        refunds,
        "refund_task",
        (
            "if found is None or any(item.id.startswith(prefix) for item in earlier):",
            'prefix = f"{task_id}.r{len(earlier)}."\n        if found is None:',
        ),
        ("amount_nano = found[1] - found[2]", "amount_nano = found[1]"),
    )
    edit(patch, refunds, "_give_back", ("leg.amount_nano - back.get(leg.debit, 0)", "due"))


def hold_without_leaving_the_lease(patch: Patch) -> None:
    edit(patch, money_holds, "take", ("for part in sorted(parts):", "for part in ():"))


def hold_before_local_deduction(patch: Patch) -> None:
    edit(
        patch,
        leases.Leases,
        "make_durable",
        ("item.free -= amount  #", "pass  #"),
        ("item.returning -= amount", "item.returning -= amount; item.free -= amount"),
    )


def limits_not_held(patch: Patch) -> None:
    edit(patch, till.Till, "parts_now", ("if amount_nano:", "if False:"))


def claimed_by_anybody(patch: Patch) -> None:
    edit(patch, rows, "claim_due", (", task.c.lease_until_us <= now_us", ""))


def a_lost_lease_still_counts(patch: Patch) -> None:
    edit(patch, rows, "claim_due", ("state_seq=task.c.state_seq + 1,", ""))


def money_not_put_back(patch: Patch) -> None:
    edit(patch, leases.Leases, "make_durable", ("await self._look()", "self._doubtful = False"))


Mutant = Callable[[Patch], None]
Oracle = Callable[[World], Awaitable[None]]
MUTANTS: list[tuple[Mutant, Oracle]] = [
    (hold_freed_twice, released_once),
    (limit_freed_twice, released_once),
    (no_cas, released_once),
    (no_cas_and_no_look_at_the_hold, released_once),
    (no_cas_and_no_look_at_the_hold, charged_once),
    (hold_kept_at_the_end, released_once),
    (capture_above_the_hold, never_above_the_hold),
    (refund_not_unique, refunded_once),
    (hold_without_leaving_the_lease, held_while_it_runs),
    (hold_before_local_deduction, not_spent_on_its_way),
    (limits_not_held, held_while_it_runs),
    (claimed_by_anybody, one_poller_each),
    (a_lost_lease_still_counts, one_poller_each),
    (money_not_put_back, all_or_nothing),
]


@pytest.mark.parametrize("oracle", sorted({o for _, o in MUTANTS}, key=lambda o: o.__name__))
async def test_the_oracle_passes_without_a_mutant(oracle: Oracle) -> None:
    async with world() as w:
        await oracle(w)
        await _let_go(w)


@pytest.mark.parametrize(
    ("mutant", "oracle"), MUTANTS, ids=[f"{m.__name__}-{o.__name__}" for m, o in MUTANTS]
)
async def test_the_mutant_dies(mutant: Mutant, oracle: Oracle) -> None:
    died: BaseException | None = None
    async with world() as w:
        with pytest.MonkeyPatch.context() as patch:
            mutant(patch)
            try:
                await oracle(w)
            except (Exception, pytest.fail.Exception) as error:
                died = error
        await _let_go(w)
    assert died is not None, f"{mutant.__name__} survived"
    assert not isinstance(died, NameError | AttributeError | TypeError | SyntaxError), died


async def _let_go(w: World) -> None:
    wallet: Any = w.wallet
    if wallet is not None:
        with contextlib.suppress(OSError):
            wallet.abandon()
