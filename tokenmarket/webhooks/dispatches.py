"""Events on their way to webhook endpoints: one queue of the deliverer.

An endpoint that answers 410 is turned off at once, one that has taken nothing for five days too;
both leave a line in the audit trail.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from tokenmarket.billing.clock import Clock
from tokenmarket.core.video.webhooks import retry_delay_ms
from tokenmarket.store import accounts as rows
from tokenmarket.store import webhook_endpoints, webhook_sending
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money_moves import money_transaction
from tokenmarket.store.webhook_endpoints import EndpointRow
from tokenmarket.store.webhook_sending import Attempt, Dispatch
from tokenmarket.webhooks.deliverer import LEASE_US, Job, Outcome

# Pauses after failed attempts, about a day together; after the last one the event is given up.
RETRY_AFTER_S = (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 28_800)
DISABLE_AFTER_US = 5 * 86_400 * 1_000_000
GONE = 410
ACTOR = "system:webhooks"


class Dispatches:
    """A ``deliverer.Queue``; ``kek`` = root.derive(KEY_ENCRYPTION), ``draw`` for jitter,
    ``origins`` as in ``config.webhook_origins``."""

    def __init__(
        self,
        database: Database,
        worker_id: str,
        kek: bytes,
        clock: Clock,
        draw: Callable[[], int],
        origins: tuple[str, ...],
        tell: Callable[[EndpointRow], Awaitable[object]],
    ) -> None:
        """``tell`` is called after an endpoint was turned off."""
        self._database = database
        self._tell = tell
        self._worker_id = worker_id
        self._kek = kek
        self._clock = clock
        self._draw = draw
        self._origins = origins

    async def claim(self, limit: int, each: int, busy: Collection[str]) -> Sequence[Job[Dispatch]]:
        found = await webhook_sending.claim_due(
            self._database,
            self._worker_id,
            self._clock.wall_us(),
            LEASE_US,
            limit,
            busy=busy,
            each=each,
        )
        return [
            Job(row, row.endpoint_id, url, row.event_id, row.body, row.attempts, self._origins)
            for row, url in found
        ]

    async def secrets(self, row: Dispatch) -> list[str]:
        """Those that sign now, the current one first."""
        async with self._database.read() as conn:
            found = await webhook_endpoints.secrets(
                conn, self._kek, row.org_id, row.endpoint_id, self._clock.wall_us()
            )
        return [secret.secret for secret in found]

    async def finish(self, row: Dispatch, outcome: Outcome) -> str:
        again_us: int | None = None
        if outcome.error and not outcome.final:
            delay_ms = retry_delay_ms(row.attempts, self._draw(), RETRY_AFTER_S)
            again_us = None if delay_ms is None else outcome.at_us + delay_ms * 1000
        attempt = Attempt(
            number=row.attempts,
            at_us=outcome.at_us,
            duration_ms=outcome.duration_ms,
            status=outcome.status,
            error=outcome.error,
            answer=outcome.answer,
        )
        async with money_transaction(self._database) as conn:
            if not await webhook_sending.finish(conn, row, attempt, again_us):
                return "lost"
            turned_off = await _note(conn, row, outcome)
        if turned_off is not None:
            await self._tell(turned_off)
        return "delivered" if not outcome.error else "given_up" if again_us is None else "failed"


async def _note(conn: Connection, row: Dispatch, outcome: Outcome) -> EndpointRow | None:
    """What an attempt says about its endpoint; the endpoint if that turned it off."""
    endpoint = await webhook_endpoints.endpoint_by_id(conn, row.org_id, row.endpoint_id)
    if endpoint is None:
        return None
    since_us, reason, was_off_us = endpoint.failing_since_us, "", endpoint.disabled_us
    if not outcome.error:
        since_us = 0
    else:
        since_us = since_us or outcome.at_us
        if outcome.status == GONE:
            reason = "gone"
        elif outcome.at_us - since_us >= DISABLE_AFTER_US:
            reason = "failing"
    if reason and not endpoint.disabled_us:
        endpoint = msgspec.structs.replace(
            endpoint, disabled_us=outcome.at_us, disabled_reason=reason
        )
        await rows.append_audit(
            conn,
            outcome.at_us,
            ACTOR,
            "webhook.disable",
            endpoint.id,
            {"reason": reason, "error": outcome.error},
            org_id=endpoint.org_id,
        )
    elif since_us == endpoint.failing_since_us:
        return None
    changed = msgspec.structs.replace(endpoint, failing_since_us=since_us)
    await webhook_endpoints.update_endpoint(conn, changed)
    return changed if changed.disabled_us != was_off_us else None
