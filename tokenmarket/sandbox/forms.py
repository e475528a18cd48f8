"""Bodies that may come as JSON or as a form: ``multipart/form-data`` the way OpenAI's SDKs send it.

Names are bracketed (``metadata[a]``, ``include[]``), every value is text, lists are repeated names.
Nothing is streamed here: the server's limit of a body is the limit of an upload.
"""

from __future__ import annotations

import email.message
import email.parser
import re
from typing import TypeVar, cast

import msgspec

from tokenmarket.sandbox.bodies import Refused, invalid, read
from tokenmarket.sandbox.calls import Call

PARTS_MAX = 256
_DEPTH_MAX = 4
_NAME = re.compile(r"([^\[\]]{1,100})((?:\[[^\[\]]{0,100}\])*)")
_T = TypeVar("_T")
_Tree = dict[str, object]


class File(msgspec.Struct, frozen=True):
    """An uploaded file. ``field`` is its name in the form, without ``[]``."""

    field: str
    name: str
    content_type: str
    data: bytes


def read_body(call: Call, kind: type[_T]) -> tuple[_T, list[File]]:
    """The body as ``kind``, and the files that came with it. Raises Refused."""
    if not call.content_type.lower().startswith("multipart/form-data"):
        return read(msgspec.json.Decoder(kind), call.body), []
    fields, files = _parts(call)
    tree: _Tree = {}
    for name, value in fields:
        _place(tree, name, value)
    try:
        return msgspec.convert(tree, kind, strict=False), files
    except msgspec.ValidationError as error:
        raise invalid(error) from None


def _parts(call: Call) -> tuple[list[tuple[str, str]], list[File]]:
    head = f"Content-Type: {_one_line(call.content_type)}\r\n\r\n".encode("latin-1", "replace")
    message = email.parser.BytesParser().parsebytes(head + call.body)
    if not message.is_multipart() or message.defects:
        raise Refused("The form is not complete, or its boundary is wrong.")
    parts = cast("list[email.message.Message]", message.get_payload())
    if len(parts) > PARTS_MAX:
        raise Refused(f"The form has more than {PARTS_MAX} parts.")
    fields: list[tuple[str, str]] = []
    files: list[File] = []
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(data, bytes):
            raise Refused("A part of the form has no name, or holds further parts.")
        filename = part.get_filename()
        if filename is None:
            fields.append((name, _text(name, data)))
        else:
            kind = part.get_content_type()
            files.append(File(name.removesuffix("[]"), filename, kind, data))
    return fields, files


def _one_line(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ")


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused("A field of the form is not UTF-8.", param=name[:100]) from None


def _place(tree: _Tree, name: str, value: str) -> None:
    """Puts ``value`` where the bracketed name says; a name that comes twice becomes a list."""
    found = _NAME.fullmatch(name)
    inner = found.group(2)[1:-1].split("][") if found and found.group(2) else []
    if found is None or len(inner) > _DEPTH_MAX:
        raise Refused("A field of the form has no readable name.", param=name[:100])
    path = [found.group(1), *inner]
    listed = path[-1] == ""
    if listed:
        path.pop()
    if "" in path:
        raise Refused("Lists of objects are not read from forms.", param=name[:100])
    for step in path[:-1]:
        below = tree.setdefault(step, {})
        if not isinstance(below, dict):
            raise Refused("A field of the form is both a value and an object.", param=name[:100])
        tree = cast("_Tree", below)
    last = path[-1]
    before = tree.get(last)
    if isinstance(before, list):
        cast("list[object]", before).append(value)
    elif isinstance(before, dict):
        raise Refused("A field of the form is both a value and an object.", param=name[:100])
    elif before is not None:
        tree[last] = [before, value]
    else:
        tree[last] = [value] if listed else value
