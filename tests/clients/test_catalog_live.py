"""The examples of the original API page against an upstream over real HTTP, set by the operator.

The provider is ``dataeyes``: its address and models come from ``catalog apply``, its key from the
environment, and behind it answers ``tokenmarket sandbox`` in a process of its own.
"""

import json
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal

import pytest
from openai import APIError, InternalServerError, NotFoundError, OpenAI

from tests.support.server import TAKES_EFFECT_S, Sandbox, Server, until

KEY = "sandbox-secret-key"
HELLO = [{"role": "user", "content": "Please answer with OK"}]
CATALOG = """
[[provider]]
name = "dataeyes"
adapter = "newapi"
base_url = "{url}"
api_key_env = "DATAEYES_API_KEY"
timeout_s = {{ connect = 2, first_byte = 10, idle = 10, total = 60 }}

[[route]]
model = "DeepSeek-V4-pro"
provider = "dataeyes"
upstream_model = "sandbox-chat"
price = [ {{ unit = "input_token", usd = "{price}" }}, {{ unit = "output_token", usd = "4" }} ]

[[model]]
id = "broken"
operation = "chat"
name = {{ en = "Broken", zh = "故障" }}
vendor = "x"
default_provider = "dataeyes"
context_tokens = 1000
max_output_tokens = 500

[[route]]
model = "broken"
provider = "dataeyes"
upstream_model = "sandbox-fail-500"
price = [ {{ unit = "input_token", usd = "1" }}, {{ unit = "output_token", usd = "4" }} ]
"""
# A provider to which ``metadata`` passes, so that the sandbox behind it can be told what to do.
WIRE = """
[[provider]]
name = "wire"
adapter = "openai"
base_url = "{url}"
api_key_env = "DATAEYES_API_KEY"

[[model]]
id = "wired"
operation = "chat"
name = {{ en = "Wired", zh = "有线" }}
vendor = "x"
default_provider = "wire"
context_tokens = 1000
max_output_tokens = 500

[[route]]
model = "wired"
provider = "wire"
upstream_model = "sandbox-chat"
price = [ {{ unit = "input_token", usd = "1" }}, {{ unit = "output_token", usd = "4" }} ]
"""


@pytest.fixture(scope="module")
def server(start: Callable[..., Server], sandbox: Sandbox) -> Server:
    running = start(DATAEYES_API_KEY=KEY)
    running.apply(CATALOG.format(url=sandbox.url, price="1"))
    until(
        lambda: running.chat(model="DeepSeek-V4-pro", provider="dataeyes").status == 200,
        "the address of dataeyes",
        TAKES_EFFECT_S,
    )
    running.apply_models(WIRE.format(url=sandbox.url), "wired")
    return running


def test_the_smallest_request_of_the_quick_start(server: Server) -> None:
    """As printed: with curl, the documented headers, the documented body."""
    body = {
        "model": "DeepSeek-V4-pro",
        "provider": "dataeyes",
        "messages": [{"role": "user", "content": "Please answer with OK"}],
        "stream": False,
    }
    url = server.base_url.removesuffix("/v1") + "/v1/chat/completions"
    done = subprocess.run(
        [
            "curl", "-sS", "--fail-with-body", "--max-time", "20", url,
            "-H", f"Authorization: Bearer {server.key}",
            "-H", "Content-Type: application/json",
            "-d", json.dumps(body),
        ],
        capture_output=True,
        timeout=30,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    document = json.loads(done.stdout)
    assert document["model"] == "DeepSeek-V4-pro"
    assert document["choices"][0]["message"]["content"] == "OK"


def test_with_the_sdk_and_the_headers_name_the_route(client: OpenAI, server: Server) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="DeepSeek-V4-pro", messages=HELLO, extra_body={"provider": "dataeyes"}
    )
    completion = raw.parse()
    assert completion.model == "DeepSeek-V4-pro"  # never the upstream's name
    assert raw.headers["x-tokenmarket-provider"] == "dataeyes"
    assert raw.headers["x-tokenmarket-model"] == "sandbox-chat"
    receipt = server.receipt(raw.headers["x-request-id"])
    assert receipt["route"]["requested"] is not None
    decisions = {row["provider"]: row["decision"] for row in receipt["route"]["candidates"]}
    assert decisions["dataeyes"] == "chosen"
    assert decisions.get("deepseek", "skipped") == "skipped"
    (attempt,) = receipt["attempts"]
    assert attempt["upstream_request_id"]
    usage = completion.usage
    assert usage is not None
    cost = Decimal(raw.headers["x-tokenmarket-cost"])
    assert cost == (usage.prompt_tokens * 1 + usage.completion_tokens * Decimal(4)) / 1_000_000


