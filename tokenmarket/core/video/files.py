"""The caller's pictures and clips in a video body, under their many names -> ``Input``s.

    first frame   image, images with one item, input_reference (OpenAI), frame_images (OpenRouter)
    last frame    image_tail, last_frame, frame_images
    references    images with two or more items, input_references
    source        video: a task of ours by id, or an address

Data URLs and bare base64 become uploads, which are known by their bytes; addresses stay addresses.
Frames and references exclude each other at every provider that has both (section 2.1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from tokenmarket.core import ids
from tokenmarket.core.data_url import decode as decode_data_url
from tokenmarket.core.data_url import is_data_url
from tokenmarket.core.errors import ApiError
from tokenmarket.core.fetch_url import public_target
from tokenmarket.core.media.images import PIXELS_MAX, image_size
from tokenmarket.core.media.reader import MediaError
from tokenmarket.core.media.sniff import SNIFF_BYTES, sniff
from tokenmarket.core.uploads import Input, Upload, memory_upload
from tokenmarket.core.video.body import (
    REFERENCES_MAX,
    Address,
    PartBody,
    ReferenceBody,
    SourceBody,
    VideoBody,
)
from tokenmarket.core.video.request import FRAME_ROLES, REFERENCE_ROLES
from tokenmarket.core.wording import say

PICTURE_HEAD_BYTES = 4 * 1024 * 1024  # where its size is said, whatever stands before
_MEASURED = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
DATA_BYTES_MAX = 50 * 1024 * 1024
BASE64_CHARS_MIN = 64  # anything shorter is a mistyped address
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})

_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]+={0,2}\s*", re.ASCII)
_FILE_ROLES = {
    "image": "first_frame",
    "first_frame": "first_frame",
    "input_reference": "first_frame",
    "image_tail": "last_frame",
    "last_frame": "last_frame",
    "video": "video",
}


def gathered(
    typed: VideoBody, files: Sequence[Upload], allowed: tuple[str, ...]
) -> tuple[tuple[Input, ...], str | None]:
    """(inputs, id of the source video). ApiError(REQUEST_001)."""
    found = _Found(allowed)
    pictures: list[tuple[str, str | Upload]] = []
    for upload in files:
        if upload.field == "images":
            pictures.append((f"images[{len(pictures)}]", upload))
        elif upload.field == "input_references":
            found.add(None, "input_references", upload)
        elif (role := _FILE_ROLES.get(upload.field)) is not None:
            found.add(role, upload.field, upload)
        else:
            _refuse(
                say("A file named {field!r} is not expected.", field=upload.field[:40]),
                upload.field[:40],
            )
    pictures += [
        (f"images[{number}]", item) for number, item in enumerate(typed.images or (), len(pictures))
    ]
    found.add("first_frame", "image", typed.image)
    for param, item in pictures:
        found.add("first_frame" if len(pictures) == 1 else "reference_image", param, item)
    found.add("last_frame", "image_tail", typed.image_tail)
    found.add("last_frame", "last_frame", typed.last_frame)
    for number, frame in enumerate(typed.frame_images or ()):
        found.add(frame.frame_type, f"frame_images[{number}]", _url(frame.image_url))
    _input_reference(found, typed.input_reference)
    for number, part in enumerate(typed.input_references or ()):
        _part(found, f"input_references[{number}]", part)
    source_id = _source(found, typed.video)
    _check_exclusive(found.inputs)
    return tuple(found.inputs), source_id


def _refuse(message: str, param: str, reason: str = "invalid_parameter") -> NoReturn:
    raise ApiError("REQUEST_001", message, param=param, reason=reason)


class _Found:
    def __init__(self, allowed: tuple[str, ...]) -> None:
        self.inputs: list[Input] = []
        self._allowed = allowed
        self._written: dict[str, str | Upload] = {}

    def add(self, role: str | None, param: str, given: str | Upload | None) -> None:
        """``role`` None: a reference of whatever kind its bytes are."""
        if given is None or given == "":
            return
        if role in (*FRAME_ROLES, "video"):
            other = next((item for item in self.inputs if item.role == role), None)
            if other is not None:
                if self._written[role] == given:
                    return  # the same thing under two names
                _refuse(
                    say(
                        "{param} and {other} are both the {role}: give one.",
                        param=other.param,
                        other=param,
                        role=role.replace("_", " "),
                    ),
                    param,
                    "conflicting_parameters",
                )
            self._written[role] = given
        self.inputs.append(self._input(role, param, given))
        if sum(item.role in REFERENCE_ROLES for item in self.inputs) > REFERENCES_MAX:
            _refuse(
                say("At most {references_max} references.", references_max=REFERENCES_MAX), param
            )

    def _input(self, role: str | None, param: str, given: str | Upload) -> Input:
        if isinstance(given, str) and not is_data_url(given):
            if not given.startswith(("https://", "http://")) and _is_base64(given):
                given = f"data:;base64,{given}"
            else:
                try:
                    url = public_target(given, allowed=self._allowed).url
                except ValueError as error:
                    _refuse(say("Expected an https or data URL: {error}.", error=error), param)
                return Input(role or "reference_image", param, url=url)
        upload = _decoded(given, param) if isinstance(given, str) else given
        kind = _kind(upload)
        if role is None:
            role = "reference_" + (kind or "/").partition("/")[0]
        return Input(role, param, upload=_typed(upload, role, kind, param))


def _is_base64(text: str) -> bool:
    return len(text) >= BASE64_CHARS_MIN and _BASE64.fullmatch(text) is not None


def _decoded(url: str, param: str) -> Upload:
    try:
        content_type, data = decode_data_url(url, DATA_BYTES_MAX)
    except ValueError as error:
        _refuse(say("The data cannot be read: {error}.", error=error), param, "invalid_input_media")
    return memory_upload(data, field=param, filename="file", content_type=content_type)


def _kind(upload: Upload) -> str | None:
    return sniff(upload.read_at(0, SNIFF_BYTES))


def _typed(upload: Upload, role: str, kind: str | None, param: str) -> Upload:
    """With the content type that its bytes have. ApiError for what is not of the role's kind."""
    wanted = "video" if role == "video" else role.removeprefix("reference_")
    picture = wanted in (*FRAME_ROLES, "image")
    fits = kind in IMAGE_TYPES if picture else kind is not None and kind.startswith(f"{wanted}/")
    if not fits or kind is None:
        legal = ", ".join(sorted(IMAGE_TYPES)) if picture else say("a {wanted} file", wanted=wanted)
        what = kind or (
            say("empty") if not upload.size else say("of a kind that is not known here")
        )
        _refuse(
            say("Expected {legal}; the file is {what}.", legal=legal, what=what),
            param,
            "invalid_input_media",
        )
    if kind in _MEASURED:
        _check_picture(upload, param)
    return Upload(upload.field, upload.filename, kind, upload.spool, upload.offset, upload.size)


