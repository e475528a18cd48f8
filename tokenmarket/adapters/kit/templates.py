"""Templates: events of a stream that differ in one text only are relayed without a decode.

After an event was read and written, and its text occurs exactly once in what came and in what went,
everything around the text is kept. A later event that begins and ends with those bytes and has
nothing but one JSON string's inside between them is relayed by copying the middle. It cannot hide
usage, an error or a finish reason, because every byte that could say so is compared.
"""

from __future__ import annotations

import re

import msgspec

_encode = msgspec.json.Encoder().encode
# What needs no look at all between two quotes: printable ASCII but quote and backslash. Deleting it
# is the cheapest question whether there is anything else.
HARMLESS = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
# The inside of a JSON string: without escapes, and with them (surrogates are left to the decoder).
_plain = re.compile(rb'[^"\\\x00-\x1f]*').fullmatch
_escaped = re.compile(
    rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*'
).fullmatch
_MARK_BYTES = 6  # of what follows a text: enough to find its end in most cases


# Bytes around the one text, each with its quote: (theirs before, theirs after with the event's end,
# ours before, ours after, length of theirs before, of theirs after).
Template = tuple[bytes, bytes, bytes, bytes, int, int]


def learn(event: bytes, written: bytes, words: str) -> Template | None:
    """The template of one event with its end, if the text is found once on either side."""
    quoted = _encode(words)
    before, found, after = event.partition(quoted)
    out_before, out_found, out_after = written.partition(quoted)
    if not found or not out_found or quoted in after or quoted in out_after:
        return None
    before, after = before + b'"', b'"' + after
    out_before, out_after = out_before + b'"', b'"' + out_after
    return before, after, out_before, out_after, len(before), len(after)


def one(templates: list[Template], event: bytes) -> bytes | None:
    """Our event for one of theirs (with its end) that some template fits."""
    for before, after, out_before, out_after, begin, end in templates:
        if event.startswith(before) and event.endswith(after) and len(event) >= begin + end:
            middle = event[begin:-end]
            if is_inside(middle):
                return out_before + middle + out_after
    return None


def run_of_one_kind(templates: list[Template], data: bytes) -> tuple[bytes, bytes]:
    """(our events for as many at the beginning as one template fits, what remains)."""
    for before, after, out_before, out_after, begin, end in templates:
        if data.startswith(before):
            last = data.rfind(after)
            if last < begin:
                continue
            words = _split(data[begin:last], after + before)
            if words is not None and is_inside(b" ".join(words)):
                ours = (out_after + out_before).join(words)
                return out_before + ours + out_after, data[last + end :]
    return b"", data


def _split(middle: bytes, joint: bytes) -> list[bytes] | None:
    """``middle.split(joint)``, which searches slowly for so long a joint; None: other things are
    in between."""
    mark, size = joint[:_MARK_BYTES], len(joint)
    words: list[bytes] = []
    place = 0
    while (found := middle.find(mark, place)) >= 0:
        if not middle.startswith(joint, found):
            return None
        words.append(middle[place:found])
        place = found + size
    words.append(middle[place:])
    return words


def is_inside(middle: bytes) -> bool:
    """Whether a JSON decoder would take these bytes between two quotes."""
    if not middle.translate(None, HARMLESS):
        return True
    if _plain(middle) is None and (b"\\" not in middle or _escaped(middle) is None):
        return False
    if middle.isascii():
        return True
    try:
        middle.decode()
    except UnicodeDecodeError:
        return False
    return True