def test_without_a_pin_the_only_route_with_a_key_is_taken(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="DeepSeek-V4-pro", messages=HELLO)
    assert raw.headers["x-tokenmarket-provider"] == "dataeyes"


def test_streams_and_tools_over_http(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="DeepSeek-V4-pro",
        messages=[{"role": "user", "content": "Hello!"}],
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"provider": "dataeyes"},
    )
    *chunks, last = list(stream)
    assert {chunk.model for chunk in chunks} == {"DeepSeek-V4-pro"}
    assert last.usage is not None
    assert last.usage.completion_tokens > 0
    called = client.chat.completions.create(
        model="DeepSeek-V4-pro",
        messages=[{"role": "user", "content": "the weather?"}],
        tools=[{"type": "function", "function": {"name": "get_weather"}}],
    )
    assert called.choices[0].finish_reason == "tool_calls"


def test_errors_of_the_documented_table(client: OpenAI, server: Server) -> None:
    base = {"model": "DeepSeek-V4-pro", "provider": "dataeyes", "messages": HELLO}
    bad = server.post("/chat/completions", {**base, "messages": "hi"})
    assert (bad.status, bad.error["type"], bad.error["code"]) == (
        400, "invalid_request_body", "REQUEST_001",
    )  # fmt: skip
    none = server.post("/chat/completions", base, key=None)
    assert (none.status, none.error["type"], none.error["code"]) == (
        401, "unauthorized", "AUTH_001",
    )  # fmt: skip
    with pytest.raises(InternalServerError) as raised:
        client.chat.completions.create(
            model="broken", messages=HELLO, extra_body={"provider": "dataeyes"}
        )
    error = raised.value
    assert (error.status_code, error.type, error.code) == (502, "provider_error", "PROVIDER_001")
    assert isinstance(error.body, dict)
    assert error.body["provider"]["name"] == "dataeyes"
    assert KEY not in str(error.body)
    with pytest.raises(NotFoundError) as missing:
        client.chat.completions.create(
            model="sandbox-chat", messages=HELLO, extra_body={"provider": "dataeyes"}
        )
    assert missing.value.code == "PROVIDER_001"


def test_a_stream_that_the_network_cuts(client: OpenAI, server: Server) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="wired",
        messages=HELLO,
        stream=True,
        metadata={"sandbox_fault": "cut", "sandbox_pace_ms": "2", "sandbox_tokens": "20"},
    )
    with pytest.raises(APIError) as raised:
        list(raw.parse())
    assert raised.value.code == "PROVIDER_001"
    assert server.receipt(raw.headers["x-request-id"])["status"] == "failed"


def test_what_a_provider_does_not_take_is_named_or_refused(server: Server) -> None:
    """New API aggregators do not take ``store``: never dropped silently."""
    ask = {"model": "DeepSeek-V4-pro", "store": True}
    answer = server.chat(**ask, provider="dataeyes")
    assert answer.status == 200
    assert answer.headers["x-tokenmarket-dropped-params"] == "store"
    assert server.receipt(answer.request_id)["dropped_params"] == ["store"]
    refused = server.chat(**ask, provider={"only": ["dataeyes"], "require_parameters": True})
    assert (refused.status, refused.error["code"]) == (400, "REQUEST_002")
    assert refused.error["param"] == "store"


def test_the_upstream_key_is_shown_nowhere(server: Server) -> None:
    provider = [row for row in server.run("provider", "list")["data"] if row["name"] == "dataeyes"]
    assert provider
    assert KEY not in json.dumps(provider)
    assert KEY not in server.running.err
    assert KEY not in server.call("GET", "/metrics", key=None).body.decode()


