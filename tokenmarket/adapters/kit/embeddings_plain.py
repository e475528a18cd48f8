"""Embeddings answers that already have the form asked for: vectors are cut out, never decoded.

A vector is nine tenths of the answer and of no interest to us. Each is found by the bytes that
begin it, must hold nothing that could end it early, and is taken out; what remains, a few bytes
per vector, is decoded strictly and proves that every vector was where a vector belongs. The answer
is put together again around the same bytes. What does not fit is None here and decoded by
``openai_embeddings.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.adapters.kit.openai_usage import parse_usage
from tokenmarket.adapters.protocol import Reply
from tokenmarket.core.catalog import Route
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.usage import Usage

ABSENT = msgspec.Raw(b"")
ID_CHARS_MAX = 200

_LOOK_BYTES = 512  # the first vector begins here, and in its form all others
_FLOATS = (b'"embedding":[', b'"embedding": [')
_STRINGS = (b'"embedding":"', b'"embedding": "')
# What a list of numbers has not: other values, and what is no JSON (NaN, Infinity).
_NO_NUMBERS = (b'"', b"[", b"{", b"a", b"n")

_NO_BASE64 = (b"\\", b"\n")
_ITEM = b'{"object":"embedding","index":%d,"embedding":'
_NEXT_ITEM = b"}," + _ITEM

_encode = msgspec.json.Encoder().encode


class _Item(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What is left of one vector."""

    object: Literal["embedding"]
    index: int
    embedding: Annotated[list[int], msgspec.Meta(max_length=0)] | Literal[""]


class _Answer(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    data: list[_Item]
    object: msgspec.Raw = ABSENT  # replaced, as is the model
    model: msgspec.Raw = ABSENT
    id: str = ""  # not passed on
    usage: msgspec.Raw = ABSENT


_decode_answer = msgspec.json.Decoder(_Answer).decode


def read_vectors(route: Route, body: bytes, *, as_base64: bool) -> Reply | None:
    """The Reply of an answer in OpenAI's shape whose vectors have the form asked for, else None."""
    begin = body[:_LOOK_BYTES]
    compact, spaced = _STRINGS if as_base64 else _FLOATS
    mark = compact if compact in begin else spaced
    cut = _cut(body, mark, as_base64=as_base64)
    if cut is None:
        return None
    vectors, rest = cut
    try:
        found = _decode_answer(rest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not vectors or len(found.data) != len(vectors):
        return None
    pieces = [b'{"object":"list","data":[']
    head = _ITEM
    for item, vector in zip(found.data, vectors, strict=True):
        pieces.append(head % item.index)
        pieces.append(vector)
        head = _NEXT_ITEM
    pieces.append(b'}],"model":%b,"usage":' % _encode(route.model.id))
    usage = None if found.usage is ABSENT else vectors_usage(found.usage, route.prices)
    return Reply(None, usage, None, found.id[:ID_CHARS_MAX] or None, b"".join(pieces))


def vectors_usage(raw: msgspec.Raw, prices: PriceSheet) -> Usage | None:
    """Input tokens only: vectors are not tokens."""
    parsed = parse_usage(raw, prices)
    if parsed is not None and parsed.output_tokens:
        return msgspec.structs.replace(parsed, output_tokens=0)
    return parsed


def _cut(body: bytes, mark: bytes, *, as_base64: bool) -> tuple[list[bytes], bytes] | None:
    """(every vector with its quotes or brackets, the body with empty ones); None: not plain.

    Nothing is proven about the vectors but that they end where they seem to. A number that is none
    reaches the caller as it came.
    """
    close, foreign = (b'"', _NO_BASE64) if as_base64 else (b"]", _NO_NUMBERS)
    vectors: list[bytes] = []
    rest: list[bytes] = []
    done = 0
    found = body.find(mark)
    while found >= 0:
        begin = found + len(mark)
        end = body.find(close, begin)
        if end < 0:
            return None
        for byte in foreign:
            if body.find(byte, begin, end) >= 0:
                return None
        vectors.append(body[begin - 1 : end + 1])
        rest.append(body[done:begin])
        done = end
        found = body.find(mark, done)
    rest.append(body[done:])
    return vectors, b"".join(rest)