def _check_picture(upload: Upload, param: str) -> None:
    """A picture whose header is broken or has too many pixels costs the provider's order."""
    try:
        info = image_size(upload.read_at(0, PICTURE_HEAD_BYTES))
    except MediaError as error:
        _refuse(
            say("The picture cannot be used: {error}.", error=error), param, "invalid_input_media"
        )
    if info.width * info.height > PIXELS_MAX:
        _refuse(
            say("{width}x{height} pixels are too many.", width=info.width, height=info.height),
            param,
            "invalid_input_media",
        )


def _url(given: str | Address | None) -> str | None:
    return given.url if isinstance(given, Address) else given


def _input_reference(found: _Found, given: str | ReferenceBody | None) -> None:
    if not isinstance(given, ReferenceBody):
        found.add("first_frame", "input_reference", given)
        return
    if given.file_id is not None:
        _refuse(
            "Files by id are not kept here: send image_url, or the file itself.",
            "input_reference.file_id",
            "unsupported_parameter",
        )
    if given.image_url is None:
        _refuse("Give image_url.", "input_reference.image_url")
    found.add("first_frame", "input_reference.image_url", _url(given.image_url))


def _part(found: _Found, param: str, part: str | PartBody) -> None:
    if isinstance(part, str):
        found.add("reference_image", param, part)
        return
    kind = part.type.removesuffix("_url")
    given = _url(getattr(part, part.type))
    others = [
        name
        for name in ("image_url", "video_url", "audio_url")
        if name != part.type and getattr(part, name) is not None
    ]
    if not given or others:
        _refuse(
            say("A part of type {type} has {type}, and no other.", type=part.type),
            f"{param}.{part.type}",
        )
    role = part.role or f"reference_{kind}"
    if kind != ("image" if role in FRAME_ROLES else role.removeprefix("reference_")):
        _refuse(
            say("A part of type {type} cannot be a {role}.", type=part.type, role=role),
            f"{param}.role",
        )
    found.add(role, param, given)


def _source(found: _Found, given: str | SourceBody | None) -> str | None:
    if isinstance(given, str):
        given = SourceBody(id=given) if ids.is_id(given, "video") else SourceBody(url=given)
    if given is None:
        return None
    if bool(given.id) == bool(given.url):
        _refuse("Give the video's id, or its url.", "video")
    if given.id is None:
        found.add("video", "video", given.url)
        return None
    if not ids.is_id(given.id, "video"):
        _refuse("Expected the id of a video made here, video_….", "video.id")
    return given.id


def _check_exclusive(inputs: Sequence[Input]) -> None:
    frame = next((item for item in inputs if item.role in FRAME_ROLES), None)
    reference = next((item for item in inputs if item.role in REFERENCE_ROLES), None)
    if frame is not None and reference is not None:
        _refuse(
            say(
                "{param} is a frame and {other} a reference: a video is made from frames or "
                "from references, not from both.",
                param=frame.param,
                other=reference.param,
            ),
            reference.param,
            "conflicting_parameters",
        )
