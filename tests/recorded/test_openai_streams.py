"""Every recorded OpenAI-like stream through its adapter: whole, in pieces, and cut short."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from tests.recorded import exchanges
from tests.recorded.exchanges import ADAPTER_OF, PUBLIC_MODEL, Exchange
from tokenmarket.adapters.protocol import Adapter, Decoder, Head
from tokenmarket.adapters.registry import ADAPTERS
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.usage import Usage

USAGE = b'{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}'
OPERATIONS = ("chat", "completions")
Outcome = tuple[bytes, Usage | None, str | None, str | None]

# Recordings that end in an error event: what an adapter must make of them.
ERRORS = {
    "groq.chat_stream.8f9a382177ff": "bad_request",
    "openrouter.chat_stream.52d0d1ccba1f": "upstream_error",
}


def adapter_for(exchange: Exchange, operation: str) -> Adapter:
    own = ADAPTERS[ADAPTER_OF[exchange["provider"]]]
    return own.get(operation) or ADAPTERS["openai"][operation]


def decoder_for(exchange: Exchange, operation: str, *, include_usage: bool = False) -> Decoder:
    request = exchanges.request(operation, stream=True, include_usage=include_usage)
    adapter = adapter_for(exchange, operation)
    return adapter.decoder(request, exchanges.route("openai"), Head(200, {}))


def play(decoder: Decoder, pieces: list[bytes]) -> Outcome:
    """(everything delivered, usage, finish reason, kind of the error that ended it)."""
    out = b""
    try:
        for piece in pieces:
            out += decoder.feed(piece)
        out += decoder.finish()
    except UpstreamError as error:
        return out, decoder.usage, decoder.finish_reason, error.kind
    return out, decoder.usage, decoder.finish_reason, None


def pieces_of(data: bytes, seed: int, largest: int) -> list[bytes]:
    chance = random.Random(seed)
    pieces: list[bytes] = []
    while data:
        size = chance.randint(1, largest)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def chunks_of(out: bytes) -> list[dict[str, Any]]:
    events = out.split(b"\n\n")
    assert events.pop() == b""
    assert all(event.startswith(b"data: {") for event in events)
    return [json.loads(event[6:]) for event in events]


def every(recorded: Path) -> list[tuple[str, Exchange]]:
    return [
        (operation, exchange)
        for operation in OPERATIONS
        for exchange in exchanges.load(recorded, f"{operation}_stream")
    ]


def recorded_usage(exchange: Exchange) -> dict[str, Any] | None:
    """The last usage object in a recording, found without any of our code."""
    last = None
    for line in str(exchange["response"]["sse"]).splitlines():
        if line.startswith("data:") and "{" in line:
            chunk = json.loads(line[5:])
            found = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
            last = found or last
    return last


def test_there_is_enough_to_read(recorded: Path) -> None:
    counted = Counter(exchange["provider"] for _, exchange in every(recorded))
    assert len(counted) >= 25
    assert sum(counted.values()) >= 220


def test_every_cut_gives_the_same(recorded: Path) -> None:
    for operation, exchange in every(recorded):
        data = exchanges.body_bytes(exchange)
        whole = play(decoder_for(exchange, operation), [data])
        assert whole[3] == ERRORS.get(exchange["id"]), exchange["id"]
        for seed, largest in ((1, 7), (2, 90), (3, 700), (4, 5000)):
            cut = play(decoder_for(exchange, operation), pieces_of(data, seed, largest))
            assert cut == whole, (exchange["id"], seed)


def test_chunks_are_openai_chunks(recorded: Path) -> None:
    for operation, exchange in every(recorded):
        decoder = decoder_for(exchange, operation)
        out, *_ = play(decoder, pieces_of(exchanges.body_bytes(exchange), 5, 900))
        chunks = chunks_of(out)
        assert chunks, exchange["id"]
        prefix = "chatcmpl-" if operation == "chat" else "cmpl-"
        for chunk in chunks:
            assert chunk["id"] == prefix + "0123456789abcdef"
            assert chunk["model"] == PUBLIC_MODEL
            assert chunk["choices"], exchange["id"]
            assert "usage" not in chunk, exchange["id"]
            assert not chunk.keys() & {"provider", "x_groq", "obfuscation", "cost", "error"}
            if operation == "chat":
                ChatCompletionChunk.model_validate(chunk)
            else:
                assert chunk["object"] == "text_completion"
                assert isinstance(chunk["choices"][0]["text"], str)


def test_usage_equals_the_recording(recorded: Path) -> None:
    compared = 0
    for operation, exchange in every(recorded):
        decoder = decoder_for(exchange, operation)
        _, usage, _, error = play(decoder, [exchanges.body_bytes(exchange)])
        expected = recorded_usage(exchange)
        if error is not None:
            continue
        if expected is None:
            assert usage is None, exchange["id"]
            continue
        assert usage is not None, exchange["id"]
        prompt = expected["prompt_tokens"] + audio_beside(expected)
        assert usage.prompt_tokens == prompt, exchange["id"]
        details = expected.get("completion_tokens_details") or {}
        reasoning = details.get("reasoning_tokens") or 0
        completion = expected["completion_tokens"]
        if expected["total_tokens"] == expected["prompt_tokens"] + completion + reasoning:
            completion += reasoning  # xAI: beside, not inside
        elif reasoning > completion:
            assert "reasoning_above_output" in usage.flags
            reasoning = completion
        assert usage.reasoning_tokens == reasoning, exchange["id"]
        assert usage.completion_tokens == completion, exchange["id"]
        cached = (expected.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        assert usage.cached_input_tokens >= cached, exchange["id"]
        compared += 1
    assert compared >= 180


def audio_beside(usage: dict[str, Any]) -> int:
    """Mistral's audio tokens are not in prompt_tokens; its totals say so."""
    audio = (usage.get("prompt_tokens_details") or {}).get("audio_tokens") or 0
    beside = usage["total_tokens"] - usage["prompt_tokens"] - usage["completion_tokens"]
    return audio if audio == beside else 0


