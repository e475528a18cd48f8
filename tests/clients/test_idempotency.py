"""``Idempotency-Key`` as design/api.md section 2 promises it, with the SDK and on the bytes."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from openai import ConflictError, OpenAI

from tests.support.server import Answer, Server, until

HELLO = [{"role": "user", "content": "Hello!"}]
CHAT = {"model": "sandbox-chat", "messages": HELLO}


def post(server: Server, key: str, body: object = CHAT, path: str = "/chat/completions") -> Answer:
    return server.post(path, body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", CHAT),
        ("/chat/completions", {**CHAT, "stream": True}),
        (
            "/chat/completions",
            {
                **CHAT,
                "stream": True,
                "stream_options": {"include_usage": True},
                "metadata": {"sandbox_pace_ms": "2"},
            },
        ),
        ("/completions", {"model": "sandbox-chat", "prompt": "x", "stream": True}),
        ("/embeddings", {"model": "sandbox-embed", "input": "x", "dimensions": 8}),
    ],
    ids=["chat", "stream", "paced-stream", "completions-stream", "embeddings"],
)
def test_the_same_again_is_the_same_bytes_and_free(
    server: Server, path: str, body: object, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    first = post(server, name, body, path)
    assert first.status == 200
    assert "idempotent-replayed" not in first.headers
    after = server.balance()
    again = post(server, name, body, path)
    assert again.status == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert again.body == first.body
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.request_id != first.request_id
    assert server.balance() == after
    charged = server.receipt(first.request_id)
    free = server.receipt(again.request_id)
    assert Decimal(charged["amounts"]["charged"]) > 0
    assert free["amounts"]["charged"] == "0.00"
    assert free["status"] == "succeeded"
    assert charged["idempotency_key"] == free["idempotency_key"] == name


def test_the_sdk_reads_a_replay_like_an_answer(client: OpenAI) -> None:
    headers = {"Idempotency-Key": "sdk-1"}
    texts = [
        "".join(
            chunk.choices[0].delta.content or ""
            for chunk in client.chat.completions.create(
                model="sandbox-chat", messages=HELLO, stream=True, extra_headers=headers
            )
        )
        for _ in range(2)
    ]
    assert texts[0] == texts[1] != ""


def test_another_body_is_a_conflict_that_is_not_retried(
    server: Server, connect: Callable[..., OpenAI]
) -> None:
    key = server.create_key()
    client = connect(key, max_retries=2)
    headers = {"Idempotency-Key": "sdk-2"}
    client.chat.completions.create(model="sandbox-chat", messages=HELLO, extra_headers=headers)
    with pytest.raises(ConflictError) as raised:
        client.chat.completions.create(
            model="sandbox-chat", messages=HELLO, max_tokens=5, extra_headers=headers
        )
    error = raised.value
    assert (error.code, error.type) == ("IDEMPOTENCY_001", "idempotency_conflict")
    assert error.response.headers["x-should-retry"] == "false"
    # The SDK retries a 409 unless it is told not to: two requests, not four.
    mine = server.get("/key", key=key).json["id"]
    rows = server.get("/usage?group_by=key", key=key).json["data"]
    assert [row["requests"] for row in rows if row["key"] == mine] == [2]
    # What was stored is still there.
    again = client.chat.completions.with_raw_response.create(
        model="sandbox-chat", messages=HELLO, extra_headers=headers
    )
    assert again.headers["idempotent-replayed"] == "true"


def test_while_it_runs_it_is_a_conflict_to_be_retried(
    server: Server, connect: Callable[..., OpenAI]
) -> None:
    body = {
        "model": "sandbox-chat",
        "messages": HELLO,
        "stream": True,
        "metadata": {"sandbox_pace_ms": "60", "sandbox_tokens": "10"},
    }
    headers = {"Idempotency-Key": "sdk-3"}
    stream = connect().chat.completions.create(**body, extra_headers=headers)
    next(iter(stream))
    with pytest.raises(ConflictError) as raised:
        connect().chat.completions.create(**body, extra_headers=headers)
    error = raised.value
    assert error.code == "IDEMPOTENCY_001"
    assert error.response.headers["x-should-retry"] == "true"
    assert int(error.response.headers["retry-after"]) >= 1
    # A client that may retry waits as long as it was told and gets the stored answer.
    raw = connect(max_retries=2).chat.completions.with_raw_response.create(
        **body, extra_headers=headers
    )
    assert raw.headers["idempotent-replayed"] == "true"
    assert raw.retries_taken >= 1
    rest = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse()).endswith(rest)


def test_who_leaves_finds_the_answer_later(server: Server, client: OpenAI) -> None:
    body = {
        "model": "sandbox-chat",
        "messages": HELLO,
        "stream": True,
        "metadata": {"sandbox_pace_ms": "20", "sandbox_tokens": "15"},
    }
    raw = client.chat.completions.with_raw_response.create(
        **body, extra_headers={"Idempotency-Key": "left-1"}
    )
    stream = raw.parse()
    next(iter(stream))
    stream.close()
    assert server.final_receipt(raw.headers["x-request-id"])["status"] == "succeeded"
    raw_again = client.chat.completions.with_raw_response.create(
        **body, extra_headers={"Idempotency-Key": "left-1"}
    )
    assert raw_again.headers["idempotent-replayed"] == "true"
    chunks = list(raw_again.parse())
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_what_failed_may_be_tried_again(server: Server) -> None:
    body = {"model": "sandbox-chat", "messages": HELLO, "metadata": {"sandbox_fault": "badjson"}}
    first = post(server, "failed-1", body)
    assert first.status == 502
    second = post(server, "failed-1", body)
    assert second.status == 502
    assert "idempotent-replayed" not in second.headers


def test_keys_belong_to_an_organisation(server: Server) -> None:
    other = server.create_org("elsewhere", "1")
    post(server, "shared-name", {**CHAT, "max_tokens": 7})
    answer = server.post(
        "/chat/completions", CHAT, key=other, headers={"Idempotency-Key": "shared-name"}
    )
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers


def test_another_key_of_the_organisation_gets_the_stored_answer(server: Server) -> None:
    first = post(server, "two-keys")
    again = server.post(
        "/chat/completions",
        CHAT,
        key=server.create_key(),
        headers={"Idempotency-Key": "two-keys"},
    )
    assert again.body == first.body


@pytest.mark.parametrize("key", ["", "x" * 256], ids=["empty", "too-long"])
def test_a_key_that_is_none(server: Server, key: str) -> None:
    answer = post(server, key)
    assert (answer.status, answer.error["code"]) == (400, "REQUEST_001")


def test_the_longest_key(server: Server) -> None:
    assert post(server, "y" * 255).status == 200
    assert post(server, "y" * 255).headers["idempotent-replayed"] == "true"


def test_a_restart_forgets_nothing(start: Callable[..., Server]) -> None:
    own = start()
    first = post(own, "before-the-restart")
    assert own.stop() == 0
    own.start()
    balance = own.balance()
    again = post(own, "before-the-restart")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.body == first.body
    assert own.balance() == balance
    other = post(own, "before-the-restart", {**CHAT, "n": 2})
    assert (other.status, other.error["code"]) == (409, "IDEMPOTENCY_001")


def test_the_books_are_exact(server: Server) -> None:
    until(lambda: server.get("/credits").json["held"] == "0.00", "nothing is held", 5)
    server.verify()
