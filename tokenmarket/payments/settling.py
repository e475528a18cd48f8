"""What a payment provider says about a payment becomes state, transfer and event: at once or not.

What a reader must know:

* The payment must be the order's: provider, order, organisation, currency and amount. What does
  not match is kept as an event with its reason and moves nothing.
* The present state of the payment decides, not the news: a refund that is told before the payment
  credits and takes back in one transaction; late or repeated news change nothing.
* What is charged back freezes the organisation; so does a refund above what is left of its money.
"""

from __future__ import annotations

from typing import NamedTuple

from tokenmarket.core.money import usd_from_nano
from tokenmarket.ledger.paid import Foreign, collect_debt, credit_payment, take_back
from tokenmarket.payments.gateway import Payment
from tokenmarket.payments.terms import MINOR_NANO
from tokenmarket.store import accounts as rows
from tokenmarket.store import orders
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.money_ledger import record_payment
from tokenmarket.store.money_moves import money_transaction
from tokenmarket.store.orders import OrderRow


class Told(NamedTuple):
    """One piece of news: its unique name, the provider's, and what it was."""

    psp: str
    event_id: str
    kind: str


async def settle(database: Database, told: Told, payment: Payment | None, now_us: int) -> str:
    """Apply the payment, once per event; the outcome: credited, taken back, failed, expired,
    unchanged, repeated, ignored, or ``mismatch: …``. Raises Rejected, Unavailable."""
    async with money_transaction(database) as conn:
        order = None
        if payment is not None:
            order = await orders.order_of_payment(conn, told.psp, payment.order_id)
        fault = _fault(order, payment)
        fresh = await record_payment(
            conn,
            id=f"{told.psp}:{told.event_id}",
            psp=told.psp,
            payment_id=payment.payment if payment is not None else "",
            kind=told.kind,
            org_id=order.org_id if order is not None else "",
            amount_nano=order.amount_nano if order is not None else 0,
            outcome=fault or "applied",
            received_us=now_us,
        )
        if not fresh:
            return "repeated"
        if fault is not None or order is None or payment is None:
            return fault or "ignored"
        return await _apply(conn, order, payment, told, now_us)


def _fault(order: OrderRow | None, payment: Payment | None) -> str | None:
    """Why this payment is not this order's."""
    if payment is None:
        return "ignored"
    if order is None:
        return "mismatch: no such order of this provider"
    if payment.org_id != order.org_id:
        return "mismatch: organization"
    if payment.currency != order.currency:
        return "mismatch: currency"
    if payment.amount_minor != order.pay_minor:
        return "mismatch: amount"
    if order.session and payment.session and payment.session != order.session:
        return "mismatch: another checkout"
    return None


async def _apply(
    conn: Connection, order: OrderRow, payment: Payment, told: Told, now_us: int
) -> str:
    if payment.state in ("failed", "expired"):
        if order.state == "created" and await orders.set_state(conn, order, payment.state):
            await _audit(conn, order, f"topup.{payment.state}", told, now_us)
            return payment.state
        return "unchanged"
    if payment.state != "paid":
        return "unchanged"
    outcome = "unchanged"
    if order.state not in ("paid", "refunded"):
        await credit_payment(
            conn,
            org_id=order.org_id,
            psp=told.psp,
            payment_id=payment.payment,
            amount_nano=order.amount_nano,
            ref=order.id,
            now_us=now_us,
            foreign=_foreign(order, payment.amount_minor),
        )
        await orders.set_state(conn, order, "paid", payment=payment.payment, paid_us=now_us)
        await _audit(conn, order, "topup.paid", told, now_us)
        await collect_debt(conn, order.org_id, now_us)
        order = await _again(conn, order)
        outcome = "credited"
    return await _balance_taken(conn, order, payment, told, now_us) or outcome


async def _balance_taken(
    conn: Connection, order: OrderRow, payment: Payment, told: Told, now_us: int
) -> str | None:
    """Bring what was taken back of the order to what the provider says; None if it is that."""
    taken_minor = min(payment.amount_minor, payment.refunded_minor + payment.disputed_minor)
    change_nano = order.taken_nano(taken_minor) - order.taken_nano(order.taken_minor)
    if change_nano == 0:
        return None
    part = f"{told.event_id}.{taken_minor}"
    foreign = _foreign(order, abs(taken_minor - order.taken_minor))
    await orders.set_taken(conn, order, taken_minor)
    if change_nano < 0:  # a dispute was won
        await credit_payment(
            conn,
            org_id=order.org_id,
            psp=told.psp,
            payment_id=payment.payment,
            amount_nano=-change_nano,
            ref=order.id,
            now_us=now_us,
            foreign=foreign,
            part=part,
        )
        await collect_debt(conn, order.org_id, now_us)
        await orders.set_state(conn, order, "paid")
        await _audit(conn, order, "topup.returned", told, now_us, amount_nano=-change_nano)
        return "credited"
    kind = "chargeback" if payment.disputed_minor else "topup_refund"
    owed_nano = await take_back(
        conn,
        org_id=order.org_id,
        psp=told.psp,
        payment_id=payment.payment,
        part=part,
        kind=kind,
        amount_nano=change_nano,
        ref=order.id,
        now_us=now_us,
        foreign=foreign,
    )
    if taken_minor == order.pay_minor:
        await orders.set_state(conn, order, "refunded")
    await _audit(conn, order, f"topup.{kind}", told, now_us, amount_nano=change_nano)
    if kind == "chargeback" or owed_nano:
        await orders.freeze_org(conn, order.org_id, now_us // 1_000_000)
        await _audit(conn, order, "org.freeze", told, now_us, amount_nano=owed_nano)
    return "taken back"


async def _again(conn: Connection, order: OrderRow) -> OrderRow:
    found = await orders.order_by_id(conn, order.org_id, order.id)
    return order if found is None else found


def _foreign(order: OrderRow, minor: int) -> Foreign | None:
    if order.currency == "USD":
        return None
    return Foreign(order.currency, minor * MINOR_NANO, order.rate)


async def _audit(
    conn: Connection,
    order: OrderRow,
    action: str,
    told: Told,
    now_us: int,
    *,
    amount_nano: int | None = None,
) -> None:
    amount = order.amount_nano if amount_nano is None else amount_nano
    detail: dict[str, object] = {"amount": usd_from_nano(amount), "event": told.event_id}
    actor = f"payments:{told.psp}"
    await rows.append_audit(conn, now_us, actor, action, order.id, detail, org_id=order.org_id)
