"""Bodies that are wrong in every way: always 400, 413 or 415 in the envelope, never 500, never a
charge, and the path of what is wrong."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from tests.gateway.site import CHAT, COMPLETIONS, EMBEDDINGS, Org, Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 1

HI = [{"role": "user", "content": "hi"}]
CHAT_BODY: dict[str, Any] = {"model": "sandbox-chat", "messages": HI, "max_tokens": 5}
COMPLETION_BODY: dict[str, Any] = {"model": "sandbox-chat", "prompt": "hi", "max_tokens": 5}
EMBEDDING_BODY: dict[str, Any] = {"model": "sandbox-embed", "input": "hi"}
BODIES = {CHAT: CHAT_BODY, COMPLETIONS: COMPLETION_BODY, EMBEDDINGS: EMBEDDING_BODY}
TEXT = json.dumps(CHAT_BODY).encode()


# (path, change, param that must be named)
FIELDS: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"model": None}, "model"),
    (CHAT, {"model": ""}, "model"),
    (CHAT, {"model": 5}, "model"),
    (CHAT, {"model": ["sandbox-chat"]}, "model"),
    (CHAT, {"messages": None}, "messages"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": {}}, "messages"),
    (CHAT, {"messages": "hi"}, "messages"),
    (CHAT, {"messages": HI * 10_001}, "messages"),
    (CHAT, {"messages": [None]}, "messages[0]"),
    (CHAT, {"messages": ["hi"]}, "messages[0]"),
    (CHAT, {"messages": [{}]}, "messages[0].role"),
    (CHAT, {"messages": [{"role": "user"}]}, "messages[0].content"),
    (CHAT, {"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    (CHAT, {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    (CHAT, {"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    (CHAT, {"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role"),
    (CHAT, {"messages": [*HI, {"role": 1, "content": "x"}]}, "messages[1].role"),
    (CHAT, {"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].image_url",
    ),
    (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
        "messages[0].content[0].image_url",
    ),
    (
        CHAT,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
                }
            ]
        },
        "messages[0].content[0].image_url.url",
    ),
    (CHAT, {"max_tokens": 0}, "max_tokens"),
    (CHAT, {"max_tokens": -1}, "max_tokens"),
    (CHAT, {"max_tokens": 1.5}, "max_tokens"),
    (CHAT, {"max_tokens": "5"}, "max_tokens"),
    (CHAT, {"max_tokens": True}, "max_tokens"),
    (CHAT, {"max_tokens": 10**12}, "max_tokens"),
    (CHAT, {"max_tokens": 10**40}, "max_tokens"),
    (CHAT, {"max_completion_tokens": 0}, "max_completion_tokens"),
    (CHAT, {"max_completion_tokens": 7}, "max_tokens"),
    (CHAT, {"n": 0}, "n"),
    (CHAT, {"n": 9}, "n"),
    (CHAT, {"n": "1"}, "n"),
    (CHAT, {"temperature": -0.1}, "temperature"),
    (CHAT, {"temperature": 2.1}, "temperature"),
    (CHAT, {"temperature": "hot"}, "temperature"),
    (CHAT, {"top_p": 1.1}, "top_p"),
    (CHAT, {"presence_penalty": 3}, "presence_penalty"),
    (CHAT, {"frequency_penalty": -3}, "frequency_penalty"),
    (CHAT, {"stream": "yes"}, "stream"),
    (CHAT, {"stream": 1}, "stream"),
    (CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
    (CHAT, {"stream": True, "stream_options": 5}, "stream_options"),
    (
        CHAT,
        {"stream": True, "stream_options": {"include_usage": "x"}},
        "stream_options.include_usage",
    ),
    (CHAT, {"stop": 5}, "stop"),
    (CHAT, {"stop": [1]}, "stop[0]"),
    (CHAT, {"stop": ["a"] * 17}, "stop"),
    (CHAT, {"tools": {}}, "tools"),
    (CHAT, {"tools": [5]}, "tools[0]"),
    (CHAT, {"tools": [{"type": "function"}]}, "tools[0].function"),
    (CHAT, {"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    (CHAT, {"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
    (
        CHAT,
        {"tools": [{"type": "function", "function": {"name": "f"}}] * 513},
        "tools",
    ),
    (CHAT, {"tool_choice": "required"}, "tool_choice"),
    (CHAT, {"top_logprobs": 5}, "top_logprobs"),
    (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    (CHAT, {"logprobs": "all"}, "logprobs"),
    (CHAT, {"seed": "x"}, "seed"),
    (CHAT, {"user": 5}, "user"),
    (CHAT, {"metadata": "x"}, "metadata"),
    (CHAT, {"response_format": "json"}, "response_format"),
    (CHAT, {"logit_bias": {"1": "x"}}, "logit_bias[...]"),
    (CHAT, {"models": "x"}, "models"),
    (CHAT, {"models": [""]}, "models[0]"),
    (CHAT, {"models": ["sandbox-chat"] * 17}, "models"),
    (CHAT, {"modalities": "audio"}, "modalities"),
    (COMPLETIONS, {"prompt": None}, "prompt"),
    (COMPLETIONS, {"prompt": []}, "prompt"),
    (COMPLETIONS, {"prompt": [""]}, "prompt[0]"),
    (COMPLETIONS, {"prompt": ["a", 5]}, "prompt[1]"),
    (COMPLETIONS, {"prompt": ["a", [1]]}, "prompt[1]"),
    (COMPLETIONS, {"prompt": ["a"] * 2049}, "prompt"),
    (COMPLETIONS, {"best_of": 1, "n": 2}, "best_of"),
    (COMPLETIONS, {"best_of": 2, "stream": True}, "best_of"),
    (COMPLETIONS, {"logprobs": 21}, "logprobs"),
    (COMPLETIONS, {"max_tokens": 0}, "max_tokens"),
    (EMBEDDINGS, {"input": None}, "input"),
    (EMBEDDINGS, {"input": ""}, "input"),
    (EMBEDDINGS, {"input": []}, "input"),
    (EMBEDDINGS, {"input": ["a", ""]}, "input[1]"),
    (EMBEDDINGS, {"input": ["a", 1]}, "input[1]"),
    (EMBEDDINGS, {"input": [[]]}, "input[0]"),
    (EMBEDDINGS, {"input": ["a"] * 2049}, "input"),
    (EMBEDDINGS, {"input": {"a": 1}}, "input"),
    (EMBEDDINGS, {"dimensions": 0}, "dimensions"),
    (EMBEDDINGS, {"dimensions": "x"}, "dimensions"),
    (EMBEDDINGS, {"encoding_format": "hex"}, "encoding_format"),
    (EMBEDDINGS, {"model": None}, "model"),
]


async def test_every_wrong_field_is_named_by_its_path(site: Site) -> None:
    org = await site.org()
    for path, change, param in FIELDS:
        answer = await org.post(path, BODIES[path] | change)
        assert answer.status == 400, (path, str(change)[:100], answer.body[:300])
        error = answer.error(400, "REQUEST_001", fault="caller", retryable=False)
        assert error["param"] == param, (path, str(change)[:100], error)
        assert answer.headers["x-ratelimit-limit-requests"]
    await org.settled()
    receipts = await org.receipts()
    assert {receipt["status"] for receipt in receipts} == {"rejected"}
    assert all(receipt["attempts"] == [] for receipt in receipts)


async def test_every_missing_field_is_named(site: Site) -> None:
    org = await site.org()
    for path, body in BODIES.items():
        for name in set(body) - {"max_tokens"}:
            less = {key: value for key, value in body.items() if key != name}
            (await org.post(path, less)).error(400, "REQUEST_001", param=name)
    await org.settled()


RAW: dict[str, bytes] = {
    "empty": b"",
    "white space": b"  \r\n ",
    "null": b"null",
    "a list": b"[]",
    "a string": b'"x"',
    "a number": b"5",
    "cut": TEXT[:-1],
    "cut in a string": TEXT[:20],
    "trailing word": TEXT + b" x",
    "two documents": TEXT + TEXT,
    "a BOM": b"\xef\xbb\xbf" + TEXT,
    "UTF-16": TEXT.decode().encode("utf-16"),
    "latin-1": TEXT.replace(b"hi", "ä".encode("latin-1")),
    "half a character": TEXT.replace(b"hi", b"\xf0\x9f\x98"),
    "overlong": TEXT.replace(b"hi", b"\xc0\xaf"),
    "an encoded surrogate": TEXT.replace(b"hi", b"\xed\xa0\x80"),
    "a lone surrogate": TEXT.replace(b"hi", b"\\ud800"),
    "a lone low surrogate": TEXT.replace(b"hi", b"\\udc00"),
    "a surrogate in the model": TEXT.replace(b"sandbox-chat", b"\\ud83d"),
    "a surrogate in an unknown field": TEXT[:-1] + b',"x":"\\ud800"}',
    "a surrogate in a name": TEXT[:-1] + b',"\\ud800":1}',
    "a NUL": TEXT.replace(b"hi", b"h\x00i"),
    "a raw line end": TEXT.replace(b"hi", b"h\ni"),
    "a bad escape": TEXT.replace(b"hi", b"\\x41"),
    "NaN": TEXT[:-1] + b',"temperature":NaN}',
    "Infinity": TEXT[:-1] + b',"x":Infinity}',
    "1e400": TEXT[:-1] + b',"temperature":1e400}',
    "a leading zero": TEXT[:-1] + b',"x":01}',
    "a plus": TEXT[:-1] + b',"x":+1}',
    "hex": TEXT[:-1] + b',"x":0x1}',
    "single quotes": TEXT.replace(b'"', b"'"),
    "a comment": b"/* hi */" + TEXT,
    "a trailing comma": TEXT[:-1] + b",}",
    "the model twice": TEXT[:-1] + b',"model":"sandbox-embed"}',
    "the model twice, hidden": b'{"model":"a",' + TEXT[1:-1].replace(b" ", b"") + b',"z":1E13}',
    "the model twice, escaped": TEXT[:-1] + b',"mod\\u0065l":"sandbox-embed"}',
    "max_tokens twice": TEXT[:-1] + b',"max_tokens":900}',
    "a nested name twice": TEXT.replace(b'"role"', b'"role": "user", "role"'),
    "an unknown name twice": TEXT[:-1] + b',"x":1,"x":2}',
    "twice, deep inside": TEXT[:-1] + b',"metadata":{"a":{"b":1,"b":2}}}',
    "65 levels": TEXT[:-1] + b',"x":' + b"[" * 65 + b"]" * 65 + b"}",
    "100,000 levels": TEXT[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 levels, objects": TEXT[:-1] + b',"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "never closed": b"[" * 1_000_000,
    "quotes without end": b'["' + b'\\"' * 500_000,
}


@pytest.mark.parametrize("case", RAW)
async def test_what_is_not_one_clean_json_object(site: Site, case: str) -> None:
    org = await site.org(rpm=1)
    answer = await org.post(CHAT, RAW[case])
    answer.error(400, "REQUEST_001", fault="caller", retryable=False)
    if "twice" in case:
        assert answer.json["error"]["param"]
    await org.settled()
    # A refused request consumes nothing: the one request of this minute is still there.
    assert (await org.post(CHAT, TEXT)).status == 200


async def test_a_huge_integer_is_refused_or_passed_but_never_a_crash(site: Site) -> None:
    org = await site.org()
    for digits in (19, 20, 40, 5_000):
        for name in (b"x", b"seed", b"n", b"temperature"):
            body = TEXT[:-1] + b',"%b":%b}' % (name, b"9" * digits)
            answer = await org.post(CHAT, body)
            assert answer.status in (200, 400), answer.body
            if answer.status == 400:
                answer.error(400, answer.json["error"]["code"])


async def test_a_number_beyond_all_floats_is_no_crash(site: Site) -> None:
    """JSON allows it; where we do not read it, it is the upstream's to judge."""
    org = await site.org()
    for more in (b',"x":1e400}', b',"x":[-1e999]}', b',"logit_bias":{"1":1e400}}'):
        answer = await org.post(CHAT, TEXT[:-1].replace(b" ", b"") + more)
        assert answer.status in (200, 400), answer.body
        if answer.status == 400:
            answer.error(400, answer.json["error"]["code"], fault="caller")
    part = b'{"model":"sandbox-chat","max_tokens":5,"messages":[{"role":"user","content":[%b]}]}'
    answer = await org.post(CHAT, part % b'{"type":"text","text":"x","y":1e400}')
    assert answer.status in (200, 400), answer.body


