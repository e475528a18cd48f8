"""Plain bodies in three pieces; whatever is split, the general parser takes as well."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import parse
from tokenmarket.core.plain_chat import split

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
