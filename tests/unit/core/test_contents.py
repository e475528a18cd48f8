"""Bodies as they are kept: cut where they are long, described where they are no text."""

import base64
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.contents import (
    BYTES_MAX,
    Content,
    ContentKey,
    is_text,
    kept_side,
    readable,
    said,
)

FILE = base64.b64encode(os.urandom(3000)).decode()


def kept(data: bytes) -> str:
    side = kept_side("application/json", data, len(data), False)
    assert side.text is not None
    return side.text


def test_a_short_body_is_kept_as_it_is() -> None:
    side = kept_side("Application/JSON; charset=utf-8", b'{"a": "\xe4\xbd\xa0"}', 12, False)
    assert (side.content_type, side.text, side.size, side.cut) == (
        "application/json",
        '{"a": "你"}',
        12,
        False,
    )


def test_a_long_body_is_cut_and_says_so() -> None:
    data = json.dumps({"text": "x y" * BYTES_MAX}).encode()
    side = kept_side("application/json", data, len(data), False)
    assert side.text == data[:BYTES_MAX].decode()
    assert (side.cut, side.size) == (True, len(data))


@given(st.text(min_size=1, max_size=8), st.integers(1, 30))
def test_a_cut_goes_through_no_character(text: str, at: int) -> None:
    data = text.encode("utf-8", "surrogatepass")
    if "\ufffd" in data.decode("utf-8", "replace"):
        return
    side = kept_side("text/plain", data[:at], len(data), at < len(data))
    assert side.text is not None
    assert text.startswith(side.text)
    assert len(side.text.encode()) > min(at, len(data)) - 4


def test_what_is_no_text_is_described() -> None:
    side = kept_side("audio/mpeg", None, 48211, False)
    assert (side.text, side.described) == (None, "audio/mpeg, 48211 bytes")
    assert [is_text(kind) for kind in ("audio/mpeg", "image/png", "multipart/form-data")] == [
        False
    ] * 3
    texts = ("", "application/json", "text/event-stream; charset=utf-8", "application/problem+json")
    assert all(map(is_text, texts))


def test_files_inside_json_are_described() -> None:
    body = {
        "messages": [
            {"content": [{"image_url": {"url": f"data:image/png;base64,{FILE}"}}]},
            {"content": [{"input_audio": {"data": FILE, "format": "wav"}}]},
        ],
        "data": [{"b64_json": FILE}],
    }
    found = json.loads(kept(json.dumps(body).encode()))
    assert found == {
        "messages": [
            {"content": [{"image_url": {"url": "(image/png, 3000 bytes)"}}]},
            {"content": [{"input_audio": {"data": "(base64, 3000 bytes)", "format": "wav"}}]},
        ],
        "data": [{"b64_json": "(base64, 3000 bytes)"}],
    }


def test_long_texts_are_no_files() -> None:
    for text in (
        "x" * 5000,
        FILE,
        f'say "{FILE}',
        "data: " + FILE,
        f"data:image/png;base64,{FILE}!",
    ):
        body = json.dumps({"content": text})
        assert kept(body.encode()) == body
    body = json.dumps({"data": "a sentence " * 300})
    assert kept(body.encode()) == body


def test_a_file_that_was_cut_is_still_a_file() -> None:
    whole = json.dumps({"b64_json": FILE}).encode()
    side = kept_side("application/json", whole[:2000], len(whole), True)
    assert side.text is not None
    assert side.text.startswith('{"b64_json": "(base64, ')
    assert side.cut


@given(st.binary(max_size=3000))
def test_any_bytes_can_be_kept(data: bytes) -> None:
    kept(data)
    kept(data + b'"data":"' + FILE.encode() + data)


def test_a_stream_is_joined() -> None:
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": "Hm"}}]},
        {"choices": [{"index": 0, "delta": {"content": "Hel"}}]},
        {"choices": [{"index": 1, "delta": {"content": "你"}}]},
        {"choices": [{"index": 0, "delta": {"content": "lo"}}]},
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
                }
            ]
        },
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"arguments": "}"}}]}}]},
        {"choices": [], "usage": {}},
    ]
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\ndata: {"
    first, second = said(text)
    assert (first.thought, first.text, first.calls) == ("Hm", "Hello", ["f({}"])
    assert (second.index, second.text) == (1, "你")
    assert said('data: {"type":"transcript.text.delta","delta":"a"}\n\n')[0].text == "a"
    assert said('data: {"choices":[{"text":"a"}]}\n\n')[0].text == "a"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "delta", "index", "tool_calls", "function", "text", "name"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_hostile_events_are_read(event: object) -> None:
    said(f"data: {json.dumps(event)}\n\n")


def test_a_key_shows_nothing() -> None:
    assert "secret" not in repr(ContentKey("org_1", 5, b"secret"))
    assert Content(request=kept_side("", b"", 0, False)).answer is None


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        (r'"\u4f60\u597d"', '"你好"'),
        (r'"\ud83d\ude00"', '"😀"'),
        (r'"\\u4f60"', r'"\\u4f60"'),  # a backslash, and letters behind it
        (r'"\u0022\u0000\u202e"', r'"\u0022\u0000\u202e"'),
    ],
)
def test_escaped_characters_are_shown_where_they_can_be_seen(written: str, seen: str) -> None:
    assert readable(written) == seen
