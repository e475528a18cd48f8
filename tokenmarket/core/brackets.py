"""The JSON that the fields of a form mean.

Official SDKs flatten nested members with brackets, and every value arrives as text
(``reference/media/video_contract.md`` section 0, verified there against openai-python 3.54):
``metadata[n][z]=true``, ``include[]=logprobs`` twice, ``frame_images[][type]=…``. Values stay text
here; ``decode_lax`` makes numbers and booleans of them where the struct wants some.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeVar

import msgspec

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wording import say

DEPTH_MAX = 8

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_KEY = re.compile(r"\[([^\[\]]*)\]")
_INDEX = re.compile(r"[0-9]{1,3}")

T = TypeVar("T")


class _Object:
    """An object in the making."""

    __slots__ = ("members",)

    def __init__(self) -> None:
        self.members: dict[str, object] = {}


class _List:
    """A list in the making: what was numbered (``[0]``), then what was not (``[]``)."""

    __slots__ = ("items", "numbered")

    def __init__(self) -> None:
        self.items: list[object] = []
        self.numbered: dict[int, object] = {}


def unbracketed(
    fields: Iterable[tuple[str, str]], *, lists: frozenset[str], objects: frozenset[str]
) -> bytes:
    """``a[b]=1`` is an object, ``a[]=x`` a list.

    ``lists``: members that are lists, so that they may be repeated without brackets, and numbered
    (``a[0]=x``; numbers give the order, holes close). ``objects``: members whose value may be JSON
    in one field (``chunking_strategy={"type":"server_vad"}``); a list in such a value is the list.
    Raises ApiError REQUEST_001: a name given twice, names that contradict each other, brackets
    deeper than 8.
    """
    root = _Object()
    for name, text in fields:
        match = _NAME.fullmatch(name)
        if match is None:
            raise form_fault("A field name whose brackets do not match.", name)
        base, brackets = match.groups()
        keys: list[str] = _KEY.findall(brackets)
        if len(keys) >= DEPTH_MAX:
            raise form_fault(
                say("A field is nested at most {depth_max} levels deep.", depth_max=DEPTH_MAX), name
            )
        value = _value(text, name) if base in objects else text
        if base in lists:
            _add_to_list(root, base, keys, value, name)
        else:
            _add(root, base, keys, value, name)
    return _encode(root)


def _value(text: str, name: str) -> object:
    """A field that may hold JSON: objects and lists are taken as such, the rest is text."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        _decode_any(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise form_fault(say("The field holds broken JSON: {error}.", error=error), name) from None
    return msgspec.Raw(text.encode())


def _add_to_list(root: _Object, base: str, keys: list[str], value: object, name: str) -> None:
    found = root.members.setdefault(base, _List())
    if not isinstance(found, _List):
        raise _twice(name)
    if not keys and isinstance(value, msgspec.Raw) and bytes(value).lstrip()[:1] == b"[":
        found.items += _decode_raws(value)
    elif not keys:
        found.items.append(value)
    else:
        _add_item(found, keys, value, name)


def _add(node: _Object, key: str, keys: list[str], value: object, name: str) -> None:
    """Put ``value`` at member ``key``, or further down along ``keys``."""
    members = node.members
    if not keys:
        if key in members:
            raise _twice(name)
        members[key] = value
    elif keys[0] == "":
        found = members.setdefault(key, _List())
        if not isinstance(found, _List):
            raise _twice(name)
        _add_item(found, keys, value, name)
    else:
        below = members.setdefault(key, _Object())
        if not isinstance(below, _Object):
            raise _twice(name)
        _add(below, keys[0], keys[1:], value, name)


def _add_item(found: _List, keys: list[str], value: object, name: str) -> None:
    """``[]`` is a new item, ``[][k]`` belongs to the last one until ``k`` comes again, ``[3]``
    names one."""
    index, keys = keys[0], keys[1:]
    if index:
        if _INDEX.fullmatch(index) is None:
            raise form_fault("Expected a list: write [] or a number into the brackets.", name)
        _add_numbered(found, int(index), keys, value, name)
    elif not keys:
        found.items.append(value)
    else:
        last = found.items[-1] if found.items else None
        if not isinstance(last, _Object) or _has(last, keys):
            last = _Object()
            found.items.append(last)
        _add(last, keys[0], keys[1:], value, name)


def _add_numbered(found: _List, index: int, keys: list[str], value: object, name: str) -> None:
    if not keys:
        if index in found.numbered:
            raise _twice(name)
        found.numbered[index] = value
        return
    item = found.numbered.setdefault(index, _Object())
    if not isinstance(item, _Object):
        raise _twice(name)
    _add(item, keys[0], keys[1:], value, name)


def _has(node: object, keys: list[str]) -> bool:
    """Whether something is at ``keys`` that cannot take more (a list can)."""
    for key in keys:
        if key == "" or not isinstance(node, _Object) or key not in node.members:
            return False
        node = node.members[key]
    return True


def _finished(node: object) -> object:
    if isinstance(node, _Object):
        return node.members
    if isinstance(node, _List):
        return [*(node.numbered[index] for index in sorted(node.numbered)), *node.items]
    raise TypeError(type(node).__name__)


_encode = msgspec.json.Encoder(enc_hook=_finished).encode
_decode_any = msgspec.json.Decoder().decode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode


def decode_lax(body: bytes, kind: type[T]) -> T:
    """Decode the JSON of a form: text that is a number, a boolean or null is taken as one where
    ``kind`` wants one. Raises msgspec.ValidationError and DecodeError as a strict decoder does."""
    return _lax_decoder(kind).decode(body)


@lru_cache(maxsize=64)
def _lax_decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind, strict=False)


def shown(name: str) -> str:
    """A name of the caller's as it may stand in an error."""
    return "".join(c if c.isprintable() else "_" for c in name[:80])


def form_fault(message: str, name: str | None = None) -> ApiError:
    """What is wrong with a form; ``name`` is the field's."""
    param = None if name is None else shown(name)
    return ApiError("REQUEST_001", message, param=param, reason="malformed_form")


def _twice(name: str) -> ApiError:
    return ApiError(
        "REQUEST_001",
        say("The field {name!r} is given twice, or contradicts another one.", name=shown(name)),
        param=shown(name),
        reason="duplicate_field",
    )
