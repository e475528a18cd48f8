"""Management endpoints of an organization's money: balance, statement, top-ups, codes, alert."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts.admin import NotThere, Taken
from tokenmarket.billing import statement
from tokenmarket.core import ids
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import nano_from_usd, usd_from_nano
from tokenmarket.core.wording import said_by, say
from tokenmarket.payments.gateway import Unreachable
from tokenmarket.payments.redeem import TooMany
from tokenmarket.store import accounts, orders
from tokenmarket.store.alerts import AlertRow
from tokenmarket.store.orders import OrderRow
from tokenmarket.store.statements import Place, balance_and_debt
from tokenmarket.web.manage.endpoint import Call, Deleted, Endpoint, Listing, page

Text = Annotated[str, msgspec.Meta(max_length=500)]
Amount = Annotated[str, msgspec.Meta(max_length=30)]


class Balance(msgspec.Struct, kw_only=True):
    """The balance of an organization, in USD."""

    object: Literal["balance"] = "balance"
    currency: Literal["USD"] = "USD"
    balance: str
    held: str
    available: str
    debt: str


class LedgerLine(msgspec.Struct, kw_only=True):
    """One movement of the balance; amounts are signed USD."""

    object: Literal["ledger_line"] = "ledger_line"
    id: str
    created_at: int
    kind: str
    amount: str
    balance_after: str
    reference: str
    reason: str


class TopUp(msgspec.Struct, kw_only=True):
    """An order of a top-up. ``url`` is where it is paid."""

    object: Literal["top_up"] = "top_up"
    id: str
    provider: str
    amount: str
    currency: str
    to_pay: str
    state: str
    url: str
    created_at: int
    paid_at: int | None


class TopUpWishes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A top-up to be ordered. The amount is what is credited, in USD."""

    amount: Amount
    provider: Annotated[str, msgspec.Meta(max_length=40)]
    currency: Literal["USD", "CNY"] = "USD"
    return_url: Annotated[str, msgspec.Meta(max_length=500)] | None = None


