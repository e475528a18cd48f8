"""What happens to the journal of a process that died: it is posted, its open holds are ended.

Proof of death is the kernel's: whoever gets the flock of a journal knows that its owner is gone.
An open hold is charged what its last progress record said, never more than was held; without one
it is void (``design/billing.md`` section 7). The ends that recovery adds stand at virtual positions
after the end of the journal, so an adopter that dies half way is continued, not repeated.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from tokenmarket.billing.clock import Clock
from tokenmarket.billing.frames import JournalCorrupt, segment_of
from tokenmarket.billing.journal import AlreadyRunning, segment_path, take_lock
from tokenmarket.billing.poster import BATCH_RECORDS, Frozen, post_ends, transfer_ids
from tokenmarket.billing.records import End, H, P, S, UsageEvent, V
from tokenmarket.billing.replay import ADOPTED, Story, segments, tell
from tokenmarket.core.money import usd_from_nano
from tokenmarket.store.database import Database
from tokenmarket.store.money import DAY_US
from tokenmarket.store.money_moves import dead_workers, live_workers, read_cursor
from tokenmarket.store.money_posting import Batch, CursorMoved, close_worker

logger = logging.getLogger(__name__)

KEPT_US = 3 * DAY_US  # a database restored from a backup is healed from journals this old


class Recovered(NamedTuple):
    """``quarantined``: (worker, why) whose leases stay pending until a person has looked."""

    adopted: list[str]
    posted: int
    ended: int
    quarantined: list[tuple[str, str]]


async def adopt_dead(
    database: Database,
    root: Path,
    clock: Clock,
    failpoint: Callable[[str], None] = lambda _: None,
) -> Recovered:
    """Tell the story of every dead worker to its end.

    Raises AlreadyRunning if one of them lives, Unavailable, Frozen.
    """
    result = Recovered([], 0, 0, [])
    for worker_id, recorded_dir in await live_workers(database):
        directory = root.joinpath(worker_id)
        if not directory.is_dir():
            directory = Path(recorded_dir)  # the data directory was moved, or is shared
        if not directory.is_dir():
            why = f"its journal {recorded_dir} is gone"
            logger.error("worker %s cannot be adopted: %s", worker_id, why)
            result.quarantined.append((worker_id, why))
            continue
        try:
            lock_fd = take_lock(directory.joinpath("lock"))
        except AlreadyRunning:
            raise AlreadyRunning(
                f"another TokenMarket process (worker {worker_id}) is using this database: "
                "stop it first; one SQLite file serves one process"
            ) from None
        try:
            posted, ended = await _adopt(database, directory, worker_id, clock, failpoint)
            result.adopted.append(worker_id)
            result = result._replace(posted=result.posted + posted, ended=result.ended + ended)
        except JournalCorrupt as error:
            logger.error("journal of worker %s is corrupt: %s", worker_id, error)
            result.quarantined.append((worker_id, str(error)))
        finally:
            os.close(lock_fd)
    return result


async def _adopt(
    database: Database,
    directory: Path,
    worker_id: str,
    clock: Clock,
    failpoint: Callable[[str], None],
) -> tuple[int, int]:
    cursor = await read_cursor(database, worker_id)
    if cursor is None:
        raise Frozen(f"worker {worker_id} has no journal cursor in SQL")
    if cursor == ADOPTED:
        return 0, 0
    now_us = clock.wall_us()
    story = tell(directory, worker_id, cursor)
    ends: list[tuple[int, End]] = [(place, record) for place, record, _ in story.endings]
    recovered = _recovered_ends(story, now_us)
    already = max(0, cursor - story.end)
    ends += recovered[already:]
    for start in range(0, len(ends), BATCH_RECORDS):
        some = ends[start : start + BATCH_RECORDS]
        failpoint("adopt_batch")
        try:
            await post_ends(database, worker_id, cursor, some, now_us)
        except CursorMoved as moved:
            raise Frozen(f"somebody else posts the journal of {worker_id}: {moved}") from moved
        cursor = some[-1][0]
    failpoint("adopt_close")
    last = Batch(worker_id, cursor, ADOPTED, 0, [], [], {}, {}, {}, [])
    try:
        await close_worker(database, last, now_us)
    except CursorMoved as moved:
        if moved.actual != ADOPTED:
            raise Frozen(f"somebody else posts the journal of {worker_id}: {moved}") from moved
    return len(story.endings), len(recovered) - already


def _recovered_ends(story: Story, now_us: int) -> list[tuple[int, End]]:
    return [
        (story.end + number, _end(hold, progress, now_us))
        for number, (hold, progress) in enumerate(story.open_holds, start=1)
    ]


def _end(hold: H, progress: P | None, now_us: int) -> End:
    reached = 0 if progress is None else progress.charge_nano
    charge = min(max(0, reached), hold.amount_nano)
    legs: list[tuple[str, int, int]] = []
    due = charge
    for account, lease_no, amount in hold.legs:
        part = min(due, amount)
        if part:
            legs.append((account, lease_no, part))
            due -= part
    event = UsageEvent(
        request_id=hold.request_id,
        org_id=hold.org_id,
        key_id=hold.key_id,
        accepted_us=hold.held_us,
        finished_us=now_us,
        operation="",
        model=hold.model,
        provider=hold.provider,
        status="failed",
        error_code="PLATFORM_002",
        charge_nano=charge,
        uncollected_nano=max(0, reached - charge),
        price_version=hold.price_version,
        receipt=_receipt(hold, charge, transfer_ids(hold.request_id, len(legs)), now_us),
    )
    if not charge:
        return V(hold.request_id, event)
    return S(hold.request_id, tuple(legs), hold.windows, event)


def _receipt(hold: H, charge: int, transfers: tuple[str, ...], now_us: int) -> bytes:
    """What is known of a request whose process died, in the shape of every receipt."""
    return msgspec.json.encode(
        {
            "object": "request",
            "id": hold.request_id,
            "status": "failed",
            "outcome": "recovered",
            "operation": None,
            "model": hold.model,
            "provider": hold.provider,
            "key_id": hold.key_id,
            "created_at": hold.held_us // 1_000_000,
            "dispatched_at_ms": None,
            "first_byte_ms": None,
            "duration_ms": max(0, now_us - hold.held_us) // 1_000,
            "overhead_ms": None,
            "stream": None,
            "route": None,
            "attempts": [],
            "usage": None,
            "items": [],
            "price_version": hold.price_version,
            "max_output_tokens": None,
            "amounts": {
                "currency": "USD",
                "held": usd_from_nano(hold.amount_nano),
                "charged": usd_from_nano(charge),
                "released": usd_from_nano(hold.amount_nano - charge),
                "uncollected": "0.00",
            },
            "ledger": list(transfers),
            "finish_reason": None,
            "dropped_params": [],
            "error": {
                "type": "internal_error",
                "code": "PLATFORM_002",
                "reason": "process_died",
                "status": 500,
                "fault": "platform",
                "message": "the gateway process died while this request was running; "
                "what had been delivered until then was charged",
            },
            "idempotency_key": None,
            "client_request_id": None,
            "session_id": None,
            "trace_id": None,
        }
    )


async def collect_garbage(database: Database, root: Path, now_us: int) -> int:
    """Remove journals whose story was told more than 72 hours ago; returns how many."""
    removed = 0
    for worker_id, ended_us in await dead_workers(database):
        directory = root.joinpath(worker_id)
        if ended_us + KEPT_US < now_us and directory.is_dir():
            shutil.rmtree(directory)
            removed += 1
    return removed


def drop_posted_segments(directory: Path, cursor: int, now_us: int) -> int:
    """Remove what a live journal need not keep: segments before the cursor, last written more than
    72 hours ago. Returns how many. Raises OSError, JournalCorrupt."""
    removed = 0
    for number in segments(directory):
        path = segment_path(directory, number)
        if number >= segment_of(cursor) or path.stat().st_mtime_ns // 1000 + KEPT_US >= now_us:
            break  # never one between others
        path.unlink()
        removed += 1
    return removed
