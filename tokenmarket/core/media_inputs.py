"""The caller's files, looked at before anything is paid: what they are, how large, how long.

Names and content types are not believed; the bytes are. Pure: files are read through ``Upload``.
"""

from __future__ import annotations

import msgspec

from tokenmarket.core.bodies import TranscriptionBody
from tokenmarket.core.errors import ApiError
from tokenmarket.core.media.audio import duration_ms
from tokenmarket.core.media.images import image_size
from tokenmarket.core.media.reader import MediaError
from tokenmarket.core.media.sniff import sniff
from tokenmarket.core.parse_media import audio_bound
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import Input, Upload
from tokenmarket.core.wording import said_by, say, word

HEAD_BYTES = 4096
PIXELS_MAX = 64_000_000
AUDIO_MS_MAX = 24 * 3600 * 1000
IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_IMAGE_ROLES = frozenset({"image", "mask", "first_frame", "last_frame", "reference_image"})


def check_inputs(request: Request) -> Request:
    """The request with true content types, and audio measured. ApiError(REQUEST_001)."""
    inputs = tuple(checked(item) for item in request.inputs)
    request = msgspec.structs.replace(request, inputs=inputs)
    typed = request.typed
    if isinstance(typed, TranscriptionBody):
        upload = inputs[0].upload
        if upload is not None:
            request.audio_ms = length_ms = duration_ms(upload)
            if length_ms is not None:
                if length_ms > AUDIO_MS_MAX:
                    raise _invalid(inputs[0], "audio", say("it says it is longer than a day"))
                request.bound = audio_bound(typed, length_ms)
    return request


def checked(item: Input) -> Input:
    """The input with the content type that its bytes have; an address stays as it is."""
    upload = item.upload
    if upload is None:
        return item
    found = sniff(upload.read_at(0, HEAD_BYTES))
    if item.role in _IMAGE_ROLES:
        if found not in IMAGE_TYPES:
            raise _invalid(
                item,
                "image",
                say("expected one of {image_types}", image_types=", ".join(IMAGE_TYPES)),
            )
        _check_picture(item, upload)
    elif item.role == "audio" and (found is None or found[:6] not in ("audio/", "video/")):
        raise _invalid(item, "audio", say("it is no audio format that is known here"))
    if found is None or found == upload.content_type:
        return item
    return msgspec.structs.replace(item, upload=msgspec.structs.replace(upload, content_type=found))


def _check_picture(item: Input, upload: Upload) -> None:
    try:
        info = image_size(upload.data())
    except MediaError as error:
        raise _invalid(item, "image", said_by(error)) from None
    if info.width * info.height > PIXELS_MAX:
        raise _invalid(
            item,
            "image",
            say("{width}x{height} pixels are too many", width=info.width, height=info.height),
        )


def _invalid(item: Input, kind: str, why: str) -> ApiError:
    return ApiError(
        "REQUEST_001",
        say("The {kind} cannot be used: {why}.", kind=word(kind), why=why),
        param=item.param,
        reason=f"invalid_{kind}",
    )
