"""Streams: what is relayed, what is cleaned, and how they end."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from tests.unit.adapters.made import DONE, chunk, decoder, event, play
from tokenmarket.adapters.kit import openai_stream
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.usage import Usage

COUNTS = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ROLE = chunk({"role": "assistant", "content": ""})
HELLO = chunk({"content": "Hello"})
WORLD = chunk({"content": " world"})
STOP = chunk({}, "stop")
LAST = event({"id": "up-1", "object": "chat.completion.chunk", "choices": [], "usage": COUNTS})
WHOLE = (ROLE, HELLO, WORLD, STOP, LAST, DONE)


def text_of(chunks: list[Any], name: str = "content") -> str:
    return "".join(one["choices"][0]["delta"].get(name) or "" for one in chunks)


def test_a_stream_of_openai() -> None:
    stream = decoder()
    chunks, usage, error = play(stream, *WHOLE)
    assert error is None
    assert text_of(chunks) == "Hello world"
    assert usage == Usage(input_tokens=3, output_tokens=2)
    assert (stream.finish_reason, stream.upstream_id) == ("stop", "up-1")
    assert stream.delivered_output
    for one in chunks:
        assert (one["id"], one["model"]) == ("chatcmpl-77", "ours")
        assert one["created"] == 1_764_000_000
        assert "usage" not in one
    assert stream.tail(None) == DONE


def test_relayed_bytes_are_those_that_came_but_for_the_names() -> None:
    stream = decoder()
    stream.feed(ROLE + HELLO)
    raw = WORLD.replace(b" world", b" w\\u00f6rld \\n \xe4\xbd\xa0\xe5\xa5\xbd")
    ours = raw.replace(b'"up-1"', b'"chatcmpl-77"').replace(b'"theirs-2026"', b'"ours"')
    assert stream.feed(raw) == ours


def test_the_tail() -> None:
    stream = decoder(stream_options={"include_usage": True})
    chunks, _, _ = play(stream, *WHOLE)
    assert all(one["usage"] is None for one in chunks)
    last, done, rest = stream.tail(b'{"prompt_tokens":3}').split(b"\n\n")
    assert json.loads(last[6:]) == {
        "id": "chatcmpl-77",
        "object": "chat.completion.chunk",
        "created": 1_764_000_000,
        "model": "ours",
        "choices": [],
        "usage": {"prompt_tokens": 3},
    }
    assert (done, rest) == (b"data: [DONE]", b"")


def test_usage_null_is_removed_when_nobody_asked() -> None:
    nulls = [chunk({"content": word}, usage=None) for word in ("a", "b", "c")]
    chunks, _, _ = play(decoder(), *nulls, STOP, DONE)
    assert text_of(chunks) == "abc"
    assert all("usage" not in one for one in chunks)


@pytest.mark.parametrize(
    "last",
    [
        chunk({}, "stop", usage=COUNTS),
        chunk({}, "stop", x_groq={"usage": COUNTS, "id": "r"}),
        event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": COUNTS}]}),
    ],
)
def test_usage_on_the_finish_chunk(last: bytes) -> None:
    chunks, usage, error = play(decoder("groq"), HELLO, last, DONE)
    assert error is None
    assert usage == Usage(input_tokens=3, output_tokens=2)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert "usage" not in json.dumps(chunks)
    assert "x_groq" not in json.dumps(chunks)


def test_cumulative_usage_last_one_wins() -> None:
    events = [
        chunk({"content": "x"}, usage=COUNTS | {"completion_tokens": n, "total_tokens": 3 + n})
        for n in range(1, 5)
    ]
    chunks, usage, _ = play(decoder("perplexity"), *events, chunk({}, "stop", usage=None), DONE)
    assert usage == Usage(input_tokens=3, output_tokens=4)
    assert text_of(chunks) == "xxxx"
    assert "usage" not in json.dumps(chunks)


def test_usage_that_looks_like_text_is_text() -> None:
    """The fast way must not be fooled by what a model writes, nor miss what it does not write."""
    tricky = '","usage":{"prompt_tokens":1},"error":{"x":"'
    pieces = [chunk({"content": word}) for word in ("a", tricky, "b", '\\"', "\\")]
    chunks, usage, error = play(decoder(), *pieces, STOP, DONE)
    assert (usage, error) == (None, None)
    assert text_of(chunks) == "a" + tricky + "b" + '\\"' + "\\"


def test_a_hidden_member_is_never_relayed_as_text() -> None:
    """Raw bytes that begin and end like the template, with a member smuggled in between."""
    stream = decoder()
    stream.feed(ROLE + HELLO)
    smuggled = HELLO.replace(b'"Hello"', b'"x"},"usage":{"prompt_tokens":9},"d":{"e":"y"')
    assert b'"usage"' not in stream.feed(smuggled)
    assert stream.usage == Usage(input_tokens=9)


def test_a_text_that_is_found_elsewhere_is_no_template() -> None:
    """The text is escaped where it is said and plain in a vendor's member."""
    escaped = chunk({"content": "abc"}, provider="abc").replace(b't":"abc"', b't":"\\u0061bc"')
    assert b'"\\u0061bc"' in escaped
    other = escaped.replace(b'"provider":"abc"', b'"provider":"xyz"')
    chunks, _, error = play(decoder(), escaped, other, STOP, DONE)
    assert error is None
    assert text_of(chunks) == "abcabc"
    assert "provider" not in chunks[1]


