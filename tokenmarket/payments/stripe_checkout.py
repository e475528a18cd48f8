"""Stripe Checkout: a page of Stripe's where one pays, signed events, and the truth from its API.

What a reader must know:

* The ``stripe`` library is imported when the first order or event comes, in a thread: it takes a
  third of a second and most installations have no key for it.
* It goes out as the rest of this program: through the proxies of the configuration, certificates
  verified. Its calls block, so each runs in a thread.
* Answers are read field by field into our own structs; what is not as expected is Unreachable.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import threading
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from tokenmarket.payments.gateway import (
    SIGNATURE_AGE_S,
    Checkout,
    Forged,
    News,
    Payment,
    State,
    Unreachable,
)
from tokenmarket.store.orders import OrderRow
from tokenmarket.upstream.credentials import Secret
from tokenmarket.upstream.origin import Origin
from tokenmarket.upstream.proxy import Proxies

Read = TypeVar("Read")
API = "https://api.stripe.com"
TIMEOUT_S = 20
_SESSION_EVENTS = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
)
_MONEY_EVENTS = ("charge.refunded", "charge.dispute.")
# of a dispute in these states the money is, or is again, ours
_KEPT = ("won", "prevented", "warning_needs_response", "warning_under_review", "warning_closed")


class _EventObject(msgspec.Struct):
    id: str
    payment_intent: str | None = None


class _EventData(msgspec.Struct):
    object: _EventObject


class _Event(msgspec.Struct):
    id: str
    type: str
    data: _EventData


class _Charge(msgspec.Struct):
    amount_refunded: int = 0


class _Intent(msgspec.Struct):
    id: str
    status: str
    amount: int
    currency: str
    metadata: dict[str, str] = {}
    latest_charge: _Charge | None = None


class _Session(msgspec.Struct):
    id: str
    status: str | None = None
    payment_status: str = ""
    amount_total: int | None = None
    currency: str | None = None
    url: str | None = None
    metadata: dict[str, str] = {}
    payment_intent: _Intent | None = None


class _Dispute(msgspec.Struct):
    amount: int
    status: str


class _Disputes(msgspec.Struct):
    data: list[_Dispute]


class StripeGateway:
    """``key`` is the account's secret key, ``webhook_secret`` that of the endpoint."""

    name = "stripe"

    def __init__(
        self,
        key: Secret,
        webhook_secret: Secret,
        proxies: Proxies,
        currencies: tuple[str, ...],
        api: str = API,
    ) -> None:
        self.currencies = currencies
        self._key = key
        self._webhook_secret = webhook_secret
        self._proxies = proxies
        self._api = api
        self._client: Any = None
        self._making = threading.Lock()

    async def create_checkout(self, order: OrderRow, *, return_url: str) -> Checkout:
        """As ``Gateway.create_checkout``; the order's id is the idempotency key."""
        marks = {"order": order.id, "organization": order.org_id}
        answer = await self._call(
            "post",
            "/v1/checkout/sessions",
            mode="payment",
            client_reference_id=order.id,
            metadata=marks,
            payment_intent_data={"metadata": marks},
            line_items=[
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": order.currency.lower(),
                        "unit_amount": order.pay_minor,
                        "product_data": {"name": "TokenMarket top-up"},
                    },
                }
            ],
            success_url=return_url,
            cancel_url=return_url,
            expires_at=order.expires_us // 1_000_000,
            idempotency_key=order.id,
        )
        made = _read(answer, _Session)
        if not made.url or not made.url.startswith("https://"):
            raise Unreachable("Stripe answered a checkout without an address")
        return Checkout(made.id, made.url)

    def verify(self, body: bytes, headers: Mapping[bytes, bytes], now_s: int) -> News:
        """As ``Gateway.verify``, with the library's own check of the signature."""
        header = headers.get(b"stripe-signature", b"").decode("ascii", "ignore")
        secret = self._webhook_secret.reveal()
        stripe: Any = importlib.import_module("stripe")
        try:
            # the library's clock is not ours, so the time is checked below
            stripe.WebhookSignature.verify_header(body, header, secret, tolerance=None)
            stamp = int(next(part[2:] for part in header.split(",") if part.startswith("t=")))
        except (stripe.SignatureVerificationError, ValueError, StopIteration) as error:
            raise Forged("a wrong signature") from error
        if abs(now_s - stamp) > SIGNATURE_AGE_S:
            raise Forged("an old signature")
        try:
            event = msgspec.json.decode(body, type=_Event)
        except msgspec.MsgspecError as error:
            raise Forged("no event") from error
        found = event.data.object
        subject = ""
        if event.type in _SESSION_EVENTS:
            subject = found.id
        elif event.type.startswith(_MONEY_EVENTS):
            subject = found.payment_intent or ""
        return News(event.id, event.type, subject)

    async def fetch(self, subject: str) -> Payment | None:
        """As ``Gateway.fetch``; by the id of a session (``cs_…``) or payment intent (``pi_…``)."""
        name = quote(subject, safe="")
        if subject.startswith("cs_"):
            expand = ["payment_intent.latest_charge"]
            answer = await self._call("get", f"/v1/checkout/sessions/{name}", expand=expand)
            session = _read(answer, _Session)
            return await self._of_session(session)
        if subject.startswith("pi_"):
            answer = await self._call(
                "get", f"/v1/payment_intents/{name}", expand=["latest_charge"]
            )
            intent = _read(answer, _Intent)
            state: State = "paid" if intent.status == "succeeded" else "open"
            return await self._payment("", state, intent.amount, intent.metadata, intent)
        return None

    async def _of_session(self, session: _Session) -> Payment | None:
        state: State = "open"
        if session.payment_status == "paid":
            state = "paid"
        elif session.status == "expired":
            state = "expired"
        elif session.status == "complete" and session.payment_intent is not None:
            # paid by bank: complete, unpaid, and either still under way or refused
            refused = session.payment_intent.status in ("requires_payment_method", "canceled")
            state = "failed" if refused else "open"
        intent = session.payment_intent or _Intent(
            "", "", session.amount_total or 0, session.currency or ""
        )
        amount = session.amount_total or 0
        return await self._payment(session.id, state, amount, session.metadata, intent)

    async def _payment(
        self, session: str, state: State, amount: int, marks: Mapping[str, str], intent: _Intent
    ) -> Payment | None:
        if "order" not in marks or "organization" not in marks:
            return None  # a payment of the same Stripe account for something else
        disputed = refunded = 0
        if state == "paid" and intent.id:
            refunded = 0 if intent.latest_charge is None else intent.latest_charge.amount_refunded
            answer = await self._call("get", "/v1/disputes", payment_intent=intent.id, limit=100)
            disputes = _read(answer, _Disputes).data
            disputed = sum(one.amount for one in disputes if one.status not in _KEPT)
        return Payment(
            session=session,
            payment=intent.id or session,
            order_id=marks["order"],
            org_id=marks["organization"],
            state=state,
            currency=intent.currency.upper(),
            amount_minor=amount,
            refunded_minor=refunded,
            disputed_minor=disputed,
        )

    async def _call(self, method: str, path: str, **params: object) -> str:
        return await asyncio.to_thread(self._ask, method, path, params)

    def _ask(self, method: str, path: str, params: Mapping[str, object]) -> str:
        """In a thread; the body of the answer."""
        stripe: Any = importlib.import_module("stripe")
        with self._making:
            if self._client is None:
                self._client = self._made(stripe)
        try:
            answer = self._client.raw_request(method, path, **params)
        except stripe.StripeError as error:
            # its text may hold what was sent, so only its kind is told
            kind = f"{type(error).__name__} {error.http_status} {error.code}"
            raise Unreachable(f"Stripe: {kind}") from None
        body: str = answer.body
        return body

    def _made(self, stripe: Any) -> Any:
        requests: Any = importlib.import_module("requests")
        session = requests.Session()
        session.trust_env = False  # the proxies of the configuration, not those of the moment
        proxy = self._proxies.choose(Origin.parse(self._api))
        where = None
        if proxy is not None:
            account = ""
            if proxy.authorization:
                user, _, word = base64.b64decode(proxy.authorization[6:]).decode().partition(":")
                account = f"{quote(user, safe='')}:{quote(word, safe='')}@"
            host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
            where = f"http://{account}{host}:{proxy.port}"
        http = stripe.RequestsClient(
            timeout=TIMEOUT_S, session=session, verify_ssl_certs=True, proxy=where
        )
        return stripe.StripeClient(
            self._key.reveal(),
            http_client=http,
            base_addresses={"api": self._api},
            max_network_retries=1,
        )


def _read(body: str, kind: type[Read]) -> Read:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"Stripe answered something else than a {kind.__name__[1:]}") from error
