"""Task rows: tenants, pages, leases and compare-and-set; files and notices beside them."""

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from tests.support.money import World, world
from tokenmarket.core.sealing import SealBroken
from tokenmarket.core.tasks import LIVE, TERMINAL, may_step
from tokenmarket.store import assets, tasks, webhooks
from tokenmarket.store.assets import Asset
from tokenmarket.store.database import Database
from tokenmarket.store.task_tables import asset, task, webhook_delivery
from tokenmarket.store.tasks import TaskRow
from tokenmarket.store.webhooks import Delivery, NewDelivery

SECOND = 1_000_000


@pytest.fixture
async def w() -> Any:
    async with world() as made:
        await made.grant(10_000)
        await made.grant(10_000, org="o2")
        await made.open()
        yield made
        await made.wallet.close()


@pytest.mark.parametrize(
    ("struct", "table"), [(TaskRow, task), (Asset, asset), (Delivery, webhook_delivery)]
)
def test_structs_have_the_columns_of_their_tables(struct: Any, table: Any) -> None:
    assert list(struct.__struct_fields__) == [column.name for column in table.columns]


def test_states() -> None:
    for state in LIVE:
        assert may_step(state, state)
        assert any(may_step(state, end) for end in TERMINAL)
    for end in TERMINAL:
        assert not any(may_step(end, state) for state in (*LIVE, *TERMINAL))
    assert not may_step("accepted", "running")
    assert not may_step("finalizing", "running")
    assert not may_step("nonsense", "nonsense")


async def test_another_organisations_task_is_none(w: World) -> None:
    row = await w.task("a", 100)
    assert await tasks.by_id(w.database, "o1", row.id) == row
    assert await tasks.by_id(w.database, "o2", row.id) is None
    assert await tasks.by_id(w.database, "o1", "video_b") is None
    assert await tasks.page(w.database, "o2") == ([], False)


async def test_pages(w: World) -> None:
    for name in "abcde":
        await w.task(name, 1, model="n" if name == "c" else "m")
    await w.task("f", 1, org="o2", key="k2")

    async def names(**options: Any) -> tuple[str, bool]:
        rows, more = await tasks.page(w.database, "o1", **options)
        return "".join(row.id[-1] for row in rows), more

    assert await names() == ("edcba", False)
    assert await names(limit=2) == ("ed", True)
    assert await names(limit=2, after="video_d") == ("cb", True)
    assert await names(limit=2, after="video_b") == ("a", False)
    assert await names(limit=3, ascending=True) == ("abc", True)
    assert await names(after="video_d", ascending=True) == ("e", False)
    assert await names(model="n") == ("c", False)
    assert await names(states=["running"]) == ("", False)
    assert await names(states=["accepted", "running"], limit=1) == ("e", True)


async def test_a_deleted_task_is_gone_for_its_caller_only(w: World) -> None:
    row = await w.task("a", 100)
    assert not await tasks.hide(w.database, row, 5)  # it still runs
    ended = await w.settle_task(row, 0, "rejected")
    assert ended is not None
    assert await tasks.hide(w.database, ended, 5)
    assert not await tasks.hide(w.database, ended, 6)
    assert await tasks.by_id(w.database, "o1", row.id) is None
    assert await tasks.page(w.database, "o1") == ([], False)
    kept = await tasks.any_by_id(w.database, row.id)
    assert kept is not None
    assert kept.hidden_us == 5


async def test_a_step_is_taken_by_one(w: World) -> None:
    row = await w.task("a", 100)
    step = tasks.transition
    won = await asyncio.gather(*(step(w.database, row, "submitting", polls=n) for n in range(9)))
    (row,) = [found for found in won if found is not None]
    assert (row.state, row.state_seq) == ("submitting", 1)
    same = await step(w.database, row, "submitting", progress=7, upstream_id="u1")
    assert same is not None
    assert (same.state, same.state_seq, same.progress) == ("submitting", 2, 7)
    assert await tasks.by_upstream_id(w.database, "sandbox", "u1") == [same]
    assert await tasks.by_upstream_id(w.database, "other", "u1") == []
    assert await tasks.by_upstream_id(w.database, "sandbox", "") == []
    for state in ("succeeded", "failed", "nonsense"):
        with pytest.raises(ValueError, match="does not step"):
            await step(w.database, same, state)


