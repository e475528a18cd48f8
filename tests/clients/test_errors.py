"""Every error of design/api.md section 5 that a client can cause, as the official SDK raises it."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from openai import (
    APIError,
    APIStatusError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
    PermissionDeniedError,
    UnprocessableEntityError,
)

from tests.support.server import Server

HELLO = [{"role": "user", "content": "Hello!"}]
KEYS = {"type", "code", "message", "param", "request_id", "fault", "retryable", "docs_url"}
BODY_BYTES_MAX = 1_000_000

# Providers of their own, so that what one test breaks cools down for itself alone.
PROVIDER = """
[[provider]]
name = "{name}"
adapter = "sandbox"
base_url = "sandbox:"
timeout_s = {{ connect = 1, first_byte = 0.3, idle = 0.3, total = 2 }}

[[model]]
id = "{name}-chat"
operation = "chat"
name = {{ en = "{name}", zh = "{name}" }}
vendor = "tokenmarket"
default_provider = "{name}"
context_tokens = 131_072
max_output_tokens = 16_384

[[route]]
model = "{name}-chat"
provider = "{name}"
upstream_model = "{upstream}"
price = [ {{ unit = "input_token", usd = "1" }}, {{ unit = "output_token", usd = "2" }} ]
"""
ROWS = {
    "impatient": "sandbox-timeout",
    "impatient-too": "sandbox-chat",
    "refuses-us": "sandbox-chat",
    "refuses-you": "sandbox-chat",
    "crowded": "sandbox-chat",
    "flaky": "sandbox-fail-500",
}


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    running = start(TOKENMARKET_JSON_BODY_BYTES_MAX=str(BODY_BYTES_MAX))
    toml = "".join(PROVIDER.format(name=name, upstream=to) for name, to in ROWS.items())
    running.apply_models(toml, *(f"{name}-chat" for name in ROWS))
    return running


def fails(call: Callable[[], object], kind: type[APIStatusError]) -> APIStatusError:
    """The exception of exactly this class, its envelope checked."""
    with pytest.raises(APIStatusError) as raised:
        call()
    error = raised.value
    assert type(error) is kind
    body = error.body
    assert isinstance(body, dict)
    assert set(body) >= KEYS
    assert (body["code"], body["type"], body["param"]) == (error.code, error.type, error.param)
    assert isinstance(body["code"], str)
    assert body["message"]
    assert body["fault"] in ("caller", "platform", "provider")
    assert body["docs_url"].startswith("http")
    headers = error.response.headers
    assert headers["content-type"] == "application/json"
    assert body["request_id"] == headers["x-request-id"] == error.request_id
    assert headers["x-should-retry"] == ("true" if body["retryable"] else "false")
    assert int(headers["openai-processing-ms"]) >= 0
    return error


def body_of(error: APIStatusError) -> dict[str, Any]:
    assert isinstance(error.body, dict)
    return error.body


def chat(client: OpenAI, **fields: Any) -> Callable[[], object]:
    fields = {"model": "sandbox-chat", "messages": HELLO, **fields}
    return lambda: client.chat.completions.create(**fields)


def check_receipt(server: Server, error: APIStatusError, status: str) -> dict[str, Any]:
    """What failed has a receipt that says why, and cost nothing."""
    receipt = server.receipt(str(error.request_id))
    assert receipt["status"] == status
    assert receipt["error"]["code"] == error.code
    assert receipt["error"]["type"] == error.type
    assert receipt["amounts"]["charged"] == "0.00"
    assert receipt["amounts"]["held"] == receipt["amounts"]["released"]
    assert receipt["items"] == []
    return receipt


# --- who is asking ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["tm_live_" + "A" * 38, "sk-openai", "x", "tm_live_"], ids=["unknown", "sk", "x", "cut"]
)
def test_a_wrong_key(connect: Callable[..., OpenAI], key: str) -> None:
    error = fails(chat(connect(key)), AuthenticationError)
    assert (error.status_code, error.code, error.type) == (401, "AUTH_001", "unauthorized")
    assert key not in error.message
    assert body_of(error)["fault"] == "caller"


@pytest.mark.parametrize("path", ["models", "credits", "key", "usage", "requests/req_1"])
def test_reads_want_a_key_as_well(server: Server, path: str) -> None:
    answer = server.get(f"/{path}", key=None)
    assert (answer.status, answer.error["code"]) == (401, "AUTH_001")
    assert set(answer.error) >= KEYS
    assert answer.headers["x-should-retry"] == "false"


def test_a_key_that_may_not(server: Server, connect: Callable[..., OpenAI]) -> None:
    client = connect(server.create_key("--models", "sandbox-embed"))
    error = fails(chat(client), PermissionDeniedError)
    assert (error.code, error.type) == ("AUTH_002", "forbidden")
    assert "sandbox-chat" in error.message
    # The allowed one works.
    assert client.embeddings.create(model="sandbox-embed", input="x").data


# --- what is asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"messages": [*HELLO, {"role": "user", "content": [{"type": "text"}]}]},
         "messages[1].content[0].text"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"n": 0}, "n"),
        ({"stop": 5}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"provider": 5}, "provider"),
        ({"provider": {"only": "sandbox"}}, "provider.only"),
        ({"provider": {"sort": "beauty"}}, "provider.sort"),
        ({"models": "sandbox-chat"}, "models"),
        ({"model": ""}, "model"),
    ],
    ids=lambda value: None if isinstance(value, str) else str(value)[:40],
)  # fmt: skip
def test_a_wrong_field_is_named_by_its_path(
    client: OpenAI, server: Server, fields: dict[str, Any], param: str
) -> None:
    body = {"model": "sandbox-chat", "messages": HELLO, **fields}
    error = fails(
        lambda: client.post("/chat/completions", body=body, cast_to=object), BadRequestError
    )
    assert (error.code, error.type) == ("REQUEST_001", "invalid_request_body")
    assert error.param == param
    assert error.response.headers["x-should-retry"] == "false"
    check_receipt(server, error, "rejected")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/chat/completions", {"messages": HELLO}, "model"),
        ("/chat/completions", {"model": "sandbox-chat"}, "messages"),
        ("/completions", {"model": "sandbox-chat"}, "prompt"),
        ("/embeddings", {"model": "sandbox-embed"}, "input"),
        ("/embeddings", {"model": "sandbox-embed", "input": []}, "input"),
        ("/embeddings", {"model": "sandbox-embed", "input": ["a", ""]}, "input[1]"),
        ("/embeddings", {"model": "sandbox-embed", "input": "x", "encoding_format": "hex"},
         "encoding_format"),
    ],
)  # fmt: skip
def test_a_missing_or_wrong_member(server: Server, path: str, body: object, param: str) -> None:
    answer = server.post(path, body)
    assert (answer.status, answer.error["code"]) == (400, "REQUEST_001")
    assert answer.error["param"] == param


def test_an_unknown_model(client: OpenAI, server: Server) -> None:
    error = fails(chat(client, model="sandbox-caht"), NotFoundError)
    assert (error.code, error.type, error.param) == ("MODEL_001", "model_not_found", "model")
    assert "sandbox-chat" in error.message  # near names are suggested
    check_receipt(server, error, "rejected")


def test_a_model_without_credentials_names_the_variable(client: OpenAI, server: Server) -> None:
    for fields in ({}, {"extra_body": {"provider": "dataeyes"}}):
        error = fails(chat(client, model="DeepSeek-V4-pro", **fields), InternalServerError)
        assert (error.status_code, error.code) == (503, "MODEL_002")
        assert error.type == "model_unavailable"
        assert body_of(error)["fault"] == "platform"
        assert "DATAEYES_API_KEY" in error.message
        assert error.response.headers["x-should-retry"] == "false"
        check_receipt(server, error, "rejected")


def test_an_unknown_path_and_a_wrong_method(server: Server) -> None:
    for path in ("/api/v1/nothing", "/api/v1/chat", "/api/v2/chat/completions", "/nothing"):
        answer = server.call("POST", path, {})
        assert (answer.status, answer.error["code"]) == (404, "REQUEST_004"), path
        assert set(answer.error) >= KEYS
    answer = server.get("/chat/completions")
    assert (answer.status, answer.error["code"]) == (405, "REQUEST_005")
    assert answer.headers["allow"] == "POST"
    answer = server.post("/models", {})
    assert (answer.status, answer.error["code"]) == (405, "REQUEST_005")
    assert "GET" in answer.headers["allow"]


def test_a_wrong_content_type(server: Server) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = server.post(
            "/chat/completions",
            {"model": "sandbox-chat", "messages": HELLO},
            headers={"Content-Type": kind},
        )
        assert (answer.status, answer.error["code"]) == (415, "REQUEST_007"), kind
        assert answer.error["type"] == "unsupported_media_type"
        assert answer.headers["x-should-retry"] == "false"


def test_a_body_that_is_too_large(client: OpenAI, server: Server) -> None:
    error = fails(
        chat(client, messages=[{"role": "user", "content": "x" * BODY_BYTES_MAX}]), APIStatusError
    )
    assert (error.status_code, error.code) == (413, "REQUEST_006")
    assert error.type == "request_too_large"
    # Just below the limit is accepted (and then too dear or fine, but read).
    answer = server.chat("x" * (BODY_BYTES_MAX - 200), max_tokens=1)
    assert answer.status != 413


def test_no_json_at_all(server: Server) -> None:
    for raw in (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model":"sandbox-chat",}'):
        answer = server.post("/chat/completions", raw)
        assert (answer.status, answer.error["code"]) == (400, "REQUEST_001"), raw


# --- money --------------------------------------------------------------------------------------


def test_no_money(server: Server, connect: Callable[..., OpenAI]) -> None:
    key = server.create_org("penniless")
    error = fails(chat(connect(key)), APIStatusError)
    assert (error.status_code, error.code) == (402, "BILLING_001")
    assert error.type == "insufficient_balance"
    body = body_of(error)
    assert Decimal(body["available"]) == 0
    assert Decimal(body["held"]) == 0
    assert Decimal(body["needed"]) > 0
    assert body["affordable_max_tokens"] == 0
    assert error.response.headers["x-should-retry"] == "false"
    receipt = server.receipt(str(error.request_id), key=key)
    assert (receipt["status"], receipt["error"]["code"]) == ("rejected", "BILLING_001")


def test_too_little_money_says_what_is_affordable(
    server: Server, connect: Callable[..., OpenAI]
) -> None:
    client = connect(server.create_org("poor", "0.001"))
    error = fails(chat(client, max_tokens=16_000), APIStatusError)
    assert (error.status_code, error.code) == (402, "BILLING_001")
    body = body_of(error)
    assert Decimal(body["available"]) == Decimal("0.001")
    assert Decimal(body["needed"]) > Decimal("0.001")
    affordable = body["affordable_max_tokens"]
    assert 0 < affordable < 16_000
    # The promise holds.
    completion = client.chat.completions.create(
        model="sandbox-chat", messages=HELLO, max_tokens=affordable
    )
    assert completion.choices[0].finish_reason == "stop"


def test_money_that_running_requests_hold(server: Server, connect: Callable[..., OpenAI]) -> None:
    key = server.create_org("busy", "0.001")
    client = connect(key)
    held = client.chat.completions.create(
        model="sandbox-chat",
        messages=HELLO,
        stream=True,
        max_tokens=1500,
        metadata={"sandbox_pace_ms": "60000", "sandbox_tokens": "100"},
    )
    next(iter(held))
    credits = server.get("/credits", key=key).json
    assert Decimal(credits["held"]) > Decimal("0.0006")
    assert Decimal(credits["balance"]) == Decimal("0.001")
    assert Decimal(credits["available"]) == Decimal("0.001") - Decimal(credits["held"])
    error = fails(chat(client, max_tokens=1500), APIStatusError)
    held.close()
    assert (error.status_code, error.code) == (402, "BILLING_002")
    headers = error.response.headers
    assert int(headers["retry-after"]) >= 1
    assert headers["x-should-retry"] == "true"
    assert Decimal(body_of(error)["held"]) == Decimal(credits["held"])


# --- providers ----------------------------------------------------------------------------------


def test_an_upstream_that_fails(client: OpenAI, server: Server) -> None:
    error = fails(chat(client, model="sandbox-fail-500"), InternalServerError)
    assert (error.status_code, error.code, error.type) == (502, "PROVIDER_001", "provider_error")
    body = body_of(error)
    assert body["fault"] == "provider"
    assert body["retryable"] is True
    assert body["provider"]["name"] == "sandbox"
    assert body["provider"]["status"] == 500
    assert body["provider"]["message"]
    headers = error.response.headers
    assert headers["x-tokenmarket-attempts"] == "1"
    assert headers["x-tokenmarket-provider"] == "sandbox"
    receipt = check_receipt(server, error, "failed")
    (attempt,) = receipt["attempts"]
    assert attempt["status"] == 500
    assert attempt["error"]
    assert receipt["route"]["candidates"][0]["decision"] == "failed"


def test_an_upstream_that_is_busy(client: OpenAI, server: Server) -> None:
    error = fails(
        chat(client, model="crowded-chat", metadata={"sandbox_status": "429"}), InternalServerError
    )
    assert (error.status_code, error.code) == (503, "PROVIDER_002")
    assert int(error.response.headers["retry-after"]) >= 1
    check_receipt(server, error, "failed")


def test_an_upstream_that_never_answers(client: OpenAI, server: Server) -> None:
    error = fails(chat(client, model="impatient-chat"), InternalServerError)
    assert (error.status_code, error.code) == (504, "PROVIDER_TIMEOUT")
    assert error.type == "timeout"
    receipt = check_receipt(server, error, "failed")
    assert 250 <= receipt["attempts"][0]["duration_ms"] < 2000


@pytest.mark.parametrize("model", ["sandbox-badjson", "sandbox-cut"])
def test_an_answer_that_is_broken(client: OpenAI, server: Server, model: str) -> None:
    error = fails(chat(client, model=model), InternalServerError)
    assert (error.status_code, error.code) == (502, "PROVIDER_001")
    check_receipt(server, error, "failed")


def test_a_stream_that_stalls_ends_with_an_error(client: OpenAI, server: Server) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="impatient-too-chat",
        messages=HELLO,
        stream=True,
        metadata={"sandbox_fault": "stall", "sandbox_pace_ms": "1"},
    )
    with pytest.raises(APIError) as raised:
        list(raw.parse())
    assert raised.value.code == "PROVIDER_TIMEOUT"
    assert raised.value.type == "timeout"
    assert server.receipt(raw.headers["x-request-id"])["status"] == "failed"


@pytest.mark.parametrize(
    ("status", "kind"), [(400, BadRequestError), (422, UnprocessableEntityError)]
)
def test_an_upstream_4xx_that_the_caller_caused_keeps_its_status(
    client: OpenAI, status: int, kind: type[APIStatusError]
) -> None:
    error = fails(
        chat(client, model="refuses-you-chat", metadata={"sandbox_status": str(status)}), kind
    )
    assert (error.status_code, error.code) == (status, "PROVIDER_001")
    assert body_of(error)["fault"] == "caller"
    assert error.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("status", [401, 402, 403])
def test_our_own_troubles_there_are_not_the_callers(
    client: OpenAI, server: Server, status: int
) -> None:
    name = f"own-trouble-{status}"
    server.apply_models(PROVIDER.format(name=name, upstream="sandbox-chat"), f"{name}-chat")
    error = fails(
        chat(client, model=f"{name}-chat", metadata={"sandbox_status": str(status)}),
        InternalServerError,
    )
    assert (error.status_code, error.code) == (502, "PROVIDER_001")
    assert body_of(error)["fault"] == "platform"
    check_receipt(server, error, "failed")


@pytest.mark.parametrize(
    ("fields", "attempts"),
    [({"temperature": 9}, "0"), ({"model": "nothing"}, "0"), ({"model": "refuses-us-chat"}, "1")],
    ids=["field", "model", "upstream"],
)
def test_headers_of_an_error(
    client: OpenAI, server: Server, fields: dict[str, Any], attempts: str
) -> None:
    with pytest.raises(APIStatusError) as raised:
        chat(client, metadata={"sandbox_status": "403"}, **fields)()
    headers = raised.value.response.headers
    assert headers["x-tokenmarket-attempts"] == attempts
    assert ("x-tokenmarket-provider" in headers) is (attempts == "1")
    assert float(headers["x-tokenmarket-overhead-ms"]) >= 0
    assert Decimal(headers["x-tokenmarket-cost"]) == 0
    for kind in ("requests", "tokens"):
        assert int(headers[f"x-ratelimit-limit-{kind}"]) > 0
        assert int(headers[f"x-ratelimit-remaining-{kind}"]) >= 0
        assert headers[f"x-ratelimit-reset-{kind}"].endswith("s")


async def test_the_async_client_raises_the_same(aclient: AsyncOpenAI) -> None:
    with pytest.raises(NotFoundError) as raised:
        await aclient.chat.completions.create(model="nothing", messages=HELLO)
    assert raised.value.code == "MODEL_001"
    stream = await aclient.chat.completions.create(
        model="sandbox-cut", messages=HELLO, stream=True, metadata={"sandbox_pace_ms": "1"}
    )
    with pytest.raises(APIError) as broken:
        [chunk async for chunk in stream]
    assert broken.value.code == "PROVIDER_001"


# --- retries of the SDK -------------------------------------------------------------------------


def test_the_sdk_retries_what_may_be_retried(
    server: Server, connect: Callable[..., OpenAI]
) -> None:
    key = server.create_key()
    error = fails(chat(connect(key, max_retries=2), model="flaky-chat"), InternalServerError)
    assert error.status_code == 502
    rows = server.get("/usage?group_by=key", key=key).json["data"]
    mine = server.get("/key", key=key).json["id"]
    (row,) = [row for row in rows if row["key"] == mine]
    assert (row["requests"], row["failed"]) == (3, 3)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "DeepSeek-V4-pro"},  # 503, which the SDK would retry by itself
        {"model": "nothing"},
        {"temperature": 9},
    ],
    ids=["503", "404", "400"],
)
def test_the_sdk_does_not_retry_what_stays_wrong(
    server: Server, connect: Callable[..., OpenAI], fields: dict[str, Any]
) -> None:
    key = server.create_key()
    client = connect(key, max_retries=2)
    with pytest.raises(APIStatusError):
        chat(client, **fields)()
    mine = server.get("/key", key=key).json["id"]
    rows = server.get("/usage?group_by=key", key=key).json["data"]
    assert [row["requests"] for row in rows if row["key"] == mine] == [1]


def test_the_books_are_exact(server: Server) -> None:
    server.verify()
