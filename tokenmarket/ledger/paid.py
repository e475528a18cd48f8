"""Paid money inside one transaction: in when a payment is confirmed, out when it is taken back.

What a reader must know:

* A payment in another currency is two transfers with one ``ref``: what the provider collected, in
  nano of that currency, and what the customer gets, in nano-USD; the order has the rate. The first
  belongs to no organisation, so statements show the second only.
* What is taken back comes from the cash that is free; the rest is a debt, collected from whatever
  becomes free later (``collect_debt``). Running servers hold leases, so the cash of a busy
  customer is free a few seconds later.
* The ids are the provider's names of the payment: nothing happens twice.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenmarket.ledger import accounts
from tokenmarket.ledger.grants import check_amount, open_cash
from tokenmarket.store.database import Connection
from tokenmarket.store.money import NEVER_US
from tokenmarket.store.money_ledger import Transfer, account_state, move, open_account


class Foreign(NamedTuple):
    """What was paid, where it is not USD: nano of the currency, and the rate for the books."""

    currency: str
    amount_nano: int
    rate: str


async def credit_payment(
    conn: Connection,
    *,
    org_id: str,
    psp: str,
    payment_id: str,
    amount_nano: int,
    ref: str,
    now_us: int,
    foreign: Foreign | None = None,
    part: str = "topup",
) -> bool:
    """Paid money comes in; False if this payment was credited before. Raises ValueError, Conflict.

    ``part`` tells several movements of one payment apart (a dispute that was won).
    """
    check_amount(amount_nano)
    await open_cash(conn, org_id, now_us)
    name = f"{psp}:{payment_id}:{part}"
    psp_side, reason = await _psp_side(conn, name, psp, foreign, ref, now_us, incoming=True)
    item = Transfer(
        name, org_id, "topup", psp_side, accounts.cash(org_id), amount_nano, ref, reason, now_us
    )
    return await move(conn, item)


async def take_back(
    conn: Connection,
    *,
    org_id: str,
    psp: str,
    payment_id: str,
    part: str,
    kind: str,
    amount_nano: int,
    ref: str,
    now_us: int,
    foreign: Foreign | None = None,
) -> int:
    """A payment goes back; ``kind`` is topup_refund or chargeback. Returns what became a debt."""
    check_amount(amount_nano)
    await open_cash(conn, org_id, now_us)
    name = f"{psp}:{payment_id}:{part}"
    psp_side, reason = await _psp_side(conn, name, psp, foreign, ref, now_us, incoming=False)
    cash = accounts.cash(org_id)
    free = (await account_state(conn, cash))[0]
    from_cash = min(max(free, 0), amount_nano)
    owed = amount_nano - from_cash
    if from_cash:
        await move(
            conn,
            Transfer(f"{name}.c", org_id, kind, cash, psp_side, from_cash, ref, reason, now_us),
        )
    if owed:
        debt = accounts.debt(org_id)
        await open_account(
            conn,
            debt,
            org_id,
            "debt",
            priority=0,
            expires_us=NEVER_US,
            scope="",
            now_us=now_us,
            limited=0,
        )
        await move(
            conn, Transfer(f"{name}.d", org_id, kind, debt, psp_side, owed, ref, reason, now_us)
        )
    return owed


async def collect_debt(conn: Connection, org_id: str, now_us: int) -> int:
    """Pay what is owed from the cash that is free; the amount, 0 if there is nothing to do."""
    debt, cash = accounts.debt(org_id), accounts.cash(org_id)
    _, debits, credits = await account_state(conn, debt)
    amount_nano = min(debits - credits, (await account_state(conn, cash))[0])
    if amount_nano <= 0:
        return 0
    name = f"{debt}:{credits}"  # what was collected before names what is collected now
    await move(conn, Transfer(name, org_id, "debt", cash, debt, amount_nano, debt, "", now_us))
    return amount_nano


async def _psp_side(
    conn: Connection,
    name: str,
    psp: str,
    foreign: Foreign | None,
    ref: str,
    now_us: int,
    *,
    incoming: bool,
) -> tuple[str, str]:
    """(the account facing the customer's, the reason): the provider's, or the exchange in USD after
    the other currency's own transfer was made."""
    if foreign is None:
        return accounts.clearing(psp), ""
    await _exchange(conn, name, psp, foreign, ref, now_us, incoming=incoming)
    return accounts.exchange("USD"), f"{foreign.currency} {foreign.rate}"


async def _exchange(
    conn: Connection,
    name: str,
    psp: str,
    foreign: Foreign,
    ref: str,
    now_us: int,
    *,
    incoming: bool,
) -> None:
    sides = (accounts.clearing(psp, foreign.currency), accounts.exchange(foreign.currency))
    debit, credit = sides if incoming else sides[::-1]
    item = Transfer(
        f"{name}.x", "", "exchange", debit, credit, foreign.amount_nano, ref, foreign.rate, now_us
    )
    await move(conn, item)