class CodeText(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A redeem code, as it was given."""

    code: Annotated[str, msgspec.Meta(max_length=100)]


class Redeemed(msgspec.Struct, kw_only=True):
    """What a redeem code was worth, in USD."""

    object: Literal["redeemed"] = "redeemed"
    amount: str


class Alert(msgspec.Struct, kw_only=True):
    """The low-balance alert; threshold null: none is set. ``triggered``: the balance has fallen
    below the threshold."""

    object: Literal["balance_alert"] = "balance_alert"
    threshold: str | None
    emails: list[str]
    triggered: bool
    last_triggered_at: int | None


class AlertWishes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The low-balance alert as it shall be."""

    threshold: Amount
    emails: Annotated[list[Text], msgspec.Meta(max_length=10)] = []


def nano_of(text: str, param: str) -> int:
    try:
        return nano_from_usd(text)
    except ValueError as error:
        raise ApiError("REQUEST_001", said_by(error), param=param) from error


async def balance(call: Call) -> Balance:
    now = await call.parts.wallet.balance(call.org_id)
    async with call.parts.database.read() as conn:
        _, debt_nano = await balance_and_debt(conn, call.org_id)
    return Balance(
        balance=usd_from_nano(now.balance_nano),
        held=usd_from_nano(now.held_nano),
        available=usd_from_nano(now.available_nano),
        debt=usd_from_nano(debt_nano),
    )


async def ledger(call: Call) -> Listing[LedgerLine]:
    await call.parts.wallet.flush()
    wanted = statement.ALL
    if kind := call.query.get("kind"):
        if kind not in statement.KINDS:
            kinds = ", ".join(statement.KINDS)
            raise ApiError("REQUEST_001", say("kind is one of {kinds}.", kinds=kinds), param="kind")
        wanted = wanted._replace(kind=kind)
    place = None
    if call.cursor:
        time, _, name = call.cursor.partition(".")
        if not time.isascii() or not time.isdecimal() or len(time) > 18:
            raise ApiError("REQUEST_001", "This is no cursor of ours.", param="cursor")
        place = Place(int(time), name)
    async with call.parts.database.read() as conn:
        found = await statement.page(conn, call.org_id, wanted, place, call.limit)
    following = found.next_place
    return Listing(
        data=[
            LedgerLine(
                id=line.transfer_id,
                created_at=line.ts_us // 1_000_000,
                kind=line.kind,
                amount=usd_from_nano(line.amount_nano),
                balance_after=usd_from_nano(line.balance_nano),
                reference=line.ref,
                reason=line.reason,
            )
            for line in found.lines
        ],
        next_cursor=None if following is None else f"{following.ts_us}.{following.id}",
    )


async def top_ups(call: Call) -> Listing[TopUp]:
    async with call.parts.database.read() as conn:
        found = await orders.orders_of(
            conn, call.org_id, before_id=call.cursor, limit=call.limit + 1
        )
    return page([_top_up(row) for row in found], call.limit, lambda item: item.id)


async def top_up(call: Call) -> TopUp:
    return _top_up(await call.parts.payments.check(call.org_id, call.params["id"]))


async def order(call: Call) -> TopUp:
    wishes: TopUpWishes = call.body
    async with call.parts.database.read() as conn:
        org = await accounts.org_by_id(conn, call.org_id)
    if org is None:
        raise NotThere("There is no such organization.")
    back = wishes.return_url
    if back is not None and not back.startswith(("https://", "http://")):
        raise ApiError("REQUEST_001", "return_url is an http or https address.", param="return_url")
    base = f"{call.parts.base_url()}/en/console/{call.org_id}/billing/top-up/"
    try:
        made = await call.parts.payments.order(
            org,
            ids.new_id("ord", call.now_us, os.urandom(ids.RANDOM_BYTES)),
            psp=wishes.provider,
            amount_nano=nano_of(wishes.amount, "amount"),
            currency=wishes.currency,
            return_url=lambda name: back or f"{base}{name}",
            actor=call.actor,
        )
    except Unreachable as error:
        raise ApiError("PLATFORM_001", "The payment provider does not answer now.") from error
    return _top_up(made)


def _top_up(row: OrderRow) -> TopUp:
    return TopUp(
        id=row.id,
        provider=row.psp,
        amount=usd_from_nano(row.amount_nano),
        currency=row.currency,
        to_pay=f"{row.pay_minor // 100}.{row.pay_minor % 100:02d}",
        state=row.state,
        url=row.url,
        created_at=row.created_us // 1_000_000,
        paid_at=row.paid_us // 1_000_000 if row.paid_us else None,
    )


async def redeem_code(call: Call) -> Redeemed:
    body: CodeText = call.body
    try:
        nano = await call.parts.payments.codes.redeem(
            call.org_id, body.code, address=call.address, actor=call.actor
        )
    except TooMany as error:
        raise Taken(said_by(error)) from error
    return Redeemed(amount=usd_from_nano(nano))


async def alert(call: Call) -> Alert:
    row = await call.parts.payments.alerts.of(call.org_id)
    if row is None:
        return Alert(threshold=None, emails=[], triggered=False, last_triggered_at=None)
    return _alert(row)


async def put_alert(call: Call) -> Alert:
    wishes: AlertWishes = call.body
    nano = nano_of(wishes.threshold, "threshold")
    alerts = call.parts.payments.alerts
    return _alert(await alerts.put(call.org_id, nano, tuple(wishes.emails), actor=call.actor))


async def delete_alert(call: Call) -> Deleted:
    await call.parts.payments.alerts.remove(call.org_id, actor=call.actor)
    return Deleted(id=call.org_id)


def _alert(row: AlertRow) -> Alert:
    return Alert(
        threshold=usd_from_nano(row.threshold_nano),
        emails=list(row.emails),
        triggered=not row.armed,
        last_triggered_at=row.fired_us // 1_000_000 if row.fired_us else None,
    )


_TAG = "Billing"
_VIEW, _PAY = "billing.view", "billing"
ENDPOINTS = [
    Endpoint("GET", "/balance", _VIEW, balance, None, Balance, "The balance.", _TAG),
    Endpoint(
        "GET",
        "/ledger",
        _VIEW,
        ledger,
        None,
        Listing[LedgerLine],
        "The statement, newest first, with the balance after each line.",
        _TAG,
        query=(("kind", "Only lines of this kind."),),
    ),
    Endpoint(
        "GET", "/top-ups", _VIEW, top_ups, None, Listing[TopUp], "Top-ups, newest first.", _TAG
    ),
    Endpoint("POST", "/top-ups", _PAY, order, TopUpWishes, TopUp, "Order a top-up.", _TAG),
    Endpoint(
        "GET",
        "/top-ups/{id}",
        _VIEW,
        top_up,
        None,
        TopUp,
        "One top-up; the provider is asked if it is not paid yet.",
        _TAG,
    ),
    Endpoint("POST", "/redeem", _PAY, redeem_code, CodeText, Redeemed, "Redeem a code.", _TAG),
    Endpoint("GET", "/balance-alert", _VIEW, alert, None, Alert, "The low-balance alert.", _TAG),
    Endpoint(
        "PUT",
        "/balance-alert",
        _PAY,
        put_alert,
        AlertWishes,
        Alert,
        "Set the low-balance alert.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        "/balance-alert",
        _PAY,
        delete_alert,
        None,
        Deleted,
        "Remove the low-balance alert.",
        _TAG,
    ),
]
