"""Management endpoints of an organization's money: balance, statement, top-ups, codes, alert."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts.admin import Taken
from tokenmarket.core import ids
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import nano_from_usd, usd_from_nano
from tokenmarket.core.wording import said_by
from tokenmarket.payments.gateway import Unreachable
from tokenmarket.payments.position import position
from tokenmarket.payments.redeem import TooMany
from tokenmarket.store import orders, redeem
from tokenmarket.store.alerts import AlertRow
from tokenmarket.store.orders import OrderRow
from tokenmarket.web.manage.endpoint import Call, Deleted, Endpoint, Listing, page
from tokenmarket.web.manage.organization import own_org, zone_of

Text = Annotated[str, msgspec.Meta(max_length=500)]
Amount = Annotated[str, msgspec.Meta(max_length=30)]


class BalancePart(msgspec.Struct, kw_only=True):
    """A part of the balance: paid money (cash) or credit; ``models`` null: it pays for all."""

    kind: str
    balance: str
    expires_at: int | None
    models: list[str] | None


class Balance(msgspec.Struct, kw_only=True):
    """The balance of an organization, in USD, and its parts in the order in which they are used.
    ``charged_this_month`` began on ``month_began``, a day of the billing time zone."""

    object: Literal["balance"] = "balance"
    currency: Literal["USD"] = "USD"
    balance: str
    held: str
    available: str
    debt: str
    charged_this_month: str
    month_began: str
    parts: list[BalancePart]


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


class TopUpOptions(msgspec.Struct, kw_only=True):
    """By which providers and in which currencies a top-up can be paid, and its bounds in USD."""

    object: Literal["top_up_options"] = "top_up_options"
    providers: list[str]
    currencies: list[str]
    minimum: str
    maximum: str
    cny_per_usd: str | None
    refund_days: int


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


class RedeemedLine(msgspec.Struct, kw_only=True):
    """A code that was redeemed, by its last characters, and what it was worth in USD."""

    object: Literal["redeemed_code"] = "redeemed_code"
    hint: str
    amount: str
    redeemed_at: int


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
    parts = call.parts
    org = await own_org(call)
    now = await parts.wallet.balance(call.org_id)
    found = await position(parts.database, parts.wallet, org.id, zone_of(org), call.now_us)
    return Balance(
        balance=usd_from_nano(now.balance_nano),
        held=usd_from_nano(now.held_nano),
        available=usd_from_nano(now.available_nano),
        debt=usd_from_nano(found.debt_nano),
        charged_this_month=usd_from_nano(found.month_nano),
        month_began=found.month_day.isoformat(),
        parts=[
            BalancePart(
                kind=one.kind,
                balance=usd_from_nano(one.balance_nano),
                expires_at=None if one.expires_us is None else one.expires_us // 1_000_000,
                models=list(one.models) or None,
            )
            for one in found.credits
        ],
    )


async def top_up_options(call: Call) -> TopUpOptions:
    payments = call.parts.payments
    org = await own_org(call)
    terms = payments.terms
    return TopUpOptions(
        providers=[gateway.name for gateway in payments.offered_to(org)],
        currencies=list(terms.currencies),
        minimum=usd_from_nano(terms.minimum_nano),
        maximum=usd_from_nano(terms.maximum_nano),
        cny_per_usd=terms.cny_per_usd or None,
        refund_days=terms.refund_days,
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
    org = await own_org(call)
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


async def redeemed(call: Call) -> Listing[RedeemedLine]:
    async with call.parts.database.read() as conn:
        found = await redeem.redeemed_by_org(conn, call.org_id, call.limit)
    return Listing(
        data=[
            RedeemedLine(
                hint=code.hint,
                amount=usd_from_nano(batch.amount_nano),
                redeemed_at=code.redeemed_us // 1_000_000,
            )
            for code, batch in found
        ]
    )


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
    Endpoint(
        "GET",
        "/top-up-options",
        _VIEW,
        top_up_options,
        None,
        TopUpOptions,
        "How a top-up can be paid.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/redeemed",
        _PAY,
        redeemed,
        None,
        Listing[RedeemedLine],
        "Codes that were redeemed, the latest 200 at most.",
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
