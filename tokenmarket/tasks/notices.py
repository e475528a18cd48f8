"""Callbacks to customers: sent until somebody takes them, signed with the organisation's secrets.

Notices are queued by the transaction that ends a task (``ending.py``). Sending is guarded like
every request to an address that a stranger wrote (``upstream/fetch.py``): public addresses, no
redirects, a few seconds.
"""

from __future__ import annotations

import asyncio

from tokenmarket.billing.clock import Clock
from tokenmarket.core.sealing import SealBroken
from tokenmarket.core.video.webhooks import (
    SECRET_BYTES_NEW,
    new_secret,
    retry_delay_ms,
    signed_headers,
)
from tokenmarket.store import webhooks
from tokenmarket.store.webhooks import Delivery
from tokenmarket.tasks.engine import SECOND_US, Engine
from tokenmarket.upstream.fetch import FetchRefused

SENT_AT_ONCE = 8
LEASE_US = 60 * SECOND_US
IDLE_S = 2.0
OVERLAP_US = 24 * 3600 * SECOND_US  # so long an old secret signs beside its successor


class Deliverer:
    """``run`` until it is cancelled; ``kek`` = root.derive(KEY_ENCRYPTION)."""

    def __init__(self, engine: Engine, kek: bytes) -> None:
        self._engine = engine
        self._kek = kek
        self._awake = asyncio.Event()
        self.clock: Clock = engine.clock
        engine.wake_notices = self._awake.set

    async def run(self) -> None:
        while True:
            self._awake.clear()
            try:
                await self.sweep()
            except Exception as error:
                self._engine.telemetry.log.write(
                    "error", "notice_deliverer", error=repr(error)[:300]
                )
            try:
                await asyncio.wait_for(self._awake.wait(), IDLE_S)
            except TimeoutError:
                continue

    async def sweep(self) -> int:
        """Send what is due now; how many attempts."""
        engine = self._engine
        count = 0
        while True:
            due = await webhooks.claim_due(
                engine.database, engine.worker_id, engine.now_us(), LEASE_US, SENT_AT_ONCE
            )
            if not due:
                return count
            count += len(due)
            await asyncio.gather(*(self._deliver(row) for row in due))

    async def _deliver(self, row: Delivery) -> None:
        engine = self._engine
        status: int | None = None
        error = ""
        gone = False
        try:
            secrets = await self._secrets(row.org_id)
            body = row.body.encode()
            headers = signed_headers(secrets, row.id, engine.now_us() // SECOND_US, body)
            status = await engine.fetcher.post(row.url, headers=headers, body=body)
            if not 200 <= status < 300:
                error = f"HTTP {status}"
                gone = status == 410
        except FetchRefused as refused:
            error, status = refused.message, refused.status
            gone = refused.reason in ("url_not_allowed", "private_address") and row.attempts > 2
        except SealBroken:
            error = "the signing secret does not open"
        delay_ms = None if gone or not error else retry_delay_ms(row.attempts, engine.draw())
        now_us = engine.now_us()
        again_us = None if delay_ms is None else now_us + delay_ms * 1000
        await webhooks.finish(
            engine.database, row, now_us, status=status, error=error[:300], again_us=again_us
        )
        name = "delivered" if not error else "failed" if again_us is not None else "given_up"
        engine.counts[f"notices_{name}"] += 1
        if error:
            engine.telemetry.log.write(
                "warning",
                "notice_failed",
                notice=row.id,
                task=row.task_id,
                attempt=row.attempts,
                error=error[:200],
                given_up=again_us is None,
            )

    async def _secrets(self, org_id: str) -> list[str]:
        """Those that sign now; the first use makes the first one."""
        engine = self._engine
        now_us = engine.now_us()
        found = await webhooks.secrets(engine.database, self._kek, org_id, now_us)
        if not found:
            made = new_secret(engine.randomness(SECRET_BYTES_NEW)).encode()
            found = [
                await webhooks.add_secret(
                    engine.database, self._kek, org_id, made, now_us, overlap_us=OVERLAP_US
                )
            ]
        return [secret.secret.decode() for secret in found]
