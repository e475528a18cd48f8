"""What a key may do is set on the command line and holds in the running server."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from openai import (
    APIStatusError,
    AuthenticationError,
    OpenAI,
    PermissionDeniedError,
    RateLimitError,
)

from tests.support.server import TAKES_EFFECT_S, Server, until

HELLO = [{"role": "user", "content": "answer OK"}]
ASK = {"model": "sandbox-chat", "messages": HELLO}


def test_requests_per_minute(server: Server, connect: Callable[..., OpenAI]) -> None:
    client = connect(server.create_key("--rpm", "3"))
    for left in (2, 1, 0):
        headers = client.chat.completions.with_raw_response.create(**ASK).headers
        assert headers["x-ratelimit-limit-requests"] == "3"
        assert headers["x-ratelimit-remaining-requests"] == str(left)
        assert headers["x-ratelimit-reset-requests"].endswith("s")
    with pytest.raises(RateLimitError) as raised:
        client.chat.completions.create(**ASK)
    error = raised.value
    assert (error.code, error.type) == ("QUOTA_001", "rate_limited")
    body = error.body
    assert isinstance(body, dict)
    assert body["fault"] == "caller"
    assert "request" in body["limit"]
    assert body["scope"] == "key"
    headers = error.response.headers
    # The next of three per minute fits after at most 20 s.
    assert 1 <= int(headers["retry-after"]) <= 20
    assert headers["x-should-retry"] == "true"
    assert headers["x-ratelimit-remaining-requests"] == "0"


def test_a_refused_request_consumes_nothing(server: Server, connect: Callable[..., OpenAI]) -> None:
    key = server.create_key("--rpm", "2")
    client = connect(key)
    for _ in range(4):
        assert server.chat(key=key, temperature=9).status == 400
    client.chat.completions.create(**ASK)
    client.chat.completions.create(**ASK)
    with pytest.raises(RateLimitError):
        client.chat.completions.create(**ASK)


def test_the_sdk_waits_as_long_as_it_is_told(
    server: Server, connect: Callable[..., OpenAI]
) -> None:
    key = server.create_key("--rpm", "120")
    drained = 0
    while server.chat(key=key).status == 200:
        drained += 1
        assert drained < 200
    assert drained >= 120
    raw = connect(key, max_retries=3).chat.completions.with_raw_response.create(**ASK)
    assert raw.status_code == 200


def test_limits_are_announced_from_the_first_answer_on(server: Server) -> None:
    """Even if that answer is an error."""
    answer = server.chat(key=server.create_key("--rpm", "7", "--tpm", "9000"), temperature=9)
    assert answer.status == 400
    assert answer.headers["x-ratelimit-limit-requests"] == "7"
    assert answer.headers["x-ratelimit-limit-tokens"] == "9000"


def test_tokens_per_minute(server: Server, connect: Callable[..., OpenAI]) -> None:
    client = connect(server.create_key("--tpm", "1000"))
    headers = client.chat.completions.with_raw_response.create(
        **ASK, max_tokens=20, metadata={"sandbox_tokens": "20"}
    ).headers
    assert headers["x-ratelimit-limit-tokens"] == "1000"
    assert int(headers["x-ratelimit-remaining-tokens"]) < 1000

    def many() -> None:
        for _ in range(60):
            client.chat.completions.create(
                **ASK, max_tokens=100, metadata={"sandbox_tokens": "100"}
            )

    with pytest.raises(RateLimitError) as raised:
        many()
    body = raised.value.body
    assert isinstance(body, dict)
    assert body["code"] == "QUOTA_001"
    assert "token" in body["limit"]


def test_concurrency(server: Server, connect: Callable[..., OpenAI]) -> None:
    client = connect(server.create_key("--concurrency", "1"))
    first = client.chat.completions.create(
        **ASK, stream=True, metadata={"sandbox_pace_ms": "60000", "sandbox_tokens": "9"}
    )
    next(iter(first))
    with pytest.raises(RateLimitError) as raised:
        client.chat.completions.create(**ASK)
    body = raised.value.body
    assert isinstance(body, dict)
    assert (body["code"], body["limit"]) == ("QUOTA_001", "concurrency")
    assert int(raised.value.response.headers["retry-after"]) >= 1
    # With retries it comes through once the place is free.
    timer = threading.Timer(0.2, first.close)
    timer.start()
    patient = client.with_options(max_retries=4)
    raw = patient.chat.completions.with_raw_response.create(**ASK)
    timer.join()
    assert raw.retries_taken >= 1


def test_models_providers_and_operations(server: Server, connect: Callable[..., OpenAI]) -> None:
    client = connect(server.create_key("--models", "sandbox-chat,sandbox-embed"))
    client.chat.completions.create(**ASK)
    with pytest.raises(PermissionDeniedError) as raised:
        client.chat.completions.create(**{**ASK, "model": "sandbox-reasoner"})
    assert (raised.value.code, raised.value.type) == ("AUTH_002", "forbidden")
    assert {model.id for model in client.models.list()} == {"sandbox-chat", "sandbox-embed"}
    # A fallback is no way around.
    client = connect(server.create_key("--models", "sandbox-fail-500"))
    with pytest.raises(APIStatusError) as refused:
        client.chat.completions.create(
            **{**ASK, "model": "sandbox-fail-500"}, extra_body={"models": ["sandbox-chat"]}
        )
    assert refused.value.code in ("AUTH_002", "PROVIDER_001")

    client = connect(server.create_key("--providers", "openai"))
    with pytest.raises(PermissionDeniedError) as raised:
        client.chat.completions.create(**ASK)
    assert raised.value.code == "AUTH_002"

    client = connect(server.create_key("--operations", "embeddings"))
    client.embeddings.create(model="sandbox-embed", input="x")
    with pytest.raises(PermissionDeniedError) as raised:
        client.chat.completions.create(**ASK)
    assert raised.value.code == "AUTH_002"


def test_addresses(server: Server, connect: Callable[..., OpenAI]) -> None:
    connect(server.create_key("--addresses", "127.0.0.0/8")).chat.completions.create(**ASK)
    client = connect(server.create_key("--addresses", "10.0.0.0/8"))
    for _ in range(2):  # the second is answered from memory
        with pytest.raises(PermissionDeniedError) as raised:
            client.chat.completions.create(**ASK)
        assert raised.value.code == "AUTH_002"


def test_an_expiry(server: Server, connect: Callable[..., OpenAI]) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=5)
    key = server.create_key("--expires", soon.isoformat())
    client = connect(key)
    client.chat.completions.create(**ASK)

    def refused() -> bool:
        try:
            client.chat.completions.create(**ASK)
        except AuthenticationError as error:
            return error.code == "AUTH_001"
        return False

    until(refused, "the key expires", 5 + TAKES_EFFECT_S)
    assert datetime.now(UTC) >= soon.replace(microsecond=0)


def test_a_disabled_key(server: Server, connect: Callable[..., OpenAI]) -> None:
    made = server.run("key", "create", "--org", "demo", "--name", "to be disabled")
    client = connect(made["key"])
    client.chat.completions.create(**ASK)
    server.run("key", "disable", made["id"])
    began_s = time.monotonic()

    def refused() -> bool:
        try:
            client.chat.completions.create(**ASK)
        except AuthenticationError as error:
            return error.code == "AUTH_001"
        return False

    until(refused, "the key is refused", TAKES_EFFECT_S)
    assert time.monotonic() - began_s < TAKES_EFFECT_S
    listed = server.run("key", "list")["data"]
    assert [key["status"] for key in listed if key["id"] == made["id"]] == ["disabled"]


def test_rotation_with_and_without_overlap(server: Server, connect: Callable[..., OpenAI]) -> None:
    old = server.run("key", "create", "--org", "demo", "--rpm", "50", "--name", "rotated")
    new = server.run("key", "rotate", old["id"], "--overlap", "1h")
    assert new["key"] != old["key"]
    for key in (old["key"], new["key"]):
        raw = connect(key).chat.completions.with_raw_response.create(**ASK)
        assert raw.headers["x-ratelimit-limit-requests"] == "50"
    last = server.run("key", "rotate", new["id"], "--overlap", "0")
    connect(last["key"]).chat.completions.create(**ASK)
    until(lambda: server.chat(key=new["key"]).status == 401, "the old key ends", TAKES_EFFECT_S)
    assert server.chat(key=last["key"]).status == 200


def test_a_spend_limit(server: Server, connect: Callable[..., OpenAI]) -> None:
    key = server.create_key("--limit", "0.0001", "--limit-day", "0.5")
    client = connect(key)
    assert Decimal(server.get("/credits", key=key).json["balance"]) > 1
    costs: list[Decimal] = []

    def many() -> None:
        for _ in range(40):
            raw = client.chat.completions.with_raw_response.create(
                **ASK, max_tokens=50, metadata={"sandbox_tokens": "50"}
            )
            costs.append(Decimal(raw.headers["x-tokenmarket-cost"]))

    with pytest.raises(PermissionDeniedError) as raised:
        many()
    spent = sum(costs, Decimal(0))
    error = raised.value
    assert (error.code, error.type) == ("BILLING_003", "spend_limit")
    assert error.response.headers["x-should-retry"] == "false"
    body = error.body
    assert isinstance(body, dict)
    assert body["period"] == "total"
    assert body["resets_at"] is None
    assert 0 < spent <= Decimal("0.0001")
    spend = {row["period"]: row for row in server.get("/key", key=key).json["limits"]["spend"]}
    assert Decimal(spend["total"]["used"]) == Decimal(spend["day"]["used"]) == spent
    assert Decimal(spend["total"]["limit"]) == Decimal("0.0001")


def test_a_daily_limit_says_when_it_resets(server: Server) -> None:
    key = server.create_key("--limit-day", "0.000001")
    answer = server.chat(key=key, max_tokens=50)
    assert (answer.status, answer.error["code"]) == (403, "BILLING_003")
    midnight = (datetime.now(UTC) + timedelta(days=1)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    assert abs(answer.error["resets_at"] - midnight.timestamp()) <= 86_400
    assert answer.error["resets_at"] % 86_400 == 0
    assert answer.error["resets_at"] > time.time()


def test_get_key_tells_all_of_it(server: Server) -> None:
    key = server.create_key(
        "--name", "mine", "--rpm", "10", "--tpm", "5000", "--concurrency", "2",
        "--models", "sandbox-chat", "--providers", "sandbox", "--operations", "chat",
        "--addresses", "127.0.0.0/8", "--limit-month", "3", "--expires", "2099-01-31",
    )  # fmt: skip
    document = server.get("/key", key=key).json
    assert document["object"] == "key"
    assert document["id"].startswith("key_")
    assert document["name"] == "mine"
    assert document["organization"]
    assert abs(document["created_at"] - time.time()) < 60
    assert document["expires_at"] == int(datetime(2099, 1, 31, tzinfo=UTC).timestamp())
    limits = document["limits"]
    assert (limits["rpm"], limits["tpm"], limits["concurrency"]) == (10, 5000, 2)
    (spend,) = limits["spend"]
    assert spend["period"] == "month"
    assert Decimal(spend["limit"]) == 3
    assert Decimal(spend["used"]) == 0
    assert spend["resets_at"] > time.time()
    assert document["allowed"] == {
        "models": ["sandbox-chat"],
        "providers": ["sandbox"],
        "operations": ["chat"],
        "addresses": ["127.0.0.0/8"],
    }
    assert key not in str(document)


def test_the_books_are_exact(server: Server) -> None:
    server.verify()
