"""Multipart forms: where their fields and files lie in a spool, and the JSON that a form means.

    form = read_form(content_type, spool)         files are ranges of the spool, nothing is copied
    body = form_members(form, lists=…, objects=…) what a JSON caller would have sent instead
    typed = decode_lax(body, TranscriptionBody)   "1" and "true" become a number and a boolean

What a reader must know (what names and brackets mean is said in ``brackets.py``):

* A form that is not whole (no closing boundary) is refused: an upload cut in the middle is not a
  shorter file. File names and content types are what the caller says; a name is cut down to a
  harmless last part and never becomes a path.
* python-multipart finds the parts. Its callbacks give positions in the piece at hand, from which
  the place in the spool is computed; that place is then checked against the bytes around it, so
  that a wrong computation refuses a form and cannot cut a file wrongly.
* Reading takes about 1 ms of CPU per 2 MiB (3 ms if hostile): large forms belong in a thread.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tokenmarket.core.brackets import decode_lax, form_fault, shown, unbracketed
from tokenmarket.core.errors import ApiError
from tokenmarket.core.uploads import Spool, Upload
from tokenmarket.core.wording import say

PIECE_BYTES = 64 * 1024
FIELDS_MAX = 1_000
FILES_MAX = 64
NAME_CHARS_MAX = 256
VALUE_BYTES_MAX = 1024 * 1024
VALUES_BYTES_MAX = 16 * 1024 * 1024  # of all fields together: they are held in memory
HEADER_BYTES_MAX = 4096
HEADERS_MAX = 8
FILENAME_CHARS_MAX = 100

_BOUNDARY = re.compile(rb"[!-~][ -~]{0,199}(?<! )")
_FILENAME_STAR = re.compile(rb";\s*filename\*\s*=\s*utf-8'[a-z0-9-]*'([^;\s]*)", re.I | re.ASCII)
_UNSAFE_IN_FILENAME = frozenset('"%*/:;<>?\\|')
_FIELD, _FIELD_NAME = say("A field"), say("A field name")  # made once: the parser hands them on
_PLAIN_ENCODINGS = frozenset({b"", b"7bit", b"8bit", b"binary"})

__all__ = ["Form", "decode_lax", "form_members", "is_form", "read_form", "safe_filename"]


class Form(msgspec.Struct, frozen=True, eq=False):
    """A whole form. ``fields`` in the order they came, names as they were written;
    ``Upload.field`` of ``files`` is without a closing ``[]``."""

    fields: list[tuple[str, str]]
    files: list[Upload]


# -------------------------------------------------------------------------------- where things lie


def read_form(content_type: bytes, spool: Spool) -> Form:
    """Find the parts of a multipart body.

    Raises ApiError: REQUEST_007 for another content type, REQUEST_001 for a body that is not whole
    or not a form, REQUEST_006 above the limits.
    """
    boundary = _boundary(content_type)
    reader = _Reader(boundary, spool)
    delimiter = b"\r\n--" + boundary
    delimiters_left = FIELDS_MAX + FILES_MAX + 2
    offset = 0
    try:
        while piece := spool.read_at(offset, PIECE_BYTES):
            # The parser walks through false delimiters in Python, one by one: bound them.
            delimiters_left -= piece.count(delimiter)
            if delimiters_left < 0:
                raise _too_much("parts", FIELDS_MAX + FILES_MAX)
            reader.feed(piece, offset)
            offset += len(piece)
    except FormParserError as error:
        raise form_fault(say("The multipart body is malformed: {error}.", error=error)) from None
    if not reader.ended:
        raise ApiError(
            "REQUEST_001",
            "The multipart body is cut short: its closing boundary never came.",
            reason="cut",
        )
    return Form(reader.fields, reader.files)


def is_form(content_type: bytes | None) -> bool:
    """Whether a body with this content type is kept in a spool and read by ``read_form``."""
    return content_type is not None and content_type[:10].lower() == b"multipart/"


def _boundary(content_type: bytes) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise ApiError(
            "REQUEST_007",
            "Send a form with 'Content-Type: multipart/form-data'.",
            param="Content-Type",
        )
    boundary = options.get(b"boundary", b"")
    if _BOUNDARY.fullmatch(boundary) is None:
        raise ApiError(
            "REQUEST_001",
            "The form's Content-Type has no usable boundary (1 to 200 printable characters).",
            param="Content-Type",
            reason="bad_boundary",
        )
    return boundary


class _Reader:
    """The callbacks of one form."""

    def __init__(self, boundary: bytes, spool: Spool) -> None:
        self.fields: list[tuple[str, str]] = []
        self.files: list[Upload] = []
        self.ended = False
        self._spool = spool
        self._delimiter = b"\r\n--" + boundary
        self._piece = b""
        self._piece_offset = 0
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._filename: str | None = None
        self._offset = 0
        self._size = 0
        self._value: list[bytes] = []
        self._values_bytes = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begin,
                "on_header_field": self._header_field,
                "on_header_value": self._header_data,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
            max_header_count=HEADERS_MAX,
            max_header_size=HEADER_BYTES_MAX,
        )

    def feed(self, piece: bytes, offset: int) -> None:
        self._piece, self._piece_offset = piece, offset
        self._parser.write(piece)

    def _part_begin(self) -> None:
        self._headers = {}
        self._offset = self._size = 0
        self._value = []

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_data(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        name = self._header_name.lower()
        if name in self._headers:
            raise form_fault("A part of the form has a header twice.")
        self._headers[name] = self._header_value.strip()
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        headers = self._headers
        disposition = headers.get(b"content-disposition", b"")
        kind, options = parse_options_header(disposition)
        if kind != b"form-data" or b"name" not in options:
            raise form_fault("A part of the form has no name (Content-Disposition: form-data).")
        self._name = name = _text(options[b"name"], _FIELD_NAME)
        if not name.isprintable() or not 0 < len(name) <= NAME_CHARS_MAX:
            raise form_fault(
                say(
                    "A field name is 1 to {name_chars_max} printable characters.",
                    name_chars_max=NAME_CHARS_MAX,
                ),
                name,
            )
        if headers.get(b"content-transfer-encoding", b"").lower() not in _PLAIN_ENCODINGS:
            raise form_fault("Encoded parts are not read; send the bytes as they are.", name)
        self._filename = _filename(options, disposition)
        if self._filename is None and len(self.fields) >= FIELDS_MAX:
            raise _too_much("fields", FIELDS_MAX)
        if self._filename is not None and len(self.files) >= FILES_MAX:
            raise _too_much("files", FILES_MAX)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        length = end - start
        if not self._size:
            # Not of this piece: what looked like a boundary at the end of the last one.
            before = start if data is self._piece else -length
            self._offset = self._piece_offset + before
        self._size += length
        if self._filename is not None:
            return
        self._values_bytes += length
        if self._size > VALUE_BYTES_MAX or self._values_bytes > VALUES_BYTES_MAX:
            raise ApiError(
                "REQUEST_006",
                say(
                    "A field of a form has at most {value_bytes_max} bytes, all together "
                    "{values_bytes_max}; send a file with a file name.",
                    value_bytes_max=VALUE_BYTES_MAX,
                    values_bytes_max=VALUES_BYTES_MAX,
                ),
                param=shown(self._name),
                reason="form_value",
            )
        self._value.append(data[start:end])

    def _part_end(self) -> None:
        name = self._name
        if self._filename is None:
            self.fields.append((name, _text(b"".join(self._value), _FIELD, name)))
            return
        spool, offset, size = self._spool, self._offset, self._size
        if size and (
            spool.read_at(offset - 4, 4) != b"\r\n\r\n"
            or spool.read_at(offset + size, len(self._delimiter)) != self._delimiter
        ):
            raise form_fault("The multipart body is malformed.", name)
        content_type = self._headers.get(b"content-type", b"").decode("latin-1")
        field = name.removesuffix("[]")
        self.files.append(Upload(field, self._filename, content_type, spool, offset, size))

    def _end(self) -> None:
        self.ended = True


def _filename(options: dict[bytes, bytes], disposition: bytes) -> str | None:
    """The name of a file, harmless; None for a field that is no file."""
    raw = options.get(b"filename")
    if raw is not None:
        return safe_filename(raw.decode("utf-8", "replace"))
    star = _FILENAME_STAR.search(disposition)  # not allowed in forms, and sent by older clients
    return None if star is None else safe_filename(unquote(star.group(1).decode("ascii")))


def safe_filename(name: str) -> str:
    """The last part of a path, printable, without characters that mean something to a shell, a
    header or a file system; "file" if nothing is left. Long names keep their ending."""
    name = name.replace("\\", "/").rpartition("/")[2]
    name = "".join(c if c.isprintable() and c not in _UNSAFE_IN_FILENAME else "_" for c in name)
    name = name.strip(" .") if name.strip("._ ") else ""
    if len(name) > FILENAME_CHARS_MAX:
        stem, dot, ending = name.rpartition(".")
        ending = dot + ending if stem and len(ending) <= 10 else ""
        name = name[: FILENAME_CHARS_MAX - len(ending)] + ending
    return name or "file"


def form_members(form: Form, *, lists: frozenset[str], objects: frozenset[str]) -> bytes:
    """The JSON object that the fields of a form mean, as ``brackets.unbracketed`` says."""
    return unbracketed(form.fields, lists=lists, objects=objects)


def _text(data: bytes, what: str, name: str | None = None) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise form_fault(
            say("{what} is not UTF-8 text; a file needs a file name in its part.", what=what),
            name,
        ) from None
    if "\x00" in text:
        raise form_fault(say("{what} contains NUL.", what=what), name)
    return text


def _too_much(what: str, limit: int) -> ApiError:
    return ApiError(
        "REQUEST_006",
        say("A form has at most {limit} {what}.", limit=limit, what=what),
        reason="form_" + what,
    )
