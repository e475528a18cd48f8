"""Callbacks of single video orders (``callback_url``): one queue of the deliverer.

They are queued by the transaction that ends a task (``tasks/ending.py``) and signed with the
organisation's secret. The pauses between attempts are the video contract's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from tokenmarket.billing.clock import Clock
from tokenmarket.core.video.webhooks import SECRET_BYTES_NEW, new_secret, retry_delay_ms
from tokenmarket.store import accounts as rows
from tokenmarket.store import webhooks
from tokenmarket.store.database import Database
from tokenmarket.store.webhooks import Delivery
from tokenmarket.webhooks.deliverer import LEASE_US, Job, Outcome

OVERLAP_S = 24 * 3600  # so long an old secret signs beside its successor
_US = 1_000_000


class Callbacks:
    """A ``deliverer.Queue``; ``kek`` = root.derive(KEY_ENCRYPTION), ``draw`` for jitter."""

    def __init__(
        self,
        database: Database,
        worker_id: str,
        kek: bytes,
        clock: Clock,
        draw: Callable[[], int],
        randomness: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._worker_id = worker_id
        self._kek = kek
        self._clock = clock
        self._draw = draw
        self._randomness = randomness

    async def claim(self, limit: int, each: int, busy: Collection[str]) -> Sequence[Job[Delivery]]:
        found = await webhooks.claim_due(
            self._database,
            self._worker_id,
            self._clock.wall_us(),
            LEASE_US,
            limit,
            busy=busy,
            each=each,
        )
        return [Job(row, row.org_id, row.url, row.id, row.body, row.attempts) for row in found]

    async def secrets(self, row: Delivery) -> list[str]:
        """Those that sign now; the first use makes the first one."""
        now_us = self._clock.wall_us()
        found = await webhooks.secrets(self._database, self._kek, row.org_id, now_us)
        if not found:
            made = new_secret(self._randomness(SECRET_BYTES_NEW)).encode()
            overlap_us = OVERLAP_S * _US
            found = [
                await webhooks.add_secret(
                    self._database, self._kek, row.org_id, made, now_us, overlap_us=overlap_us
                )
            ]
        return [secret.secret.decode() for secret in found]

    async def finish(self, row: Delivery, outcome: Outcome) -> str:
        again_us: int | None = None
        if outcome.error and not outcome.final:
            delay_ms = retry_delay_ms(row.attempts, self._draw())
            again_us = None if delay_ms is None else outcome.at_us + delay_ms * 1000
        written = await webhooks.finish(
            self._database,
            row,
            outcome.at_us,
            status=outcome.status,
            error=outcome.error,
            again_us=again_us,
        )
        if not written:
            return "lost"
        return "delivered" if not outcome.error else "given_up" if again_us is None else "failed"


async def new_callback_secret(
    database: Database, kek: bytes, org_id: str, secret: str, *, now_us: int, actor: str
) -> None:
    """``secret`` signs the callbacks from now on, for a day beside the one before."""
    overlap_us = OVERLAP_S * _US
    async with database.begin() as conn:
        made = await webhooks.insert_secret(
            conn, kek, org_id, secret.encode(), now_us, overlap_us=overlap_us
        )
        await rows.append_audit(
            conn, now_us, actor, "webhook.secret", made.id, {"org": org_id}, org_id=org_id
        )