async def test_sixty_four_levels_are_fine(site: Site) -> None:
    org = await site.org()
    deep = TEXT[:-1] + b',"x":' + b"[" * 63 + b"]" * 63 + b"}"
    assert (await org.post(CHAT, deep)).status == 200
    strings = TEXT[:-1] + b',"x":["' + b"[{" * 500 + b'"]}'
    assert (await org.post(CHAT, strings)).status == 200


async def test_many_members_are_read_in_linear_time(site: Site) -> None:
    org = await site.org()
    members = b",".join(b'"k%d": 1' % n for n in range(60_000))
    body = TEXT[:-1] + b"," + members + b',"k59999":1}'
    answer = await org.post(CHAT, body)  # Wire.answer allows 8 s; a quadratic check takes minutes
    answer.error(400, "REQUEST_001", param="k59999")


TYPES = {
    "text/plain": 415,
    "application/xml": 415,
    "multipart/form-data; boundary=x": 415,
    "application/x-www-form-urlencoded": 415,
    "application/json": 200,
    "application/json; charset=utf-8": 200,
    "Application/JSON": 200,
    "application/vnd.api+json": 200,
    "application/jsonx": 415,
    "json": 415,
    ";": 415,
}


@pytest.mark.parametrize("content_type", TYPES)
async def test_the_content_type(site: Site, content_type: str) -> None:
    org = await site.org()
    answer = await org.post(CHAT, TEXT, headers={"content-type": content_type})
    assert answer.status == TYPES[content_type], answer.body
    if answer.status == 415:
        answer.error(415, "REQUEST_007", fault="caller", retryable=False)
        await org.settled()


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "gzip, identity"])
async def test_compressed_bodies_are_refused(site: Site, coding: str) -> None:
    org = await site.org()
    for content_type in ("application/json", "application/json; charset=utf-8"):
        headers = {"content-encoding": coding, "content-type": content_type}
        answer = await org.post(CHAT, TEXT, headers=headers)
        answer.error(415, "REQUEST_007", fault="caller")
    await org.settled()


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "shift_jis"])
async def test_another_charset_is_refused(site: Site, charset: str) -> None:
    """JSON is UTF-8; who says otherwise would be read differently elsewhere."""
    org = await site.org()
    headers = {"content-type": f"application/json; charset={charset}"}
    (await org.post(CHAT, TEXT, headers=headers)).error(415, "REQUEST_007")
    await org.settled()


