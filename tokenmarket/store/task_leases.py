"""Leases that outlived their process, and tasks that are to be looked at before their time.

Both change no state and count no ``state_seq``: whoever is at work on a row is not disturbed.
"""

from __future__ import annotations

from sqlalchemy import literal_column, select, update

from tokenmarket.store.database import Database
from tokenmarket.store.money import worker
from tokenmarket.store.money_moves import money_transaction
from tokenmarket.store.task_tables import task, webhook_delivery

_live = task.c.completed_us == literal_column("0")


async def take_over(database: Database) -> int:
    """Free the tasks and notices that a worker held which is not live any more; how many tasks.

    To be called at start, after the wallet has adopted what dead workers left.
    """
    alive = select(worker.c.id).where(worker.c.state == "live")
    freed = {"lease_owner": "", "lease_until_us": 0}
    async with money_transaction(database) as conn:
        found = await conn.execute(
            update(task)
            .where(_live, task.c.lease_owner != "", task.c.lease_owner.not_in(alive))
            .values(freed)
        )
        await conn.execute(
            update(webhook_delivery)
            .where(
                webhook_delivery.c.delivered_us == 0,
                webhook_delivery.c.disabled_us == 0,
                webhook_delivery.c.lease_owner != "",
                webhook_delivery.c.lease_owner.not_in(alive),
            )
            .values(freed)
        )
        return found.rowcount


async def hasten(database: Database, task_id: str, now_us: int) -> bool:
    """The task is due now (a provider's notice, a caller's cancel); False if it is over."""
    statement = (
        update(task)
        .where(task.c.id == task_id, _live, task.c.next_poll_us > now_us)
        .values(next_poll_us=now_us)
    )
    async with money_transaction(database) as conn:
        return (await conn.execute(statement)).rowcount == 1
