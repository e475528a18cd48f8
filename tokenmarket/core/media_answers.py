"""Answers of media operations as the caller gets them: OpenAI's members, usage objects, events.

Pure. The gateway has already made every picture what ``response_format`` asks for (bytes as base64,
or an address of ours).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tokenmarket.core.media.sniff import sniff
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Item, Usage, usage_json

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_COSTS = ("cost", "cost_details", "is_byok")


class Picture(msgspec.Struct, omit_defaults=True):
    """One item of ``data``; ``facts`` are further members (``revised_prompt``)."""

    b64_json: str | None = None
    url: str | None = None
    facts: dict[str, object] = {}

    def members(self) -> dict[str, object]:
        shown: dict[str, object] = {}
        if self.b64_json is not None:
            shown["b64_json"] = self.b64_json
        if self.url is not None:
            shown["url"] = self.url
        return {**self.facts, **shown}


def images_members(
    request: Request, members: Mapping[str, object], pictures: Iterable[Picture]
) -> dict[str, object]:
    """The images object without usage. ``members``: what the adapter knows better."""
    answer: dict[str, object] = {"created": request.created_s}
    if request.size:
        answer["size"] = request.size
    if request.quality:
        answer["quality"] = request.quality
    answer.update(members)
    answer["data"] = [picture.members() for picture in pictures]
    return answer


def image_events(
    request: Request,
    members: Mapping[str, object],
    pictures: Sequence[Picture],
    usage: bytes | None,
) -> bytes:
    """One ``completed`` event a picture, for upstreams that do not stream; usage on the last.

    The schema requires size, quality, background and format: "auto" where nobody said.
    """
    kind = "image_generation" if request.variant == "generations" else "image_edit"
    shared = {name: value for name, value in members.items() if name not in ("data", "created")}
    events = b""
    for index, picture in enumerate(pictures):
        event: dict[str, object] = {
            "type": f"{kind}.completed",
            "created_at": request.created_s,
            "size": "auto",
            "quality": "auto",
            "background": "auto",
            "output_format": _format_of(picture),
            **shared,
            **picture.members(),
        }
        if index == len(pictures) - 1:
            event["usage"] = msgspec.Raw(usage or b"null")
        events += b"event: %b.completed\ndata: %b\n\n" % (kind.encode(), _encode(event))
    return events


def _format_of(picture: Picture) -> str:
    """What the bytes are: png, jpeg, webp …"""
    head = base64.b64decode((picture.b64_json or "")[:64] + "==")
    return (sniff(head) or "image/png").rpartition("/")[2]


def speech_done_event(usage: bytes | None) -> bytes:
    """The last event of speech; its type demands three integers, so none reported are zeros."""
    nothing = b'{"input_tokens":0,"output_tokens":0,"total_tokens":0}'
    return b'data: {"type":"speech.audio.done","usage":%b}\n\n' % (usage or nothing)


# --- usage objects ------------------------------------------------------------------------------


def media_usage_json(
    operation: str, usage: Usage, items: Sequence[Item], charge_nano: int
) -> bytes:
    """The ``usage`` object of an operation: OpenAI's fields for it, and our cost fields."""
    costs = _decode(usage_json(usage, items, charge_nano))
    members = {**MEDIA_USAGE[operation](usage), **{name: costs[name] for name in _COSTS}}
    return _encode(members)


def _images(usage: Usage) -> dict[str, object]:
    members: dict[str, object] = {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "text_tokens": usage.prompt_tokens - usage.image_input_tokens,
            "image_tokens": usage.image_input_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {
            "image_tokens": usage.image_output_tokens,
            "text_tokens": usage.completion_tokens - usage.image_output_tokens,
        },
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.images:
        members["images"] = usage.images
    return members


def _speech(usage: Usage) -> dict[str, object]:
    members: dict[str, object] = {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.characters:
        members["characters"] = usage.characters
    return members


def _transcription(usage: Usage) -> dict[str, object]:
    if usage.audio_ms:
        return {"type": "duration", "seconds": -(-usage.audio_ms // 1000)}
    return {
        "type": "tokens",
        "input_tokens": usage.prompt_tokens,
        "input_token_details": {
            "text_tokens": usage.prompt_tokens - usage.audio_input_tokens,
            "audio_tokens": usage.audio_input_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


MEDIA_USAGE = {
    "images": _images,
    "speech": _speech,
    "transcription": _transcription,
    "translation": _transcription,
}
