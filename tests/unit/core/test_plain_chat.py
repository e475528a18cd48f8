"""Plain bodies in three pieces; whatever is split, the general parser takes as well."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import parse
from tokenmarket.core.plain_chat import Plain, inside, layout, split

MESSAGES = [{"role": "user", "content": "hi"}]
BODY: dict[str, Any] = {"model": "m", "messages": MESSAGES, "max_tokens": 5}


def compact(body: Any, *, ascii_only: bool = False) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=ascii_only).encode()


def test_three_pieces() -> None:
    found = split(compact(BODY | {"user": "Zoë"}))
    assert found is not None
    assert json.loads(found.frame) == {"model": "m", "messages": [], "max_tokens": 5, "user": ""}
    assert (found.messages, found.user, found.turns) == (compact(MESSAGES), '"Zoë"'.encode(), 1)
    other = split(compact(BODY | {"messages": [*MESSAGES, *MESSAGES], "user": "b"}))
    assert other is not None
    assert (other.frame, other.turns) == (found.frame, 2)
    bare = split(compact(BODY))
    assert bare is not None
    assert bare.user == b""
    assert bare.frame != found.frame


@pytest.mark.parametrize("ascii_only", [False, True])
def test_text_in_any_spelling(ascii_only: bool) -> None:
    messages = [{"role": "user", "content": 'Grüße "x" \\ \n 日本 🎈'}]
    found = split(compact(BODY | {"messages": messages}, ascii_only=ascii_only))
    assert found is not None
    assert json.loads(found.messages) == messages


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        json.dumps(BODY).encode(),  # white space
        compact(BODY)[:-1],
        compact(BODY).replace(b'"max_tokens"', b'"model":"x","max_tokens"'),
        compact(BODY).replace(b'"max_tokens"', b'"max\\u005ftokens"'),
        compact(BODY).replace(b'"role":', b'"role":"user","role":'),
        compact(BODY).replace(b'"role"', b'"r\\u006fle"'),
        compact(BODY).replace(b"hi", b"\xff"),
        compact(BODY | {"messages": []}),
        compact(BODY | {"messages": [{"role": "user", "content": None}]}),
        compact(BODY | {"messages": [{"role": "developer", "content": "x"}]}),
        compact(BODY | {"messages": [{"role": "user", "content": "x", "more": 1}]}),
        compact(
            BODY | {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}
        ),
        compact(BODY | {"provider": "p"}),
        compact(BODY | {"models": ["x"]}),
        compact(BODY | {"metadata": {}}),
        compact(BODY | {"service_tier": "flex"}),
        compact(BODY | {"stream_options": {}}),
        compact(BODY | {"modalities": ["audio"]}),
        compact(BODY | {"web_search_options": {}}),
        compact(BODY | {"unknown": 1}),
    ],
)
def test_not_plain(body: bytes) -> None:
    assert split(body) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(0, 3) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(
    st.fixed_dictionaries(
        {
            "model": st.just("m"),
            "messages": st.lists(
                st.fixed_dictionaries(
                    {
                        "role": st.sampled_from(["user", "system", "tool", "other"]) | JSON,
                        "content": st.text(max_size=9) | JSON,
                    },
                    optional={"name": st.text(max_size=3) | JSON, "x": JSON},
                ),
                max_size=3,
            ),
        },
        optional={"user": st.text(max_size=5), "temperature": st.just(1), "seed": st.just(4)},
    ),
    st.booleans(),
    st.booleans(),
)
def test_nothing_is_split_that_the_parser_refuses(
    body: dict[str, Any], ascii_only: bool, twice: bool
) -> None:
    data = compact(body, ascii_only=ascii_only)
    if twice:
        data = data.replace(b'"content"', b'"content":"a","content"', 1)
    found = split(data)
    if found is None:
        return
    request = parse("chat", data)
    assert request.bound.input_tokens == len(data) + 16 * found.turns
    assert bytes(request.members["messages"]) == found.messages
    assert bytes(request.members.get("user", b"")) == found.user


def test_a_double_name_is_what_the_parser_refuses_too() -> None:
    data = compact(BODY).replace(b'"role":', b'"role":"user","role":')
    with pytest.raises(ApiError):
        parse("chat", data)


def _laid_out(body: Any) -> tuple[bytes, Plain]:
    data = compact(body)
    found = split(data)
    assert found is not None
    return data, found


MESSAGE_LISTS = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "system", "tool"]) | JSON,
            "content": st.text(max_size=9) | JSON,
        },
        optional={"name": st.text(max_size=3), "x": JSON},
    ),
    max_size=3,
)


@given(MESSAGE_LISTS, st.booleans(), st.sampled_from([b"", b"x", b" ", b"]", b"]}", b',"n":1']))
def test_a_known_layout_gives_what_reading_gives(
    messages: list[dict[str, Any]], ascii_only: bool, odd: bytes
) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    first = {"model": "m", "messages": MESSAGES, "tools": tools, "user": "u"}
    data, plain = _laid_out(first)
    known = layout(data, plain)
    assert known is not None
    other = compact(first | {"messages": messages}, ascii_only=ascii_only)
    for body in (other, other.replace(b',"tools"', odd + b',"tools"'), other + odd, odd + other):
        found = inside(body, known, plain.frame)
        assert found is None or found == split(body)
        if body == other:
            assert (found is None) == (split(other) is None)


@pytest.mark.parametrize(
    "other",
    [
        {"model": "n", "messages": MESSAGES, "user": "u"},
        {"model": "m", "messages": MESSAGES, "user": "v"},
        {"model": "m", "messages": MESSAGES},
        {"model": "m", "messages": MESSAGES, "user": "u", "seed": 1},
        {"messages": MESSAGES, "model": "m", "user": "u"},
    ],
)
def test_another_layout_is_read(other: dict[str, Any]) -> None:
    data, plain = _laid_out({"model": "m", "messages": MESSAGES, "user": "u"})
    known = layout(data, plain)
    assert known is not None
    assert inside(compact(other), known, plain.frame) is None


def test_messages_in_the_place_of_messages_only() -> None:
    data, plain = _laid_out({"model": "m", "messages": MESSAGES})
    known = layout(data, plain)
    assert known is not None
    for middle in (
        b"",
        b"[]",
        b'"text"',
        b'[{"role":"user","content":"a"}],"n":[2]',
        b'[{"role":"user","content":"a"}],"messages":[{"role":"user","content":"b"}]',
        b'[{"role":"user","role":"user","content":"a"}]',
        b' [{"role":"user","content":"a"}]',
        b'[{"role":"user","content":"\xff"}]',
        b'[{"role":"user","content":"a"}',
    ):
        assert inside(known.opening + middle + known.closing, known, plain.frame) is None
    assert inside(known.opening + known.closing[1:], known, plain.frame) is None


def test_messages_that_stand_somewhere_else_too_have_no_layout() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"x": MESSAGES}}}]
    data, plain = _laid_out({"model": "m", "tools": tools, "messages": MESSAGES})
    assert layout(data, plain) is None
    data, plain = _laid_out({"model": "m", "messages": MESSAGES, "tools": tools})
    assert layout(data, plain) is not None  # the first one is the one