def test_text_and_tool_calls_survive(recorded: Path) -> None:
    """What the recording says, read by other code, is what the caller gets."""
    for operation, exchange in every(recorded):
        data = exchanges.body_bytes(exchange)
        if exchange["id"] in ERRORS:
            continue
        out, *_ = play(decoder_for(exchange, operation), pieces_of(data, 6, 400))
        wire = [
            json.loads(line[5:])
            for line in data.decode().splitlines()
            if line.startswith("data:") and "{" in line
        ]
        # Cleaning of vendor shapes is the unit tests' subject: compare what is plain OpenAI.
        ours, theirs = said(chunks_of(out)), said(wire)
        assert ours["content"] == theirs["content"], exchange["id"]
        assert ours["reasoning"] == theirs["reasoning"], exchange["id"]
        assert ours["arguments"] == theirs["arguments"], exchange["id"]
        assert ours["names"] == theirs["names"], exchange["id"]


def said(chunks: list[dict[str, Any]]) -> dict[str, str]:
    parts: dict[str, str] = {"content": "", "reasoning": "", "arguments": "", "names": ""}
    for chunk in chunks:
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {"content": choice.get("text")}
            content = delta.get("content") or ""
            if isinstance(content, list):
                for block in content:
                    parts["content"] += block.get("text") or ""
                    for piece in block.get("thinking") or []:
                        parts["reasoning"] += piece.get("text") or ""
                content = ""
            parts["content"] += content
            parts["reasoning"] += delta.get("reasoning_content") or delta.get("reasoning") or ""
            for call in delta.get("tool_calls") or []:
                function = call.get("function") or {}
                parts["arguments"] += function.get("arguments") or ""
                parts["names"] += function.get("name") or ""
    return parts


def test_a_truncated_stream_is_never_a_success(recorded: Path) -> None:
    """Cut before the first finish reason: every such cut must end in an error."""
    for operation, exchange in every(recorded):
        data = exchanges.body_bytes(exchange)
        end = first_finish(data)
        for share in (0.0, 0.3, 0.7, 0.99):
            part = data[: int(end * share)]
            *_, error = play(decoder_for(exchange, operation), [part])
            assert error is not None, (exchange["id"], share)


def first_finish(data: bytes) -> int:
    """Where the first event with a finish reason begins; else where [DONE] does."""
    place = 0
    for line in data.splitlines(keepends=True):
        if line.startswith(b"data:") and b"{" in line:
            choices = json.loads(line[5:]).get("choices") or []
            if any(choice.get("finish_reason") is not None for choice in choices):
                return place
        elif b"[DONE]" in line:
            return place
        place += len(line)
    return place


def test_include_usage_looks_like_openai(recorded: Path) -> None:
    for exchange in exchanges.load(recorded, "chat_stream"):
        decoder = decoder_for(exchange, "chat", include_usage=True)
        out, _, _, error = play(decoder, [exchanges.body_bytes(exchange)])
        if error is not None:
            continue
        chunks = chunks_of(out)
        assert all(chunk["usage"] is None for chunk in chunks), exchange["id"]
        tail = decoder.tail(USAGE)
        assert tail.endswith(b"\n\ndata: [DONE]\n\n")
        last = ChatCompletionChunk.model_validate_json(tail.split(b"\n\n")[0][6:])
        assert last.choices == []
        assert last.usage is not None
        assert last.usage.total_tokens == 2
        assert (last.id, last.created) == (chunks[-1]["id"], chunks[-1]["created"])


@pytest.mark.parametrize("largest", [64, 2000])
def test_fast_and_slow_agree(recorded: Path, largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With templates and typed chunks switched off every event takes the slow way; what is said
    must be equal."""
    streams = exchanges.load(recorded, "chat_stream")
    cut = [pieces_of(exchanges.body_bytes(one), 8, largest) for one in streams]
    fast = [
        play(decoder_for(one, "chat"), pieces) for one, pieces in zip(streams, cut, strict=True)
    ]
    monkeypatch.setattr("tokenmarket.adapters.kit.openai_stream.TEMPLATES_MAX", 0)
    monkeypatch.setattr("tokenmarket.adapters.kit.openai_stream.plain_chunk", lambda _: None)
    for one, pieces, expected in zip(streams, cut, fast, strict=True):
        got = play(decoder_for(one, "chat"), pieces)
        assert got[1:] == expected[1:], one["id"]
        assert chunks_of(got[0]) == chunks_of(expected[0]), one["id"]