def test_many_events_in_one_read() -> None:
    """Runs of one kind, with texts that look like their borders, and what comes after them."""
    words = ["a", 'q"},"logprobs":null', "}", '"}', "\\", "\n", "é", ""]
    events = [chunk({"content": word}) for word in words]
    data = b"".join([ROLE, *events, *events, STOP, LAST, DONE, HELLO])
    chunks, usage, error = play(decoder(), data)
    assert (usage, error) == (Usage(input_tokens=3, output_tokens=2), None)
    assert text_of(chunks) == "".join(words) * 2  # and nothing after the end
    assert play(decoder(), data[:300], data[300:]) == (chunks, usage, error)
    assert play(decoder(), *(part + b"\n\n" for part in data[:-2].split(b"\n\n")))[0] == chunks


@pytest.mark.parametrize("name", ["openai", "groq", "mistral"])
def test_bytes_that_are_no_text_are_an_error(name: str) -> None:
    bad = HELLO.replace(b"Hello", b"\xff")
    assert play(decoder(name), bad, STOP, DONE)[2] == "upstream_error"
    chunks, _, error = play(decoder(name), HELLO, bad, STOP, DONE)
    assert (text_of(chunks), error) == ("Hello", "upstream_error")


@pytest.mark.parametrize("name", ["content", "reasoning_content", "refusal"])
def test_every_text_is_output(name: str) -> None:
    stream = decoder()
    stream.feed(ROLE)
    assert not stream.delivered_output
    stream.feed(chunk({name: "x"}))
    assert stream.delivered_output


def test_plain_and_cleaned_chunks_are_written_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    stream: tuple[bytes, ...] = (
        chunk({"role": "assistant", "content": ""}, service_tier="default"),
        chunk({"reasoning_content": "why"}, system_fingerprint="fp", service_tier="own"),
        chunk({"content": "a", "refusal": None}, service_tier=None),
        chunk({"content": "b"}, obfuscation="x", usage=COUNTS | {"total_tokens": 9}),
        chunk(
            {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "f", "arguments": ""},
                    }
                ]
            }
        ),
        chunk({}, "stop", created=0),
        LAST,
    )
    for name in ("openai", "vllm", "minimax"):
        fast, slow = decoder(name), decoder(name)
        plain = play(fast, *stream, DONE)
        with monkeypatch.context() as patch:
            patch.setattr(openai_stream, "plain_chunk", lambda _: None)
            assert play(slow, *stream, DONE) == plain
        assert (fast.finish_reason, fast.upstream_id) == (slow.finish_reason, slow.upstream_id)
        assert fast.tail(b"1") == slow.tail(b"1")


def test_obfuscation_and_filters_are_removed() -> None:
    verdict = event({"choices": [], "id": "", "model": "", "prompt_filter_results": [{}]})
    padded = chunk({"content": "a"}, obfuscation="xyz")
    chunks, _, error = play(decoder(), verdict, padded, STOP, DONE)
    assert error is None
    assert len(chunks) == 2
    assert "obfuscation" not in chunks[0]


def test_comments_and_blank_lines_are_dropped() -> None:
    chunks, _, error = play(decoder(), b": ping\n\n", b"\n\n\n", HELLO, b": x\n\n", STOP, DONE)
    assert error is None
    assert text_of(chunks) == "Hello"


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_other_line_ends(end: bytes) -> None:
    data = b"".join(WHOLE).replace(b"\n", end)
    expected = play(decoder(), *WHOLE)
    assert play(decoder(), data) == expected
    assert play(decoder(), *(data[i : i + 1] for i in range(len(data)))) == expected


# -- endings


@pytest.mark.parametrize("count", range(1, 4))
def test_cut_before_the_finish_is_broken(count: int) -> None:
    assert play(decoder(), *WHOLE[:count])[2] == "stream_broken"


