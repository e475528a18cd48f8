"""Body bytes -> Request: what is refused, with which path, and that bounds are never too small."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import parse
from tokenmarket.core.requests import Request

HI = [{"role": "user", "content": "hi"}]
CHAT: dict[str, Any] = {"model": "m", "messages": HI}


def chat(**fields: Any) -> Request:
    return parse("chat", json.dumps(CHAT | fields).encode())


def refused_well(error: ApiError) -> None:
    assert (error.code, error.status, error.fault) == ("REQUEST_001", 400, "caller")


def refusal(body: bytes, operation: str = "chat") -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(operation, body)
    assert caught.value.code == "REQUEST_001"
    assert caught.value.status == 400
    return caught.value


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "provider",
    "models",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "user",
    "tools",
    "tool_choice",
    "response_format",
    "metadata",
    "logit_bias",
    "modalities",
    "service_tier",
    "web_search_options",
    "input",
    "prompt",
    "best_of",
    "echo",
    "dimensions",
    "encoding_format",
    "logprobs",
    "top_logprobs",
]


@given(
    operation=st.sampled_from(["chat", "completions", "embeddings"]),
    change=st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3),
)
def test_any_value_in_any_field_is_read_or_refused(operation: str, change: dict[str, Any]) -> None:
    base = {"chat": CHAT, "completions": {"model": "m", "prompt": "x"}}.get(
        operation, {"model": "m", "input": "x"}
    )
    body = json.dumps(base | change).encode()
    try:
        request = parse(operation, body)
    except ApiError as error:
        refused_well(error)
        return
    assert request.body == body
    assert request.n >= 1
    assert request.bound.input_tokens >= len(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(body: bytes) -> None:
    try:
        parse("chat", body)
    except ApiError as error:
        refused_well(error)


@given(
    cut=st.integers(0, 200),
    junk=st.binary(min_size=1, max_size=3),
)
def test_a_body_with_junk_inside_never_crashes(cut: int, junk: bytes) -> None:
    body = json.dumps(CHAT | {"temperature": 1.5, "stop": ["a\\u00e9"], "x": 1e5}).encode()
    try:
        parse("chat", body[:cut] + junk + body[cut:])
    except ApiError as error:
        refused_well(error)


@given(pad=st.integers(0, 40), members=st.integers(0, 3), number=st.integers(1, 25))
def test_no_duplicate_hides_behind_numbers_that_grow(pad: int, members: int, number: int) -> None:
    """1E13 is written again as 10000000000000.0: lengths may agree where bytes do not."""
    extra = "".join(f',"k{i}":1E{number}' for i in range(members))
    fill = "x" * pad
    body = f'{{"model":"{fill}a","model":"m","messages":[{{"role":"user","content":"hi"}}]{extra}}}'
    assert refusal(body.encode()).param == "model"


PLACES = {
    "top": '{"model":"m","messages":[{"role":"user","content":"hi"}],%s}',
    "message": '{"model":"m","messages":[{"role":"user","content":"hi",%s}]}',
    "content part": (
        '{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x",%s}]}]}'
    ),
}


@pytest.mark.parametrize("place", PLACES)
@given(
    pairs=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 10**6) | st.floats(0, 1e18)),
        min_size=1,
        max_size=5,
    ),
    spaced=st.booleans(),
)
def test_duplicates_are_found_exactly(
    place: str, pairs: list[tuple[str, Any]], spaced: bool
) -> None:
    """Wherever we read a member ourselves: the upstream may take the other one of two."""
    colon = ": " if spaced else ":"
    inner = ",".join(f'"{name}"{colon}{json.dumps(value)}' for name, value in pairs)
    body = PLACES[place] % inner
    names = [name for name, _ in pairs]
    if len(set(names)) == len(names):
        parse("chat", body.encode())
    else:
        assert refusal(body.encode()).param in names


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","x":{%b,"k19999":1}}' % b",".join(b'"k%d":1' % n for n in range(20_000)),
        b'{"x":[' + b"[]," * 70 + b'"' + b'\\"' * 300_000,
        b'{"x":[' + b"[]," * 70 + b'"' + b"a" * 3_000_000,
        b"[" * 3_000_000,
        b'{"a":' * 500_000,
        b'{"model":"m","x":' + b"9" * 300_000 + b"}",
        b'{"model":"m","x":1e' + b"9" * 300_000 + b"}",
        b'"' + b"\\u0041" * 300_000,
    ],
    ids=["members", "quotes", "string", "arrays", "objects", "digits", "exponent", "escapes"],
)
def test_nothing_takes_more_than_linear_time(body: bytes) -> None:
    began_s = time.process_time()
    refusal(body)
    assert time.process_time() - began_s < 2  # a quadratic reader needs minutes


@pytest.mark.parametrize("depth", [1, 60, 62])
def test_nesting_that_is_allowed(depth: int) -> None:
    parse("chat", json.dumps(CHAT)[:-1].encode() + b',"x":' + b"[" * depth + b"]" * depth + b"}")


def test_nesting_is_counted_outside_of_strings() -> None:
    chat(x="[{" * 1000 + '\\"[')
    assert "64" in refusal(b'{"model":"m","x":' + b"[" * 70 + b"]" * 70 + b"}").message


def test_the_bound_covers_every_byte_and_what_bytes_do_not_bound() -> None:
    plain = chat()
    assert plain.bound.input_tokens >= len(plain.body)
    assert not plain.bound.image_input
    image = chat(
        messages=[
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}],
            }
        ]
    )
    assert image.bound.image_input
    assert image.bound.input_tokens > len(image.body) + 10_000
    remote = chat(
        messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]
    )
    assert remote.bound.input_tokens > 1_000_000
    unknown = chat(messages=[{"role": "user", "content": [{"type": "hologram"}]}])
    assert unknown.bound.input_tokens > 1_000_000
    audio = chat(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
                ],
            }
        ]
    )
    assert audio.bound.audio_input


@pytest.mark.parametrize(
    ("value", "counted"),
    [({}, True), (True, True), ([{"id": "web"}], True), (None, False), (False, False), ([], False)],
)
def test_a_paid_search_is_foreseen(value: Any, counted: bool) -> None:
    units = dict(chat(web_search_options=value).bound.units)
    assert ("web_search" in units) is counted


def test_choices_multiply() -> None:
    assert chat(n=4).n == 4
    request = parse("completions", b'{"model":"m","prompt":["a","b"],"n":2,"best_of":3}')
    assert request.n == 6
    assert request.max_output_tokens == 16  # OpenAI's default, and so a bound
    assert parse("completions", b'{"model":"m","prompt":[1,2,3]}').n == 1
    assert parse("completions", b'{"model":"m","prompt":[[1],[2]]}').n == 2


def test_the_string_form_of_provider_is_a_pin() -> None:
    choice = chat(provider="sandbox").choice
    assert choice is not None
    assert (choice.only, choice.allow_fallbacks) == (("sandbox",), False)
    assert chat(provider=None).choice is None
    assert chat().choice is None


def test_unknown_members_are_kept_as_they_came() -> None:
    messages = b'[{"role":"user","content":"hi","x":1}]'
    body = b'{"model":"m","messages":%b,"top_k": 4.50,"y":{"z":[]}}' % messages
    request = parse("chat", body)
    assert bytes(request.fields["top_k"]) == b"4.50"
    assert bytes(request.fields["y"]) == b'{"z":[]}'
    assert request.body == body


def test_fields_is_a_copy() -> None:
    request = chat(x=1)
    fields = request.fields
    fields["x"] = msgspec.Raw(b"2")
    assert bytes(request.fields["x"]) == b"1"


def test_an_operation_that_is_not_there() -> None:
    with pytest.raises(ApiError) as caught:
        parse("video", b"{}")
    assert caught.value.code == "REQUEST_004"
