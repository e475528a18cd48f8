"""Stripe's library against a server that answers like Stripe: what is sent, what is understood."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tokenmarket.payments.gateway import Payment, Unreachable
from tokenmarket.payments.stripe_checkout import StripeGateway
from tokenmarket.store.orders import OrderRow
from tokenmarket.upstream.credentials import Secret
from tokenmarket.upstream.proxy import Proxies

KEY = "sk_test_" + "k" * 30
ORDER = OrderRow(
    id="ord_1",
    org_id="org_1",
    psp="stripe",
    amount_nano=20_000_000_000,
    currency="USD",
    pay_minor=2_000,
    rate="",
    state="created",
    session="",
    payment="",
    url="",
    taken_minor=0,
    created_by="user:u",
    created_us=0,
    expires_us=1_900_000_000_000_000,
    paid_us=0,
)
MARKS = {"order": "ord_1", "organization": "org_1"}
INTENT = {
    "id": "pi_1",
    "status": "succeeded",
    "amount": 2000,
    "currency": "usd",
    "metadata": MARKS,
    "latest_charge": {"amount_refunded": 500},
}


class Stripe(ThreadingHTTPServer):
    """``answers``: path -> (status, document); ``seen``: what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, Any]] = {}
        self.seen: list[tuple[str, str, dict[str, str], dict[str, list[str]]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Stripe

    def answer(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        fields = parse_qs(self.rfile.read(length).decode() or parts.query)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers, fields))
        status, document = self.server.answers.get(parts.path, (404, {"error": {"code": "x"}}))
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def stripe() -> Iterator[Stripe]:
    server = Stripe()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def gateway(api: str, proxies: Proxies | None = None) -> StripeGateway:
    secret = Secret("whsec_" + "w" * 30)
    return StripeGateway(Secret(KEY), secret, proxies or Proxies(), ("USD",), api)


async def test_a_checkout(stripe: Stripe) -> None:
    made = {"id": "cs_1", "url": "https://checkout.stripe.com/c/1"}
    stripe.answers["/v1/checkout/sessions"] = (200, made)
    found = await gateway(stripe.url).create_checkout(ORDER, return_url="https://us.example/back")
    assert found == ("cs_1", "https://checkout.stripe.com/c/1")
    ((method, _, headers, fields),) = stripe.seen
    assert method == "POST"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["idempotency-key"] == "ord_1"
    assert fields["line_items[0][price_data][unit_amount]"] == ["2000"]
    assert fields["metadata[organization]"] == ["org_1"]
    assert fields["payment_intent_data[metadata][order]"] == ["ord_1"]
    assert fields["success_url"] == ["https://us.example/back"]


PAID = Payment("cs_1", "pi_1", "ord_1", "org_1", "paid", "USD", 2000, 500, 0)
SESSION = {
    "id": "cs_1",
    "status": "complete",
    "payment_status": "paid",
    "amount_total": 2000,
    "currency": "usd",
    "metadata": MARKS,
    "payment_intent": INTENT,
}


@pytest.mark.parametrize(
    ("session", "disputes", "expected"),
    [
        (SESSION, [], PAID),
        (
            SESSION,
            [{"amount": 2000, "status": "needs_response"}, {"amount": 7, "status": "won"}],
            PAID._replace(disputed_minor=2000),
        ),
        (
            {**SESSION, "payment_status": "unpaid", "status": "expired", "payment_intent": None},
            [],
            Payment("cs_1", "cs_1", "ord_1", "org_1", "expired", "USD", 2000),
        ),
        (
            {**SESSION, "payment_status": "unpaid", "status": "open", "payment_intent": None},
            [],
            Payment("cs_1", "cs_1", "ord_1", "org_1", "open", "USD", 2000),
        ),
        (
            {
                **SESSION,
                "payment_status": "unpaid",
                "payment_intent": {**INTENT, "status": "requires_payment_method"},
            },
            [],
            Payment("cs_1", "pi_1", "ord_1", "org_1", "failed", "USD", 2000),
        ),
        ({**SESSION, "metadata": {}}, [], None),
    ],
    ids=["paid", "disputed", "expired", "open", "failed", "of something else"],
)
async def test_the_truth_of_a_session(
    stripe: Stripe, session: Any, disputes: Any, expected: Payment | None
) -> None:
    stripe.answers["/v1/checkout/sessions/cs_1"] = (200, session)
    stripe.answers["/v1/disputes"] = (200, {"data": disputes})
    assert await gateway(stripe.url).fetch("cs_1") == expected


async def test_the_truth_of_a_payment_intent(stripe: Stripe) -> None:
    stripe.answers["/v1/payment_intents/pi_1"] = (200, INTENT)
    stripe.answers["/v1/disputes"] = (200, {"data": []})
    assert await gateway(stripe.url).fetch("pi_1") == PAID._replace(session="")
    assert await gateway(stripe.url).fetch("cus_1") is None


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"error": {}}),
        (401, {"error": {"message": KEY}}),
        (200, b"<html>"),
        (200, []),
        (200, {}),
    ],
    ids=["down", "refused", "html", "list", "empty"],
)
async def test_other_answers(stripe: Stripe, answer: tuple[int, Any]) -> None:
    stripe.answers["/v1/checkout/sessions/cs_1"] = answer
    with pytest.raises(Unreachable) as told:
        await gateway(stripe.url).fetch("cs_1")
    assert KEY not in str(told.value)


async def test_through_the_proxy_of_the_configuration(stripe: Stripe) -> None:
    """Not through that of the environment; the server here plays the proxy."""
    stripe.answers["/v1/payment_intents/pi_1"] = (200, INTENT)
    stripe.answers["/v1/disputes"] = (200, {"data": []})
    proxies = Proxies(http=f"http://user:p%40ss@127.0.0.1:{stripe.server_address[1]}")
    assert await gateway("http://api.stripe.invalid", proxies).fetch("pi_1") is not None
    assert stripe.seen[0][1].startswith("http://api.stripe.invalid/v1/payment_intents/pi_1")
    assert stripe.seen[0][2]["proxy-authorization"] == "Basic dXNlcjpwQHNz"