def test_nothing_is_broken() -> None:
    assert play(decoder())[2] == "stream_broken"
    assert play(decoder(), DONE)[2] == "stream_broken"
    assert play(decoder(), b": ping\n\n")[2] == "stream_broken"


def test_a_finish_reason_is_an_end() -> None:
    assert play(decoder(), ROLE, HELLO, STOP)[2] is None
    assert play(decoder(), ROLE, HELLO, STOP.rstrip(b"\n"))[2] is None


def test_done_without_a_finish_reason_is_an_end() -> None:
    chunks, _, error = play(decoder(), ROLE, HELLO, DONE.rstrip(b"\n"))
    assert error is None
    assert text_of(chunks) == "Hello"


def test_every_choice_must_finish() -> None:
    second = event({"choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": None}]})
    assert play(decoder(n=2), HELLO, second, STOP)[2] == "stream_broken"
    assert play(decoder(n=2), HELLO, second, STOP, DONE)[2] is None


def test_half_an_event_at_the_end_is_broken() -> None:
    assert play(decoder(), ROLE, HELLO, STOP, LAST[:40])[2] == "stream_broken"
    assert play(decoder(), ROLE, STOP, DONE, b"data: {")[2] is None  # after the end: nothing


@pytest.mark.parametrize("cut", range(0, 900, 37))
def test_no_truncation_is_a_success(cut: int) -> None:
    data = ROLE + HELLO + WORLD + STOP
    whole = len(data) - 2  # the empty line may be missing
    error = play(decoder(), data[:cut])[2]
    assert (error is None) == (cut >= whole)


# -- errors inside the stream


ERROR = {"message": "busy", "type": "server_error", "code": 503}


@pytest.mark.parametrize(
    ("bad", "name", "kind"),
    [
        (event({"error": ERROR}), "openai", "overloaded"),
        (b"event: error\n" + event({"error": ERROR}), "groq", "overloaded"),
        (event({"x_groq": {"error": "x"}, "choices": []}), "groq", "upstream_error"),
        (event({"x_groq": {"error": ERROR}, "choices": []}), "groq", "overloaded"),
        (event({"object": "error", "message": "x", "code": 400}), "vllm", "bad_request"),
        (
            event({"base_resp": {"status_code": 1002, "status_msg": "x"}}),
            "minimax",
            "rate_limited",
        ),
        (chunk({"content": ""}, "error"), "openrouter", "upstream_error"),
        (chunk({"content": ""}, "insufficient_system_resource"), "deepseek", "overloaded"),
        (b"data: {oops}\n\n", "openai", "upstream_error"),
        (b"data: [1]\n\n", "openai", "upstream_error"),
        (event({"choices": [1]}), "openai", "upstream_error"),
        (event({"choices": [{"delta": {"tool_calls": [1]}}]}), "openai", "upstream_error"),
    ],
)
def test_errors(bad: bytes, name: str, kind: str) -> None:
    chunks, _, error = play(decoder(name), bad)
    assert (chunks, error) == ([], kind)
    # What came before is delivered first, however the bytes are cut.
    for pieces in ((HELLO, bad), (HELLO + bad,), (HELLO + bad + STOP + DONE,), (HELLO + bad, DONE)):
        chunks, _, error = play(decoder(name), *pieces)
        assert (text_of(chunks), error) == ("Hello", kind)


def test_a_json_error_instead_of_a_stream() -> None:
    assert play(decoder(), json.dumps({"error": ERROR}).encode())[2] == "overloaded"
    assert play(decoder(), b'{"choices":[{}]}')[2] == "upstream_error"
    assert play(decoder(), b'{"choices":[{')[2] == "stream_broken"
    assert play(decoder(), b"<html>x</html>")[2] == "stream_broken"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_stream, "EVENT_BYTES_MAX", 5000)
    assert play(decoder(), *([b"data: " + b"x" * 100] * 60))[2] == "upstream_error"
    many = [
        event({"choices": [{"index": n, "delta": {}, "finish_reason": None}]}) for n in range(500)
    ]
    assert play(decoder(), *many)[2] == "upstream_error"


# -- quirks


def test_reasoning_is_renamed_on_the_fast_way_too() -> None:
    thoughts = [chunk({"reasoning": word, "channel": "analysis"}) for word in ("I", " think", "!")]
    chunks, _, _ = play(decoder("groq"), *thoughts, HELLO, STOP, DONE)
    assert text_of(chunks, "reasoning_content") == "I think!"
    assert '"reasoning"' not in json.dumps(chunks)
    assert "channel" not in json.dumps(chunks)