async def test_due_tasks_are_claimed_by_exactly_one_worker(w: World) -> None:
    for name in "abcdef":
        await w.task(name, 1)
    now_us = w.clock.wall
    assert await tasks.claim_due(w.database, "p1", now_us, SECOND, 10) == []
    assert await tasks.next_due_us(w.database) == now_us + 5 * SECOND
    now_us += 5 * SECOND
    claims = await asyncio.gather(
        *(tasks.claim_due(w.database, f"p{n}", now_us, SECOND, 2) for n in range(9))
    )
    got = [(row.id, row.lease_owner) for rows in claims for row in rows]
    assert sorted(name for name, _ in got) == [f"video_{name}" for name in "abcdef"]
    assert [len(rows) for rows in claims if rows] == [2, 2, 2]
    assert await tasks.claim_due(w.database, "p0", now_us, SECOND, 10) == []
    assert await tasks.next_due_us(w.database) == now_us + SECOND
    again = await tasks.claim_due(w.database, "late", now_us + SECOND, SECOND, 10)
    assert len(again) == 6  # nobody finished in time
    first = next(row for rows in claims for row in rows if row.id == again[0].id)
    assert await tasks.transition(w.database, first, "submitting") is None  # it lost its lease
    await tasks.release(w.database, first, 0)  # and cannot give the other's back
    assert await tasks.claim_due(w.database, "p0", now_us + SECOND, SECOND, 10) == []
    await tasks.release(w.database, again[0], now_us)
    (mine,) = await tasks.claim_due(w.database, "p0", now_us + SECOND, SECOND, 10)
    assert mine.id == again[0].id
    assert await tasks.live_counts(w.database) == {"accepted": 6}


async def test_who_makes_a_task_submits_it(w: World) -> None:
    now_us = w.clock.wall
    owned = await w.task(
        "a", 1, lease_owner="p0", lease_until_us=now_us + 60 * SECOND, next_poll_us=now_us
    )
    assert await tasks.claim_due(w.database, "p1", now_us + SECOND, SECOND, 9) == []
    ended = await w.settle_task(owned, 0, "failed")
    assert ended is not None
    assert ended.lease_owner == ""
    assert await tasks.claim_due(w.database, "p1", now_us + 99 * SECOND, SECOND, 9) == []


async def test_looking_for_work_reads_one_small_index(w: World) -> None:
    due = (
        "EXPLAIN QUERY PLAN SELECT id FROM task WHERE completed_us = 0"
        " AND next_poll_us <= :now AND lease_until_us <= :now ORDER BY next_poll_us, id"
    )
    async with w.database.read() as conn:
        plan = await conn.execute(text(due), {"now": 5})
        assert any("ix_task_due" in str(line) for line in plan.all())


# ------------------------------------------------------------------------------------------- files


def stored(name: str, **more: Any) -> Asset:
    known = {
        "id": f"asset_{name}",
        "org_id": "o1",
        "kind": "video",
        "store_key": name,
        "content_type": "video/mp4",
        "size_bytes": 5,
        "sha256": "00",
        "created_us": 1,
        "expires_us": 100,
    }
    return Asset(**{**known, **more})


async def test_files(database: Database) -> None:
    one, two = stored("a", task_id="video_1", number=1), stored("b", task_id="video_1")
    image = stored("c", request_id="req_1", kind="image", expires_us=200, width=64)
    await assets.add(database, [one, two, image])
    await assets.add(database, [msgspec.structs.replace(one, size_bytes=9)])  # stays as it was
    await assets.add(database, [])
    assert await assets.of_task(database, "o1", "video_1") == [two, one]
    assert await assets.of_task(database, "o2", "video_1") == []
    assert await assets.of_task(database, "o1", "") == []
    assert await assets.by_id(database, "o1", "asset_c") == image
    assert await assets.by_id(database, "o2", "asset_c") is None
    over = await assets.expired(database, 100, 10)
    assert {item.id for item in over} == {"asset_a", "asset_b"}
    await assets.mark_deleted(database, [item.id for item in over], 150)
    assert await assets.expired(database, 199, 10) == []
    assert await assets.of_task(database, "o1", "video_1") == []
    gone = await assets.by_id(database, "o1", "asset_a")
    assert gone is not None
    assert gone.deleted_us == 150


