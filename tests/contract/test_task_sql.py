"""R8 in SQL: a live task has its hold and no charge, an ended one a charge and no hold."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.contract.test_money_sql import NO_TRIGGERS, spoil
from tests.support.money import World, world
from tokenmarket.store import tasks


async def one_of_each(w: World) -> None:
    """``video_a`` succeeded, ``video_b`` failed, ``video_c`` runs."""
    await w.add_owner(key_total=900)
    await w.grant(1_000)
    wallet = await w.open()
    for name, charge, state in (("a", 250, "succeeded"), ("b", 0, "failed")):
        row = await tasks.transition(w.database, await w.task(name, 300), "submitting")
        assert row is not None
        assert await w.settle_task(row, charge, state) is not None
    await w.task("c", 300)
    await wallet.close()
    assert await w.differences() == []


DAMAGE = {
    "hold of a live task ended": (
        ("R8", "R3"),
        ("UPDATE hold SET state = 'void' WHERE ref_id = 'video_c' AND kind = 'balance'",),
    ),
    "its limit given back": (
        ("R8", "R3"),
        ("UPDATE hold SET state = 'void' WHERE ref_id = 'video_c' AND kind = 'window'",),
    ),
    "hold of an ended task left": (
        ("R8", "R3"),
        (
            "UPDATE hold SET state = 'pending', captured_nano = 0"
            " WHERE ref_id = 'video_b' AND kind = 'balance'",
        ),
    ),
    "hold lost": (("R8", "R3"), ("DELETE FROM hold WHERE ref_id = 'video_c'",)),
    "task lost": (("R8",), ("DELETE FROM task WHERE id = 'video_c'",)),
    "hold changed": (("R8", "R3"), ("UPDATE hold SET amount_nano = 299 WHERE ref_id = 'video_c'",)),
    "ended without a receipt": (
        ("R8",),
        ("DELETE FROM usage_event WHERE request_id = 'req_b'",),
    ),
    "charged and still live": (
        ("R8",),
        ("UPDATE task SET completed_us = 0, charged_nano = NULL WHERE id = 'video_a'",),
    ),
    "another charge in the task": (
        ("R8",),
        ("UPDATE task SET charged_nano = 251 WHERE id = 'video_a'",),
    ),
    "another capture in the hold": (
        ("R8",),
        ("UPDATE hold SET captured_nano = 1 WHERE ref_id = 'video_a' AND kind = 'balance'",),
    ),
    "transfer lost": (
        ("R8", "R5", "R2"),
        (*NO_TRIGGERS, "DELETE FROM transfer WHERE id = 'req_a.c'"),
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_the_proof_finds_every_kind_of_damage(name: str) -> None:
    rules, statements = DAMAGE[name]
    async with world() as w:
        await one_of_each(w)
        await spoil(w, *statements)
        assert {found.rule for found in await w.differences()} == set(rules)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE task SET charged_nano = 301 WHERE id = 'video_a'",
        "UPDATE task SET charged_nano = -1 WHERE id = 'video_a'",
        "UPDATE task SET state = 'running' WHERE id = 'video_a'",
        "UPDATE task SET state = 'succeeded' WHERE id = 'video_c'",
        "UPDATE task SET completed_us = 5 WHERE id = 'video_c'",
        "UPDATE task SET charged_nano = NULL WHERE id = 'video_a'",
        "UPDATE task SET request_id = 'req_a' WHERE id = 'video_b'",
        "UPDATE task SET idempotency_key = 'same'",
        "UPDATE hold SET captured_nano = amount_nano + 1",
        "UPDATE hold SET captured_nano = 1 WHERE state = 'void'",
        "UPDATE hold SET ref_id = 'video_a'",
    ],
)
async def test_the_database_refuses(statement: str) -> None:
    async with world() as w:
        await one_of_each(w)
        with pytest.raises(IntegrityError):
            async with w.database.begin() as conn:
                await conn.execute(text(statement))
        assert await w.differences() == []
