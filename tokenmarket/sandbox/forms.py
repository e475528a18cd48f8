"""Bodies that may come as JSON or as a form: ``multipart/form-data`` the way OpenAI's SDKs send it.

Names are bracketed (``metadata[a]``, ``include[]``), every value is text, lists are repeated names.
``core/forms`` finds the parts; what their names mean is read here, so that a form which the gateway
writes wrongly is noticed. Nothing is streamed: the server's limit of a body is that of an upload.
"""

from __future__ import annotations

import re
from typing import TypeVar, cast

import msgspec

from tokenmarket.core.errors import ApiError
from tokenmarket.core.forms import read_form
from tokenmarket.core.uploads import Memory
from tokenmarket.sandbox.bodies import Refused, invalid, read
from tokenmarket.sandbox.calls import Call

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
    try:
        form = read_form(call.content_type.encode("latin-1", "replace"), Memory(call.body))
    except ApiError as error:
        raise Refused(error.message, status=error.status, param=error.param) from None
    files = [File(one.field, one.filename, one.content_type, one.data()) for one in form.files]
    return form.fields, files


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