# ----------------------------------------------------------------------------------------- notices


async def queued(database: Database, name: str, kind: str = "video.completed") -> None:
    async with database.begin() as conn:
        await webhooks.queue(
            conn,
            NewDelivery(
                id=f"evt_{name}",
                org_id="o1",
                task_id="video_1",
                url="https://x.test",
                type=kind,
                body="{}",
                created_us=10,
            ),
        )


async def test_a_notice_is_sent_until_it_is_delivered(database: Database) -> None:
    await queued(database, "a")
    await queued(database, "b")  # the same task and type: nothing new
    claims = await asyncio.gather(
        *(webhooks.claim_due(database, f"p{n}", 10, 5, 10) for n in range(5))
    )
    ((first,),) = [rows for rows in claims if rows]
    assert (first.id, first.attempts) == ("evt_a", 1)
    assert await webhooks.claim_due(database, "p", 14, 5, 10) == []
    (second,) = await webhooks.claim_due(database, "p", 15, 5, 10)  # the first sender died
    assert not await webhooks.finish(database, first, 16, status=200, error="", again_us=None)
    assert await webhooks.finish(database, second, 16, status=500, error="500", again_us=40)
    (third,) = await webhooks.claim_due(database, "p", 40, 5, 10)
    assert (third.attempts, third.last_status, third.last_error) == (3, 500, "500")
    assert await webhooks.finish(database, third, 41, status=200, error="", again_us=None)
    assert await webhooks.claim_due(database, "p", 10**9, 5, 10) == []
    (done,) = await webhooks.of_task(database, "o1", "video_1")
    assert (done.delivered_us, done.disabled_us) == (41, 0)
    assert await webhooks.of_task(database, "o2", "video_1") == []


async def test_a_notice_is_given_up(database: Database) -> None:
    await queued(database, "a")
    (row,) = await webhooks.claim_due(database, "p", 10, 5, 10)
    assert await webhooks.finish(database, row, 11, status=410, error="gone", again_us=None)
    assert await webhooks.claim_due(database, "p", 10**9, 5, 10) == []
    (done,) = await webhooks.of_task(database, "o1", "video_1")
    assert (done.delivered_us, done.disabled_us, done.last_status) == (0, 11, 410)


async def test_signing_secrets_overlap_and_are_nowhere_in_clear(database: Database) -> None:
    kek, old, new = b"k" * 32, b"the old signing secret", b"the new signing secret"
    await webhooks.add_secret(database, kek, "o1", old, 10, overlap_us=100)
    await webhooks.add_secret(database, kek, "o2", b"another", 10, overlap_us=100)
    await webhooks.add_secret(database, kek, "o1", new, 20, overlap_us=100)

    async def signing(now_us: int) -> list[bytes]:
        return [row.secret for row in await webhooks.secrets(database, kek, "o1", now_us)]

    assert await signing(119) == [new, old]
    assert await signing(120) == [new]
    assert b"old" not in repr(await webhooks.secrets(database, kek, "o1", 20)).encode()
    with pytest.raises(SealBroken):
        await webhooks.secrets(database, b"x" * 32, "o1", 20)
    async with database.begin() as conn:  # moved to another organisation it does not open
        await conn.execute(text("UPDATE webhook_secret SET org_id = 'o3' WHERE org_id = 'o2'"))
    with pytest.raises(SealBroken):
        await webhooks.secrets(database, kek, "o3", 20)
    await database.close()
    for file in database.path.parent.iterdir():
        assert new not in file.read_bytes()
