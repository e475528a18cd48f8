"""A chat body in three pieces: its messages, its ``user``, and its frame, which is all the rest.

The frame (model, tools, sampling, limits) is the same for thousands of requests of one program,
while messages differ every time. So what the frame means is worked out once (``lane.py``), and here
is only checked what can differ. ``split`` gives None for every body that is not plain, or not
provably without double names; ``parse.py`` then judges it. It accepts nothing that ``parse.py``
would refuse, given that the frame was accepted once.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tokenmarket.core.parse import rewritten

ABSENT = msgspec.Raw(b"")
_LIST = msgspec.Raw(b"[]")  # stand in the frame for what differs
_TEXT = msgspec.Raw(b'""')

MESSAGES_MAX = 10_000


class _Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """What passes as it is: a usual role and text."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_call_id: str | None = None
    name: str | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Members of a plain chat, undecoded. What is not among them makes a body not plain."""

    model: msgspec.Raw
    messages: msgspec.Raw
    user: msgspec.Raw = ABSENT
    stream: msgspec.Raw = ABSENT
    n: msgspec.Raw = ABSENT
    max_tokens: msgspec.Raw = ABSENT
    max_completion_tokens: msgspec.Raw = ABSENT
    temperature: msgspec.Raw = ABSENT
    top_p: msgspec.Raw = ABSENT
    presence_penalty: msgspec.Raw = ABSENT
    frequency_penalty: msgspec.Raw = ABSENT
    stop: msgspec.Raw = ABSENT
    seed: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT
    tool_choice: msgspec.Raw = ABSENT
    parallel_tool_calls: msgspec.Raw = ABSENT
    response_format: msgspec.Raw = ABSENT
    reasoning_effort: msgspec.Raw = ABSENT
    verbosity: msgspec.Raw = ABSENT
    store: msgspec.Raw = ABSENT
    logprobs: msgspec.Raw = ABSENT
    top_logprobs: msgspec.Raw = ABSENT
    logit_bias: msgspec.Raw = ABSENT


class Plain(msgspec.Struct, frozen=True, gc=False):
    """``messages`` and ``user`` (empty: not given) are JSON; ``turns`` counts the messages."""

    frame: bytes
    messages: bytes
    user: bytes
    turns: int


class Layout(msgspec.Struct, frozen=True, gc=False):
    """What stands before and behind the messages of bodies of one frame and one ``user``."""

    opening: bytes
    closing: bytes
    user: bytes


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_messages = msgspec.json.Decoder(list[_Message]).decode
_encode = msgspec.json.Encoder().encode


def split(body: bytes) -> Plain | None:
    """The pieces of a plain chat body, None for all others."""
    try:
        found = _decode_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    messages = bytes(found.messages)
    found.messages = _LIST
    rest = len(body) - len(messages) + 2
    user = b""
    if found.user is not ABSENT:
        user = bytes(found.user)
        found.user = _TEXT
        rest += 2 - len(user)
    frame = _encode(found)
    # Written again the members are as long as they came: no name was given twice.
    if len(frame) != rest:
        return None
    turns = _turns(messages)
    return Plain(frame, messages, user, turns) if turns else None


def layout(body: bytes, plain: Plain) -> Layout | None:
    """How this body is laid out, for ``inside``; None: not to be told for certain."""
    at = body.find(plain.messages)
    opening, closing = body[:at], body[at + len(plain.messages) :]
    other = split(b'%b[{"role":"user","content":""}]%b' % (opening, closing))
    if other is None or other.frame != plain.frame or other.user != plain.user:
        return None  # the messages stand somewhere else too, and before
    return Layout(opening, closing, plain.user)


def inside(body: bytes, known: Layout, frame: bytes) -> Plain | None:
    """What ``split`` would give for a body of this layout, without reading the frame again; None:
    not such a body, ``split`` tells. One JSON list in the place of another changes nothing else."""
    opening, closing = known.opening, known.closing
    if not body.startswith(opening) or not body.endswith(closing):
        return None
    messages = body[len(opening) : len(body) - len(closing)]
    turns = _turns(messages)
    return Plain(frame, messages, known.user, turns) if turns else None


def _turns(messages: bytes) -> int:
    """How many messages; 0: they are not all plain, or not provably without double names."""
    try:
        decoded = _decode_messages(messages)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0
    if _encode(decoded) != messages and rewritten(messages) != messages:
        return 0
    turns = len(decoded)
    return turns if turns <= MESSAGES_MAX else 0
