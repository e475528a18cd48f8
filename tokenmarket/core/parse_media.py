"""Images, speech, transcription: what the caller sent -> Request. Pure, as ``core/parse.py``.

A form has become JSON before (``core/forms.py``): its values are all texts, so they are read lax.
Files are inputs: uploads, data URLs (which become uploads here) or addresses, which stay addresses
until an adapter says that it needs the bytes. Bounds are worst cases per unit; a route is held to
those that it has a price for (``Bound.any_units``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from tokenmarket.core.bodies import ImageBody, ImageReference, SpeechBody, TranscriptionBody
from tokenmarket.core.data_url import decode as decode_data_url
from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import parse_with, provider_choice, refuse
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import Input, Upload, memory_upload
from tokenmarket.core.usage import Bound
from tokenmarket.core.wording import say

IMAGE_BYTES_MAX = 50 * 1024 * 1024
IMAGES_MAX = 16
IMAGE_OUTPUT_TOKENS_MAX = 16_384  # one picture; a model's ``image_tokens_max`` says better
IMAGE_INPUT_TOKENS_MAX = 20_000
TEXT_OVERHEAD_TOKENS = 64
ADDRESS_CHARS_MAX = 2048
CHARACTER_MS_MAX = 600  # of sound, at the usual speed
SPEECH_CHARS_MAX = 4096  # OpenAI's limit; a model's ``input_chars_max`` says otherwise

Parsed = TypeVar("Parsed", ImageBody, SpeechBody, TranscriptionBody)


class Given(msgspec.Struct, frozen=True):
    """A media request as it came: JSON (``lax``: made of a form), and the files of the form.

    ``variant`` is the last part of the path: generations, edits, variations, speech …
    """

    body: bytes
    files: tuple[Upload, ...] = ()
    variant: str = ""
    lax: bool = False


def parse_given(operation: str, given: Given) -> Request:
    """As ``parse``, for the operations of this module."""
    parser = MEDIA_PARSERS[operation]
    return parse_with(lambda body: parser(msgspec.structs.replace(given, body=body)), given.body)


def _decoded(given: Given, kind: type[Parsed]) -> Parsed:
    return msgspec.json.decode(given.body, type=kind, strict=not given.lax)


# --- inputs -------------------------------------------------------------------------------------


def input_of(role: str, param: str, address: str) -> Input:
    """A data URL becomes an upload, an http(s) address stays one; else 400."""
    if address[:5].lower() == "data:":
        try:
            content_type, data = decode_data_url(address, IMAGE_BYTES_MAX)
        except ValueError as error:
            refuse(
                say("The data URL cannot be read: {error}.", error=error), param, "invalid_data_url"
            )
        upload = memory_upload(data, field=param, filename=role, content_type=content_type)
        return Input(role, param, upload=upload)
    if not address.startswith(("https://", "http://")) or len(address) > ADDRESS_CHARS_MAX:
        refuse("Expected an https or data URL.", param, "invalid_url")
    return Input(role, param, url=address)


def _reference(role: str, param: str, reference: ImageReference) -> Input:
    if reference.file_id is not None:
        refuse("Files by id are not kept here; send the picture.", f"{param}.file_id", "no_files")
    if reference.image_url is None:
        refuse("Missing.", f"{param}.image_url")
    return input_of(role, f"{param}.image_url", reference.image_url)


def _image_inputs(given: Given, typed: ImageBody) -> list[Input]:
    inputs: list[Input] = []
    for upload in given.files:
        name = upload.field.removesuffix("[]")
        if name not in ("image", "mask"):
            refuse(say("A file named {name!r} is not expected.", name=name[:40]), name[:40])
        inputs.append(Input(name, name, upload=upload))
    for index, reference in enumerate(typed.images or ()):
        inputs.append(_reference("image", f"images[{index}]", reference))
    if typed.mask is not None:
        inputs.append(_reference("mask", "mask", typed.mask))
    for index, address in enumerate(_addresses(typed.image)):
        inputs.append(input_of("image", f"image[{index}]", address))
    for item in inputs:
        if item.upload is not None and not 0 < item.upload.size <= IMAGE_BYTES_MAX:
            refuse(
                say("A picture has 1 to {image_bytes_max} bytes.", image_bytes_max=IMAGE_BYTES_MAX),
                item.param,
                "invalid_image",
            )
    return inputs


def _addresses(raw: msgspec.Raw) -> Sequence[str]:
    text = bytes(raw)
    if text in (b"", b"null"):
        return ()
    try:
        if text.startswith(b'"'):
            return (msgspec.json.decode(text, type=str),)
        return msgspec.json.decode(text, type=list[str])
    except msgspec.ValidationError:
        refuse("Expected a URL or a list of URLs.", "image")


# --- images -------------------------------------------------------------------------------------


def _parse_images(given: Given) -> Request:
    typed = _decoded(given, ImageBody)
    inputs = _image_inputs(given, typed)
    images = sum(item.role == "image" for item in inputs)
    if given.variant == "generations":
        if typed.mask is not None:
            refuse("A mask belongs to /images/edits.", "mask")
    elif not images:
        refuse("A picture is needed.", "image")
    if images > IMAGES_MAX:
        refuse(say("At most {images_max} pictures.", images_max=IMAGES_MAX), "image")
    if sum(item.role == "mask" for item in inputs) > 1:
        refuse("At most one mask.", "mask")
    if given.variant == "variations":
        if typed.prompt is not None:
            refuse("Variations take no prompt; use /images/edits.", "prompt")
    elif typed.prompt is None:
        refuse("Missing required field `prompt`.", "prompt")
    if typed.partial_images and not typed.stream:
        refuse("partial_images needs stream: true.", "partial_images")
    if typed.background == "transparent" and typed.output_format == "jpeg":
        refuse("A transparent background needs png or webp.", "background")
    request = Request(
        operation="images",
        model=typed.model,
        body=given.body,
        typed=typed,
        stream=bool(typed.stream),
        include_usage=True,
        choice=provider_choice(typed.provider),
        models=tuple(typed.models or ()),
        n=typed.n or 1,
        variant=given.variant,
        inputs=tuple(inputs),
    )
    request.bound = image_bound(request, IMAGE_OUTPUT_TOKENS_MAX)
    return request


def image_bound(request: Request, tokens_per_image: int) -> Bound:
    """The most that ``request.n`` pictures can cost, in each unit a route may count."""
    n = request.n
    typed = request.typed
    prompt = typed.prompt if isinstance(typed, ImageBody) else None
    text = len((prompt or "").encode()) + TEXT_OVERHEAD_TOKENS
    return Bound(
        any_units=(
            ("image", n),
            ("image_output_token", n * tokens_per_image),
            ("output_token", n * tokens_per_image),
            ("input_token", n * text),
            ("image_input_token", n * IMAGE_INPUT_TOKENS_MAX * len(request.inputs)),
            ("request", n),
        )
    )


# --- speech -------------------------------------------------------------------------------------


def _parse_speech(given: Given) -> Request:
    typed = _decoded(given, SpeechBody)
    characters = len(typed.input)
    texts = len(typed.input.encode()) + len((typed.instructions or "").encode())
    # A digit or sign may be a whole word; a slower speed stretches all of it.
    audio_ms = int(characters * CHARACTER_MS_MAX / (typed.speed or 1.0)) + 5_000
    return Request(
        operation="speech",
        model=typed.model,
        body=given.body,
        typed=typed,
        stream=typed.stream_format == "sse",
        include_usage=True,
        choice=provider_choice(typed.provider),
        models=tuple(typed.models or ()),
        bound=Bound(
            any_units=(
                ("character", 2 * characters),  # some count a wide character as two
                ("audio_output_token", audio_ms // 20),
                ("audio_second", audio_ms),
                ("input_token", texts + TEXT_OVERHEAD_TOKENS),
                ("output_token", audio_ms // 20),
                ("request", 1),
            )
        ),
    )


# --- transcription ------------------------------------------------------------------------------

_TEXT_FORMATS = ("text", "srt", "vtt")


def _parse_transcription(given: Given) -> Request:
    typed = _decoded(given, TranscriptionBody)
    files = [upload for upload in given.files if upload.field == "file"]
    if len(files) != 1 or len(given.files) != 1:
        refuse("Exactly one file is needed, in the field 'file'.", "file")
    if not files[0].size:
        refuse("The file is empty.", "file", "invalid_audio")
    translation = given.variant == "translations"
    if typed.timestamp_granularities and typed.response_format != "verbose_json":
        refuse(
            "timestamp_granularities needs response_format verbose_json.",
            "timestamp_granularities",
        )
    if translation:
        for name in ("language", "languages", "stream", "include", "timestamp_granularities"):
            if getattr(typed, name):
                refuse("Not a parameter of translations.", name, "unsupported_parameter")
        if typed.response_format == "diarized_json":
            refuse("Translations are not diarized.", "response_format")
    if typed.stream and typed.response_format not in (None, "json", "text", "diarized_json"):
        refuse("A stream has no such format; use json.", "response_format")
    return Request(
        operation="translation" if translation else "transcription",
        model=typed.model,
        body=given.body,
        typed=typed,
        stream=bool(typed.stream),
        include_usage=True,
        choice=provider_choice(typed.provider),
        models=tuple(typed.models or ()),
        variant=given.variant,
        inputs=(Input("audio", "file", upload=files[0]),),
        bound=audio_bound(typed, files[0].size * 8),
    )


def audio_bound(typed: TranscriptionBody, audio_ms: int) -> Bound:
    """For audio of this length; before it is measured, that of the same bytes at 1 kbit/s.

    Short files are billed as ten seconds by some, and every channel by others.
    """
    billed_ms = 2 * max(audio_ms, 10_000) + 1_000
    prompt = len((typed.prompt or "").encode()) + TEXT_OVERHEAD_TOKENS
    return Bound(
        any_units=(
            ("audio_second", billed_ms),
            ("audio_input_token", billed_ms // 20),
            ("input_token", prompt + billed_ms // 20),
            ("output_token", billed_ms // 20 + 1_000),
            ("request", 1),
        )
    )


MEDIA_PARSERS: dict[str, Callable[[Given], Request]] = {
    "images": _parse_images,
    "speech": _parse_speech,
    "transcription": _parse_transcription,
    "translation": _parse_transcription,
}


def not_json(operation: str) -> ApiError:
    """An operation that takes files was sent something else."""
    return ApiError(
        "REQUEST_007",
        say("Send multipart/form-data: {operation} takes a file.", operation=operation),
        param="Content-Type",
    )
