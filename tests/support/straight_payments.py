"""A payment straight into the ledger, as ``payments.settling`` makes it of a paid order."""

from __future__ import annotations

from tokenmarket.ledger.paid import credit_payment
from tokenmarket.store.database import Database
from tokenmarket.store.money_ledger import record_payment
from tokenmarket.store.money_moves import money_transaction


async def top_up(
    database: Database,
    *,
    org_id: str,
    psp: str,
    payment_id: str,
    amount_nano: int,
    now_us: int,
) -> bool:
    """Credit a payment that ``psp`` has confirmed; False if it was credited before."""
    async with money_transaction(database) as conn:
        credited = await credit_payment(
            conn,
            org_id=org_id,
            psp=psp,
            payment_id=payment_id,
            amount_nano=amount_nano,
            ref=payment_id,
            now_us=now_us,
        )
        await record_payment(
            conn,
            id=f"{psp}:{payment_id}:topup",
            psp=psp,
            payment_id=payment_id,
            kind="topup",
            org_id=org_id,
            amount_nano=amount_nano,
            outcome="credited",
            received_us=now_us,
        )
        return credited
