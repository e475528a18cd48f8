"""SIGTERM lets running requests finish; SIGKILL loses no money that was promised to anybody."""

import re
import signal
from collections.abc import Callable
from decimal import Decimal

import httpx2
import pytest
from openai import APIError, OpenAI

from tests.support.server import Server, until

pytestmark = pytest.mark.serial  # signals and process ends want an otherwise idle machine

HELLO = [{"role": "user", "content": "Hello!"}]


def sdk(server: Server, retries: int = 0) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key=server.key, max_retries=retries, timeout=30)


def test_sigterm_lets_a_slow_stream_finish(start: Callable[..., Server]) -> None:
    server = start()
    with sdk(server) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="sandbox-chat",
            messages=HELLO,
            stream=True,
            stream_options={"include_usage": True},
            metadata={"sandbox_pace_ms": "60", "sandbox_tokens": "20"},
        )
        stream = raw.parse()
        first = next(iter(stream))
        server.running.signal(signal.SIGTERM)
        until(lambda: '"event":"stopping"' in server.running.err, "the stop", 5)
        chunks = [first, *stream]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 20
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert server.running.wait(30) == 0
    cost = Decimal((chunks[-1].usage.model_extra or {})["cost_details"]["total"])
    server.verify()
    server.start()
    assert server.balance() == 10 - cost
    receipt = server.receipt(raw.headers["x-request-id"])
    assert receipt["status"] == "succeeded"
    assert Decimal(receipt["amounts"]["charged"]) == cost


def test_while_it_stops_new_connections_are_refused(start: Callable[..., Server]) -> None:
    server = start()
    with sdk(server) as client:
        stream = client.chat.completions.create(
            model="sandbox-chat",
            messages=HELLO,
            stream=True,
            metadata={"sandbox_pace_ms": "60", "sandbox_tokens": "15"},
        )
        next(iter(stream))
        server.running.signal(signal.SIGTERM)

        def refused() -> bool:
            try:
                return server.chat().status == 503
            except OSError:
                return True

        until(refused, "new connections are refused", 5)
        assert list(stream)[-1].choices[0].finish_reason == "stop"
    assert server.running.wait(30) == 0
    server.verify()


def test_an_idle_server_stops_at_once(start: Callable[..., Server]) -> None:
    server = start()
    server.chat()
    assert server.stop() == 0
    assert "Traceback" not in server.running.err
    assert re.search(r'"level":"error"', server.running.err) is None
    server.verify()


def test_kill_in_the_middle_of_streams_keeps_the_books(start: Callable[..., Server]) -> None:
    server = start()
    paid = Decimal(0)
    settled = []
    for number in range(5):
        answer = server.chat(f"number {number}")
        paid += Decimal(answer.headers["x-tokenmarket-cost"])
        settled.append(answer.request_id)
    with sdk(server) as client:
        streams = []
        for _ in range(3):
            raw = client.chat.completions.with_raw_response.create(
                model="sandbox-chat",
                messages=HELLO,
                stream=True,
                max_tokens=200,
                metadata={"sandbox_pace_ms": "60000", "sandbox_tokens": "200"},
            )
            stream = raw.parse()
            next(iter(stream))
            streams.append((raw.headers["x-request-id"], stream))
        held = Decimal(server.get("/credits").json["held"])
        assert held > 0
        server.kill()
        for _, stream in streams:
            with pytest.raises((APIError, httpx2.TransportError)):
                list(stream)
    server.start()
    credits = server.get("/credits").json
    # What was answered is paid; of what was cut, at most the hold, and nothing stays held.
    assert 10 - paid - held <= Decimal(credits["balance"]) <= 10 - paid
    assert credits["held"] == "0.00"
    assert credits["available"] == credits["balance"]
    for name in settled:
        assert server.receipt(name)["status"] == "succeeded"
    assert server.chat().status == 200
    assert server.stop() == 0
    server.verify()


def test_killed_again_and_again_the_sum_stays_right(start: Callable[..., Server]) -> None:
    server = start()
    paid = Decimal(0)
    for turn in range(3):
        for number in range(4):
            answer = server.chat(f"turn {turn}, number {number}")
            paid += Decimal(answer.headers["x-tokenmarket-cost"])
        server.kill()
        server.start()
        assert server.balance() == 10 - paid
    assert server.get("/usage").json["total"]["requests"] == 12
    assert Decimal(server.get("/usage").json["total"]["charged"]) == paid
    assert server.stop() == 0
    server.verify()


def test_a_second_server_over_the_same_data_is_refused(start: Callable[..., Server]) -> None:
    server = start()
    with pytest.raises(AssertionError, match="ended with 2"):
        Server(server.data)
    assert server.chat().status == 200
