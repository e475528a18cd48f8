"""Redeem codes: one credit per code, whoever tries how often; nothing stored that could be used."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from tests.support.money import USD, World
from tests.support.paying import Desk
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.payments.redeem import BatchWishes, NewBatch, TooMany
from tokenmarket.store import redeem
from tokenmarket.store.money import DAY_US


async def batch(desk: Desk, **changes: object) -> NewBatch:
    wishes = BatchWishes("spring", 5 * USD, 3, desk.w.clock.wall + DAY_US)
    return await desk.payments.codes.create(wishes._replace(**changes), actor="user:op")  # type: ignore[arg-type]


async def use(desk: Desk, code: str, org: str = "o1", address: str = "10.0.0.1") -> int:
    return await desk.payments.codes.redeem(org, code, address=address, actor="user:usr_1")


async def test_a_code_is_redeemed_once(desk: Desk, w: World) -> None:
    await w.add_owner("o2", "k2")
    code = (await batch(desk)).codes[0]
    told = await asyncio.gather(
        *(use(desk, code, org) for org in ("o1", "o2") * 10), return_exceptions=True
    )
    assert told.count(5 * USD) == 1
    assert await desk.balance("o1") + await desk.balance("o2") == 5 * USD
    assert await w.differences() == []


async def test_as_people_type_it(desk: Desk) -> None:
    code = (await batch(desk)).codes[0]
    assert len(code) == len("TM-00000-00000-00000-00000")
    typed = f" {code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')} "
    assert await use(desk, typed) == 5 * USD
    with pytest.raises(Taken, match="has redeemed this code"):
        await use(desk, code)


async def test_only_digests_are_stored(desk: Desk, w: World) -> None:
    made = await batch(desk)
    assert made.codes[0] not in repr(made)
    async with w.database.read() as conn:
        rows = (await conn.execute(text("SELECT * FROM redeem_code"))).all()
        stored = " ".join(str(value) for row in rows for value in row)
        for code in made.codes:
            assert code.replace("-", "")[2:] not in stored
            assert code[-10:] not in stored


async def test_one_of_a_batch_per_organisation(desk: Desk, w: World) -> None:
    await w.add_owner("o2", "k2")
    first, second, third = (await batch(desk, one_per_org=True)).codes
    await use(desk, first)
    with pytest.raises(Taken, match="of this kind"):
        await use(desk, second)
    assert await use(desk, third, "o2") == 5 * USD
    assert await use(desk, (await batch(desk, one_per_org=True)).codes[0]) == 5 * USD


async def test_expired_disabled_and_unknown_codes_say_the_same(desk: Desk) -> None:
    made = await batch(desk)
    await desk.payments.codes.disable(made.row.id, actor="user:op")
    late = await batch(desk)
    desk.w.clock.advance(DAY_US)
    texts: set[str] = set()
    for code in (made.codes[0], late.codes[0], "TM-00000-00000-00000-00000", "", "余" * 99):
        with pytest.raises(Refused) as told:
            await use(desk, code)
        texts.add(str(told.value))
    assert len(texts) == 1
    with pytest.raises(Taken):
        await desk.payments.codes.disable(made.row.id, actor="user:op")
    with pytest.raises(NotThere):
        await desk.payments.codes.disable("batch_unknown", actor="user:op")


async def test_guessing_is_slow(desk: Desk, w: World) -> None:
    code = (await batch(desk)).codes[0]
    for number in range(10):
        with pytest.raises(Refused):
            await use(desk, f"guess {number}")
    with pytest.raises(TooMany) as told:
        await use(desk, code)
    assert 0 < told.value.after_s <= 3_601
    await w.add_owner("o2", "k2")
    with pytest.raises(TooMany):
        await use(desk, code, "o2")  # from the same address
    w.clock.advance(3_600_000_000)
    assert await use(desk, code) == 5 * USD


async def test_credit_that_ends_and_is_for_some_models(desk: Desk, w: World) -> None:
    made = await batch(desk, credit_days=3, models=("b/two", "a/one"))
    await use(desk, made.codes[0])
    async with w.database.read() as conn:
        query = text("SELECT expires_us, scope FROM account WHERE kind = 'grant'")
        row = (await conn.execute(query)).one()
        assert tuple(row) == (w.clock.wall + 3 * DAY_US, '["a/one", "b/two"]')
        assert [used for _, used in await redeem.batches(conn)] == [1]
        assert len(await redeem.redeemed_by_org(conn, "o1", 10)) == 1
        assert len(await redeem.redeemed_of_batch(conn, made.row.id, 10)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"codes": 0},
        {"codes": 10_001},
        {"amount_nano": 0},
        {"credit_days": -1},
        {"expires_us": 1},
        {"name": ""},
    ],
)
async def test_absurd_batches_are_refused(desk: Desk, change: dict[str, object]) -> None:
    with pytest.raises(Refused):
        await batch(desk, **change)
