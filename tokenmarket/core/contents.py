"""What was said in one request, as it is kept for its organisation: two bodies, bounded.

A body is kept as text; files inside it (data URLs, known members with base64) become a line that
says what they were. Bodies that are not text are described only. What is longer than ``BYTES_MAX``
is cut, and says so. ``said`` joins the events of a stream to what a person would have read.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

DAYS_MAX = 90  # so long it may be kept; an installation may allow less
BYTES_MAX = 256 * 1024  # of one body, kept
TAKEN_BYTES_MAX = 2 * 1024 * 1024  # of one body, looked at: files inside it are long
_FILE_CHARS_MIN = 1024
_DATA_URL = re.compile(rb"data:([\w.+-]{1,40}/[\w.+-]{1,60})?[\w;=.+-]{0,60};base64,", re.ASCII)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_=\\-]*", re.ASCII)
_FILE_MEMBERS = frozenset(
    {
        b"audio",
        b"b64",
        b"b64_json",
        b"data",
        b"embedding",
        b"file_data",
        b"image",
        b"partial_image_b64",
    }
)


class ContentKey(msgspec.Struct, frozen=True):
    """What opens the contents of one organisation."""

    org_id: str
    made_us: int
    secret: bytes

    @property
    def folder(self) -> str:
        return f"{self.org_id}.{self.made_us}"

    def __repr__(self) -> str:
        return f"ContentKey({self.folder}, ***)"


class Side(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One body. ``size`` is that of the whole one in bytes; ``text`` None: it was not text.
    ``files``: those of a form, each in a line. ``cut``: ``text`` is only its beginning."""

    content_type: str
    size: int
    text: str | None
    cut: bool = False
    files: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """What stands for a body that is not text."""
        return f"{self.content_type or 'application/octet-stream'}, {self.size} bytes"

    @property
    def streamed(self) -> bool:
        return self.content_type == "text/event-stream"


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """Both bodies of a request; ``status`` and ``answer`` are None if nothing was answered."""

    request: Side
    status: int | None = None
    answer: Side | None = None


class Said(msgspec.Struct):
    """What one choice of a stream came to."""

    index: int
    thought: str = ""
    text: str = ""
    calls: list[str] = []


def kept_side(
    content_type: str, data: bytes | None, size: int, cut: bool, files: tuple[str, ...] = ()
) -> Side:
    """``data`` are the first bytes of a body of ``size`` bytes, ``cut``: not all of them; None:
    it was not text."""
    kind = _essence(content_type)
    if data is None:
        return Side(content_type=kind, size=size, text=None, files=files)
    shown = _without_files(data)
    if len(shown) > BYTES_MAX:
        shown, cut = shown[:BYTES_MAX], True
    # a character that the cut went through is left out; what is no UTF-8 is shown as such
    whole = _whole_characters(shown) if cut else shown
    text = whole.decode("utf-8", "replace")
    return Side(content_type=kind, size=size, text=text, cut=cut, files=files)


def is_text(content_type: str) -> bool:
    """Whether a body with this content type is kept; without one it should be JSON."""
    kind = _essence(content_type)
    return (
        kind in ("", "application/json", "application/x-ndjson", "application/x-subrip")
        or kind.startswith("text/")
        or kind.endswith("+json")
    )


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()[:100]


def _whole_characters(data: bytes) -> bytes:
    """Without the beginning of a character at the end."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return data[:-back] if length > back else data
    return data


def _without_files(body: bytes) -> bytes:
    """JSON or events in which long base64 is replaced by what it was."""
    if len(body) < _FILE_CHARS_MIN:
        return body
    pieces = body.split(b'"')
    for at in range(1, len(pieces)):
        piece = pieces[at]
        if len(piece) >= _FILE_CHARS_MIN:
            member = at >= 2 and pieces[at - 1].strip() == b":" and pieces[at - 2] in _FILE_MEMBERS
            pieces[at] = _file(piece, member=member) or piece
    return b'"'.join(pieces)


def _file(text: bytes, *, member: bool) -> bytes | None:
    """The line for a file, None if the text is none."""
    url = _DATA_URL.match(text)
    if url is None and not member:
        return None
    start = 0 if url is None else url.end()
    kind = b"base64" if url is None else url[1] or b"text/plain"
    if _BASE64.fullmatch(text, start) is None or text.endswith(b"\\"):
        return None
    return b"(%b, %d bytes)" % (kind, (len(text) - start) * 3 // 4)


def said(text: str) -> list[Said]:
    """The choices of a stream of ours, from its events; none if there is no text in them."""
    choices: dict[int, Said] = {}
    for line in text.splitlines():
        if not line.startswith("data:"):
            continue
        try:
            event = msgspec.json.decode(line[5:], type=dict[str, Any])
        except msgspec.MsgspecError:
            continue  # [DONE], or the line where it was cut
        _listen(event, choices)
    return [choices[index] for index in sorted(choices)]


def _listen(event: dict[str, Any], choices: dict[int, Said]) -> None:
    if event.get("type") == "transcript.text.delta":
        choices.setdefault(0, Said(0)).text += _text(event.get("delta"))
        return
    for choice in _dicts(event.get("choices")):
        index = choice.get("index")
        number = index if isinstance(index, int) else 0
        one = choices.setdefault(number, Said(number))
        one.text += _text(choice.get("text"))
        delta = choice.get("delta")
        if isinstance(delta, dict):
            found = msgspec.convert(delta, dict[str, Any])
            one.thought += _text(found.get("reasoning_content"))
            one.text += _text(found.get("content")) + _text(found.get("refusal"))
            _listen_to_calls(found, one)


def _listen_to_calls(delta: dict[str, Any], one: Said) -> None:
    """Tools that are called: the name comes first, then the arguments in pieces."""
    for call in _dicts(delta.get("tool_calls")):
        function = call.get("function")
        if not isinstance(function, dict):
            continue
        found = msgspec.convert(function, dict[str, Any])
        name, arguments = _text(found.get("name")), _text(found.get("arguments"))
        if name or not one.calls:
            one.calls.append(f"{name}(")
        one.calls[-1] += arguments


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dicts(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    items = msgspec.convert(value, list[Any])
    return [msgspec.convert(item, dict[str, Any]) for item in items if isinstance(item, dict)]


_ESCAPE = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\."
)


def readable(json: str) -> str:
    """JSON for people: indented, and what was written as ``\\u4f60`` is the character, where it is
    one that can be seen. Raises msgspec.DecodeError, RecursionError."""
    return _ESCAPE.sub(_character, msgspec.json.format(json, indent=2))


def _character(found: re.Match[str]) -> str:
    high, low, alone = found.groups()
    if high is not None:
        character = chr(0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF))
    elif alone is not None:
        character = chr(int(alone, 16))
    else:
        return found[0]
    return character if not character.isascii() and character.isprintable() else found[0]
