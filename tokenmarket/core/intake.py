"""From a received body, JSON or form, to the Request of its operation."""

from __future__ import annotations

import msgspec

from tokenmarket.core.errors import ApiError
from tokenmarket.core.forms import form_members, read_form
from tokenmarket.core.media_inputs import check_inputs
from tokenmarket.core.parse import parse
from tokenmarket.core.parse_media import MEDIA_PARSERS, Given, not_json, parse_given
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import Spool
from tokenmarket.core.wire import Inbound, check_content_type


class Shape(msgspec.Struct, frozen=True):
    """What a form of an operation may hold: members that are lists, members that are objects."""

    lists: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()


_TRANSCRIPTION = Shape(
    lists=frozenset(
        {
            "timestamp_granularities",
            "include",
            "languages",
            "keywords",
            "known_speaker_names",
            "known_speaker_references",
            "models",
        }
    ),
    objects=frozenset({"chunking_strategy", "provider"}),
)
FORMS: dict[str, Shape] = {
    "images": Shape(lists=frozenset({"models"}), objects=frozenset({"provider"})),
    "transcription": _TRANSCRIPTION,
    "translation": _TRANSCRIPTION,
}
_ONLY_FORMS = frozenset({"transcription", "translation"})


def intake(operation: str, inbound: Inbound) -> Request:
    """The typed request with its files looked at. ApiError: REQUEST_001, 004, 007."""
    spool = inbound.spool
    if spool is not None:
        return check_inputs(_of_form(operation, inbound, spool))
    if operation in _ONLY_FORMS:
        raise not_json(operation)
    check_content_type(inbound)
    if operation not in MEDIA_PARSERS:
        return parse(operation, inbound.body)
    return check_inputs(parse_given(operation, Given(inbound.body, variant=_variant(inbound))))


def _of_form(operation: str, inbound: Inbound, spool: Spool) -> Request:
    shape = FORMS.get(operation)
    variant = _variant(inbound)
    if shape is None or variant == "generations":
        raise ApiError(
            "REQUEST_007",
            "Send JSON with 'Content-Type: application/json'.",
            param="Content-Type",
        )
    form = read_form(inbound.headers.get(b"content-type", b""), spool)
    body = form_members(form, lists=shape.lists, objects=shape.objects)
    return parse_given(operation, Given(body, tuple(form.files), variant, lax=True))


def _variant(inbound: Inbound) -> str:
    return inbound.path.rpartition("/")[2]