async def test_what_is_refused_before_authentication_leaves_nothing(site: Site) -> None:
    org = await site.org(rpm=1)
    for headers in ({"authorization": f"Bearer {org.key}x"}, {"content-type": "text/plain"}):
        answer = await site.post(CHAT, TEXT, headers=headers)
        answer.error(401, "AUTH_001")
    await org.settled()
    assert (await org.post(CHAT, TEXT)).status == 200


# --- mutation ---------------------------------------------------------------------------------

RICH: dict[str, Any] = {
    "model": "sandbox-chat",
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
    ],
    "max_tokens": 5,
    "temperature": 0.5,
    "n": 1,
    "stop": ["x"],
    "stream": False,
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
        }
    ],
    "tool_choice": "auto",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": {"type": "object"}},
    },
    "metadata": {"a": "b"},
    "provider": {"order": ["sandbox"], "allow_fallbacks": True, "max_price": {"prompt": 100}},
    "models": ["sandbox-reasoner"],
    "user": "u",
    "seed": 1,
    "logprobs": True,
    "top_logprobs": 2,
}
RICH_EMBEDDING: dict[str, Any] = {
    "model": "sandbox-embed",
    "input": ["a", "b"],
    "dimensions": 8,
    "encoding_format": "float",
    "provider": "sandbox",
    "user": "u",
}
RICH_COMPLETION: dict[str, Any] = {
    "model": "sandbox-chat",
    "prompt": ["a", "b"],
    "max_tokens": 5,
    "n": 1,
    "echo": False,
    "stop": "x",
    "stream": False,
    "logprobs": 2,
    "best_of": 1,
}
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**25,
    1.5,
    -0.0,
    1e308,
    "",
    "x",
    "sandbox",
    "\x00",
    "\u202e\ufffe",
    "💥" * 50,
    "a" * 3000,
    "data:,",
    "auto",
    "required",
    "json_object",
    [],
    [None],
    [[]],
    ["x"],
    [{}],
    {},
    {"": None},
    {"type": "x"},
    {"type": "text", "text": "x"},
    {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
    {"type": "file", "file": {}},
    {"type": "input_audio", "input_audio": {"data": "!", "format": 1}},
    {"order": []},
]


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(node, dict):
        for key, value in node.items():
            found += places(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            found += places(value, (*path, index))
    return found


def mutated(base: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    body: Any = copy.deepcopy(base)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        path = draw.choice(places(body))
        node = body
        for step in path[:-1]:
            node = node[step]
        what = draw.random()
        if what < 0.75:
            node[path[-1]] = copy.deepcopy(draw.choice(VALUES))
        elif what < 0.9:
            del node[path[-1]]
        elif isinstance(node, dict):
            node[draw.choice(("extra", "stream", "model", "\n", "type"))] = draw.choice(VALUES)
        else:
            node.append(copy.deepcopy(node[path[-1]]))
        if not body:
            return {}
    return body


@pytest.mark.parametrize("seed", range(3))
async def test_a_mutated_body_is_answered_or_refused_in_the_envelope(site: Site, seed: int) -> None:
    """Every place of a rich body, every value of a wrong kind; a failing body is in the message."""
    org: Org = await site.org("5")
    draw = random.Random(f"mutate {seed}")
    statuses: dict[int, int] = {}
    for base, path in (
        (RICH, CHAT),
        (RICH_EMBEDDING, EMBEDDINGS),
        (RICH_COMPLETION, COMPLETIONS),
    ):
        for _ in range(250):
            body = mutated(base, draw)
            answer = await org.post(path, body)
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            assert answer.status == 200 or 400 <= answer.status < 500, (body, answer.body)
            if answer.status != 200:
                error = answer.error(answer.status, answer.json["error"]["code"])
                assert error["fault"] == "caller", (body, error)
                if error["code"] == "REQUEST_001" and body:
                    assert error["param"], (body, error)
    assert statuses[200] > 20
    assert statuses[400] > 100
    balance, held = await org.credits()
    assert held == 0
    assert 0 < balance <= 5
