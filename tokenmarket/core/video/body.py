"""The body of ``POST /videos`` and ``POST /video/generations``: every name that is understood.

The superset of section 2.1 of ``reference/media/video_contract.md``. What is not here is refused:
a misspelt ``duraton`` must not become the default length. ``parse.py`` makes one name of many.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.core.requests import ABSENT, Text

PROMPT_CHARS_MAX = 32_000
METADATA_KEYS_MAX = 16
REFERENCES_MAX = 16

Models = Annotated[list[Text], msgspec.Meta(max_length=16)]
Number = int | float | str
Switch = bool | str


class Address(msgspec.Struct, frozen=True):
    """OpenAI's and OpenRouter's way to write an address; ``detail`` and such are not read."""

    url: str


class ReferenceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """OpenAI's ``input_reference``."""

    image_url: str | Address | None = None
    file_id: str | None = None


class FrameBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of OpenRouter's ``frame_images``."""

    image_url: str | Address
    frame_type: Literal["first_frame", "last_frame"]
    type: Literal["image_url"] = "image_url"


class PartBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of ``input_references``."""

    type: Literal["image_url", "video_url", "audio_url"]
    image_url: str | Address | None = None
    video_url: str | Address | None = None
    audio_url: str | Address | None = None
    role: (
        Literal[
            "first_frame", "last_frame", "reference_image", "reference_video", "reference_audio"
        ]
        | None
    ) = None


class SourceBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``video``: what is to be edited or extended, a task of ours or an address."""

    id: str | None = None
    url: str | None = None


class CameraBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fixed: bool | None = None
    type: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    config: dict[
        Literal["horizontal", "vertical", "pan", "tilt", "roll", "zoom"],
        Annotated[float, msgspec.Meta(ge=-10, le=10)],
    ] = {}


class VideoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: Text | None = None
    prompt: Annotated[str, msgspec.Meta(max_length=PROMPT_CHARS_MAX)] | None = None
    provider: msgspec.Raw = ABSENT
    models: Models | None = None
    seconds: Number | None = None
    duration: Number | None = None
    duration_sec: Number | None = None
    size: str | None = None
    width: int | None = None
    height: int | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    ratio: str | None = None
    fps: int | None = None
    seed: int | None = None
    n: int | None = None
    negative_prompt: Annotated[str, msgspec.Meta(max_length=PROMPT_CHARS_MAX)] | None = None
    mode: str | None = None
    camera: CameraBody | None = None
    audio: Switch | None = None
    generate_audio: Switch | None = None
    sound: Switch | None = None
    image: str | None = None
    images: Annotated[list[str], msgspec.Meta(max_length=REFERENCES_MAX)] | None = None
    image_tail: str | None = None
    last_frame: str | None = None
    frame_images: Annotated[list[FrameBody], msgspec.Meta(max_length=2)] | None = None
    input_reference: str | ReferenceBody | None = None
    input_references: (
        Annotated[list[str | PartBody], msgspec.Meta(max_length=REFERENCES_MAX)] | None
    ) = None
    video: str | SourceBody | None = None
    prompt_enhance: Switch | None = None
    prompt_extend: Switch | None = None
    enhance_prompt: Switch | None = None
    watermark: Switch | None = None
    callback_url: str | None = None
    callback_secret_ref: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    metadata: dict[str, object] | str | None = None
    provider_options: dict[str, object] | None = None
    response_format: Literal["url"] | None = None  # new-api: files come as addresses, always
    user: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    safety_identifier: Annotated[str, msgspec.Meta(max_length=256)] | None = None


# What a form may hold as a list, and as an object (also as JSON in one field).
FORM_LISTS = frozenset({"images", "frame_images", "input_references", "models"})
FORM_OBJECTS = frozenset(
    {
        "metadata",
        "provider",
        "provider_options",
        "camera",
        "input_reference",
        "video",
        "frame_images",
        "input_references",
    }
)