def test_a_new_price_takes_effect_while_running(server: Server, sandbox: Sandbox) -> None:
    """Old receipts keep the price they were made with."""
    ask = {"model": "DeepSeek-V4-pro", "provider": "dataeyes"}
    old = server.chat(**ask)
    before = server.receipt(old.request_id)
    server.apply(CATALOG.format(url=sandbox.url, price="2"))
    began_s = time.monotonic()

    def at_the_new_price() -> bool:
        answer = server.chat(**ask)
        usage = answer.json["usage"]
        new = (usage["prompt_tokens"] * 2 + usage["completion_tokens"] * 4) / Decimal(1_000_000)
        return Decimal(answer.headers["x-tokenmarket-cost"]) == new

    until(at_the_new_price, "the new price", TAKES_EFFECT_S)
    assert time.monotonic() - began_s < TAKES_EFFECT_S
    assert server.receipt(old.request_id) == before
    shown = [
        row["usd"]
        for row in server.listed("DeepSeek-V4-pro")["pricing"]
        if (row["provider"], row["unit"]) == ("dataeyes", "input_token")
    ]
    assert [Decimal(usd) for usd in shown] == [2]


def test_an_apply_drops_no_request(server: Server, client: OpenAI, sandbox: Sandbox) -> None:
    stream = client.chat.completions.create(
        model="wired",
        messages=HELLO,
        stream=True,
        metadata={"sandbox_pace_ms": "100", "sandbox_tokens": "15"},
    )
    chunks = [next(iter(stream))]
    server.apply(CATALOG.format(url=sandbox.url, price="3"))
    chunks += list(stream)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_provider_with_a_stored_key(server: Server, sandbox: Sandbox) -> None:
    server.run(
        "provider", "add", "keeper", "--adapter", "openai", "--base-url", sandbox.url,
        "--api-key-stdin", stdin=KEY + "\n",
    )  # fmt: skip
    server.apply_models(
        """
        [[model]]
        id = "kept"
        operation = "chat"
        name = { en = "Kept", zh = "保存" }
        vendor = "x"
        default_provider = "keeper"
        context_tokens = 1000
        max_output_tokens = 500
        [[route]]
        model = "kept"
        provider = "keeper"
        upstream_model = "sandbox-chat"
        price = [ { unit = "input_token", usd = "1" }, { unit = "output_token", usd = "1" } ]
        """,
        "kept",
    )
    answer = server.chat(model="kept")
    assert answer.status == 200
    assert answer.headers["x-tokenmarket-provider"] == "keeper"
    assert KEY.encode() not in (server.data / "tokenmarket.db").read_bytes()


def test_a_wrong_key_there_is_our_trouble(server: Server, sandbox: Sandbox) -> None:
    server.run(
        "provider", "add", "forgot", "--adapter", "openai", "--base-url", sandbox.url,
        "--api-key-stdin", stdin="not-the-key\n",
    )  # fmt: skip
    server.apply_models(
        """
        [[model]]
        id = "forgotten"
        operation = "chat"
        name = { en = "Forgotten", zh = "忘记" }
        vendor = "x"
        default_provider = "forgot"
        context_tokens = 1000
        max_output_tokens = 500
        [[route]]
        model = "forgotten"
        provider = "forgot"
        upstream_model = "sandbox-chat"
        price = [ { unit = "input_token", usd = "1" }, { unit = "output_token", usd = "1" } ]
        """,
        "forgotten",
    )
    answer = server.chat(model="forgotten")
    assert (answer.status, answer.error["code"]) == (502, "PROVIDER_001")
    assert answer.error["fault"] == "platform"
    assert b"not-the-key" not in answer.body
    again = server.chat(model="forgotten")  # the only key cools down
    assert (again.status, again.error["code"]) == (503, "PROVIDER_002")
    assert int(again.headers["retry-after"]) >= 1


def test_the_books_are_exact(server: Server) -> None:
    server.verify()