def test_mistral_blocks() -> None:
    def block(**part: Any) -> bytes:
        return chunk({"content": [part]})

    chunks, _, _ = play(
        decoder("mistral"),
        block(type="thinking", thinking=[{"type": "text", "text": "why"}]),
        block(type="thinking", thinking=[{"type": "text", "text": " not"}]),
        block(type="text", text="hi"),
        STOP,
        DONE,
    )
    assert text_of(chunks, "reasoning_content") == "why not"
    assert text_of(chunks) == "hi"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_think_tags_are_split_at_any_cut(size: int) -> None:
    content = "<think>why < not</think>\n\nHello <think>"
    pieces = [chunk({"content": content[i : i + size]}) for i in range(0, len(content), size)]
    chunks, _, error = play(decoder("minimax"), *pieces, STOP, DONE)
    assert error is None
    assert text_of(chunks, "reasoning_content") == "why < not"
    assert text_of(chunks) == "Hello <think>"


def test_what_was_held_back_is_given_at_the_end() -> None:
    assert text_of(play(decoder("minimax"), chunk({"content": "<thi"}), STOP, DONE)[0]) == "<thi"
    assert text_of(play(decoder("minimax"), chunk({"content": "<thi"}), DONE)[0]) == "<thi"


def test_missing_members_are_filled_in() -> None:
    bare = event({"choices": [{"delta": {"content": "x"}}]})
    chunks, _, _ = play(decoder("zhipu"), bare, event({"choices": [{"finish_reason": "stop"}]}))
    for one in chunks:
        ChatCompletionChunk.model_validate(one)
    assert chunks[0]["created"] == 1_700_000_000
    assert chunks[0]["choices"][0]["finish_reason"] is None


def test_created_is_one_for_the_whole_stream() -> None:
    later = HELLO.replace(b"1764000000", b"1764000009")
    chunks, _, _ = play(decoder(), ROLE, later, HELLO, later, STOP, DONE)
    assert {one["created"] for one in chunks} == {1_764_000_000}


def test_the_tier_that_served_is_kept_for_the_price() -> None:
    tiered = [chunk({"content": word}, service_tier="on_demand") for word in "ab"]
    chunks, usage, _ = play(decoder("groq"), *tiered, STOP, LAST, DONE)
    assert usage is not None
    assert usage.attributes == {"service_tier": "on_demand"}
    assert "service_tier" not in json.dumps(chunks)


def test_legacy_completions() -> None:
    def piece(text: str, finish: str | None = None) -> bytes:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
        return event({"id": "c", "object": "text_completion", "created": 5, "choices": [choice]})

    stream = decoder(operation="completions")
    chunks, _, error = play(stream, piece("a"), piece("b"), piece("c"), piece("", "length"), DONE)
    assert error is None
    assert "".join(one["choices"][0]["text"] for one in chunks) == "abc"
    assert {one["id"] for one in chunks} == {"cmpl-77"}
    assert stream.finish_reason == "length"


# -- properties


WORDS = st.text(alphabet=st.sampled_from('a"\\/\n\té你😀<>{}[]:,'), min_size=0, max_size=6)
DELTAS = st.one_of(
    st.fixed_dictionaries({"content": WORDS}),
    st.fixed_dictionaries({"reasoning_content": WORDS}),
    st.fixed_dictionaries({"content": WORDS, "refusal": st.none()}),
    st.builds(lambda part: {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}, WORDS),
)


@given(
    st.lists(DELTAS, max_size=12),
    st.lists(st.integers(0, 4000), max_size=10),
    st.booleans(),
    st.sampled_from(["openai", "minimax"]),
)
def test_any_text_and_any_cut(
    deltas: list[dict[str, Any]], cuts: list[int], ascii_only: bool, name: str
) -> None:
    """The content that goes in comes out, whichever way each event took."""
    events = []
    for delta in deltas:
        payload = json.loads(chunk(delta)[6:])
        raw = json.dumps(payload, ensure_ascii=ascii_only, separators=(",", ":"))
        events.append(b"data: " + raw.encode() + b"\n\n")
    data = b"".join(events) + STOP + LAST + DONE
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[begin:end] for begin, end in pairwise(bounds)]
    whole = play(decoder(name), data)
    assert play(decoder(name), *pieces) == whole
    assert play(decoder(name), *events, STOP, LAST, DONE) == whole
    if name == "openai":
        said = "".join(delta.get("content", "") for delta in deltas)
        assert text_of(whole[0]) == said
        assert whole[1:] == (Usage(input_tokens=3, output_tokens=2), None)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_never_crashes(pieces: list[bytes]) -> None:
    stream = decoder("mistral")
    try:
        for piece in pieces:
            stream.feed(piece)
            stream.feed(b"data: " + piece + b"\n\n")
        stream.finish()
    except UpstreamError:
        return
