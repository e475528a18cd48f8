"""A body of the video endpoints -> VideoRequest: one name per thing, contradictions refused.

Nothing is added here and nothing is looked up: what a model can do is ``capabilities.py``'s.
Refusals are ApiError(REQUEST_001) with the JSON path; reasons: ``conflicting_parameters`` (two
names of one thing disagree), ``invalid_parameter``, ``invalid_input_media``,
``unsupported_parameter``, ``unsupported_operation``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn, TypeVar

import msgspec

from tokenmarket.core.brackets import decode_lax
from tokenmarket.core.errors import ApiError
from tokenmarket.core.fetch_url import public_target
from tokenmarket.core.media.reader import MediaError
from tokenmarket.core.media.sizes import VIDEO_SEPARATORS, parse_size
from tokenmarket.core.parse import parse_with, provider_choice
from tokenmarket.core.requests import ProviderChoice, Request
from tokenmarket.core.uploads import Upload
from tokenmarket.core.video.body import METADATA_KEYS_MAX, Switch, VideoBody
from tokenmarket.core.video.files import gathered
from tokenmarket.core.video.request import Camera, VideoOperation, VideoRequest
from tokenmarket.core.wording import say

SECONDS_MAX = 3_600
SIDE_MAX = 8_192
SIDE_MIN = 16
FPS_MAX = 240
SEED_MIN, SEED_MAX = -1, 2**63 - 1
N_MAX = 8
METADATA_BYTES_MAX = 8 * 1024  # a notice has 20 kB at most, and most of it is not ours to fill
OPTIONS_BYTES_MAX = 64 * 1024

# What is priced is never taken from a passage to the provider.
FORBIDDEN_OPTIONS = frozenset(
    {"model", "model_name", "duration", "seconds", "resolution", "size", "n", "callback_url"}
)

_SECONDS = re.compile(r"([0-9]{1,6})(?:\.0{1,6})?\s?s?", re.ASCII)
_RESOLUTION = re.compile(r"[1-9][0-9]{2,3}p|[1248]k", re.ASCII)
_RATIO = re.compile(r"[1-9][0-9]?:[1-9][0-9]?", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,31}", re.ASCII)
_GIVEN = (
    "seconds",
    "size",
    "resolution",
    "aspect_ratio",
    "fps",
    "seed",
    "negative_prompt",
    "mode",
    "camera",
    "audio",
    "prompt_enhance",
    "watermark",
)
_ON = frozenset({"on", "true", "1", "yes"})
_OFF = frozenset({"off", "false", "0", "no"})

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_decode_object = msgspec.json.Decoder(dict[str, object]).decode
_decode_raws = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_options = msgspec.json.Decoder(dict[str, dict[str, object]]).decode
_decode_body = msgspec.json.Decoder(VideoBody).decode


def parse_video(
    body: bytes,
    files: Sequence[Upload] = (),
    *,
    lax: bool = False,
    generations: bool = False,
    operation: VideoOperation = "generate",
    source_task_id: str | None = None,
    model_default: str = "",
    allowed: tuple[str, ...] = (),
) -> VideoRequest:
    """The order. ``files`` are those of a form, whose fields (``unbracketed``) are read ``lax``.

    ``generations``: it came on ``/video/generations``, where metadata may hold options.
    ``source_task_id``: of the path, for a remix. ``model_default``: the source's, for bodies that
    name none, as OpenAI's remixes, edits and extensions do. ``allowed``: ``host:port`` of origins
    that the operator chose (``core/fetch_url.py``).
    """
    decoded: list[VideoBody] = []

    def decode(data: bytes) -> Request:
        found = decode_lax(data, VideoBody) if lax else _decode_body(data)
        decoded.append(found)
        return Request(operation="video", model=found.model or "", body=data, typed=found)

    parse_with(decode, body)
    typed = decoded[0]
    inputs, video_id = gathered(typed, files, allowed)
    source = _agreed({"id": source_task_id, "video": video_id})
    if operation != "generate" and source is None and not any(i.role == "video" for i in inputs):
        _refuse("Name the video to work on: its id, or its address.", "video")
    request = _ordered(typed, typed.model or model_default, allowed)
    if not request.model:
        _refuse("Missing required field `model`.", "model")
    return msgspec.structs.replace(
        request,
        operation=operation,
        source_task_id=source,
        metadata_options=generations,
        inputs=inputs,
        given=tuple(name for name in _GIVEN if getattr(request, name) is not None),
    )


def _ordered(typed: VideoBody, model: str, allowed: tuple[str, ...]) -> VideoRequest:
    choice, options = _provider(typed.provider)
    width, height = _pixels(typed)
    lengths = ("seconds", "duration", "duration_sec")
    shapes = ("aspect_ratio", "ratio")
    return VideoRequest(
        model=model,
        prompt=(typed.prompt or "").strip(),
        seconds=_agreed({name: _seconds(getattr(typed, name), name) for name in lengths}),
        width=width,
        height=height,
        resolution=_resolution(typed.resolution),
        aspect_ratio=_agreed({name: _aspect_ratio(getattr(typed, name), name) for name in shapes}),
        fps=_between(typed.fps, "fps", 1, FPS_MAX),
        seed=_between(typed.seed, "seed", SEED_MIN, SEED_MAX),
        n=_between(typed.n, "n", 1, N_MAX) or 1,
        negative_prompt=typed.negative_prompt or None,
        mode=_word(typed.mode, "mode"),
        camera=_camera(typed),
        audio=_switched(typed, "audio", "generate_audio", "sound"),
        prompt_enhance=_switched(typed, "prompt_enhance", "prompt_extend", "enhance_prompt"),
        watermark=_switched(typed, "watermark"),
        provider_options=_options(typed.provider_options or {}, "provider_options"),
        options=options,
        metadata=_metadata(typed.metadata),
        callback_url=_callback(typed.callback_url, allowed),
        callback_secret_ref=typed.callback_secret_ref,
        user=_agreed({"user": typed.user, "safety_identifier": typed.safety_identifier}),
        choice=choice,
        models=tuple(typed.models or ()),
    )


# ------------------------------------------------------------------------------------- one value


def _refuse(message: str, param: str, reason: str = "invalid_parameter") -> NoReturn:
    raise ApiError("REQUEST_001", message, param=param, reason=reason)


def _agreed(values: dict[str, T | None]) -> T | None:
    """The value of things with several names; two that differ are a conflict."""
    found: tuple[str, T] | None = None
    for name, value in values.items():
        if value is None:
            continue
        if found is not None and found[1] != value:
            _refuse(
                say(
                    "{first} ({had}) and {name} ({value}) disagree: give one of them.",
                    first=found[0],
                    had=found[1],
                    name=name,
                    value=value,
                ),
                name,
                "conflicting_parameters",
            )
        found = found or (name, value)
    return None if found is None else found[1]


def _between(value: int | None, param: str, least: int, most: int) -> int | None:
    if value is not None and not least <= value <= most:
        _refuse(
            say(
                "Expected {least} to {most}, got {value}.",
                least=least,
                most=most,
                value=str(value)[:24],
            ),
            param,
        )
    return value


def _seconds(value: float | str | None, param: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**9:
        value = int(value)
    if isinstance(value, str):
        match = _SECONDS.fullmatch(value.strip())
        value = None if match is None else int(match.group(1))
    if not isinstance(value, int) or not 1 <= value <= SECONDS_MAX:
        _refuse(
            say(
                "Expected whole seconds, 1 to {seconds_max}, like 5 or '5s'.",
                seconds_max=SECONDS_MAX,
            ),
            param,
        )
    return value


def _pixels(typed: VideoBody) -> tuple[int | None, int | None]:
    given: tuple[int, int] | None = None
    if typed.size:
        try:
            given = parse_size(typed.size, VIDEO_SEPARATORS)
        except MediaError:
            _refuse(
                "Expected a size in pixels, like 1280x720; a shape goes into aspect_ratio, a "
                "quality like 720p into resolution.",
                "size",
            )
    if (typed.width is None) != (typed.height is None):
        _refuse("Give width and height, or size.", "width" if typed.width is None else "height")
    if typed.width is not None and typed.height is not None:
        both = (typed.width, typed.height)
        _agreed({"size": given and str(given), "width and height": str(both)})
        given = both
    if given is None:
        return None, None
    if not all(SIDE_MIN <= side <= SIDE_MAX for side in given):
        _refuse(
            say(
                "A side has {side_min} to {side_max} pixels.", side_min=SIDE_MIN, side_max=SIDE_MAX
            ),
            "size" if typed.size else "width",
        )
    return given


def _resolution(value: str | None) -> str | None:
    if not value:
        return None
    lower = value.strip().lower()
    if _RESOLUTION.fullmatch(lower) is None:
        _refuse("Expected a resolution like 480p, 720p, 1080p, 2k or 4k.", "resolution")
    return lower


def _aspect_ratio(value: str | None, param: str) -> str | None:
    if not value:
        return None
    lower = value.strip().lower()
    if lower != "adaptive" and _RATIO.fullmatch(lower) is None:
        _refuse("Expected a shape like 16:9, 9:16 or 1:1, or 'adaptive'.", param)
    return lower


def _word(value: str | None, param: str) -> str | None:
    if not value:
        return None
    if _WORD.fullmatch(value) is None:
        _refuse("Expected a short word.", param)
    return value.lower()


def _switched(typed: VideoBody, *names: str) -> bool | None:
    return _agreed({name: _switch(getattr(typed, name), name) for name in names})


def _switch(value: Switch | None, param: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    lower = value.strip().lower()
    if lower not in _ON and lower not in _OFF:
        _refuse("Expected true or false (or 'on', 'off').", param)
    return lower in _ON


def _camera(typed: VideoBody) -> Camera | None:
    camera = typed.camera
    if camera is None:
        return None
    if camera.fixed and (camera.type is not None or camera.config):
        _refuse(
            "camera.fixed and camera.type or camera.config contradict each other.",
            "camera.fixed",
            "conflicting_parameters",
        )
    config = {str(name): amount for name, amount in camera.config.items()}
    return Camera(camera.fixed, _word(camera.type, "camera.type"), config)


# ------------------------------------------------------------------------------- passed on, echoed


def _metadata(value: dict[str, object] | str | None) -> dict[str, object]:
    if isinstance(value, str):  # new-api's clients write JSON into a text
        try:
            value = _decode_object(value or "{}")
        except (msgspec.DecodeError, RecursionError):
            _refuse("Expected an object, or the JSON of one.", "metadata")
    if value is None:
        return {}
    if len(value) > METADATA_KEYS_MAX:
        _refuse(
            say("At most {metadata_keys_max} keys.", metadata_keys_max=METADATA_KEYS_MAX),
            "metadata",
        )
    if len(_encode(value)) > METADATA_BYTES_MAX:
        _refuse(
            say("At most {metadata_bytes_max} bytes.", metadata_bytes_max=METADATA_BYTES_MAX),
            "metadata",
        )
    return value


def _options(options: dict[str, object], path: str) -> dict[str, object]:
    for name in options:
        if name.lower() in FORBIDDEN_OPTIONS:
            _refuse(
                say("{name} is given at the top level, not inside {path}.", name=name, path=path),
                f"{path}.{name}"[:120],
                "unsupported_parameter",
            )
    if len(_encode(options)) > OPTIONS_BYTES_MAX:
        _refuse(
            say("At most {options_bytes_max} bytes.", options_bytes_max=OPTIONS_BYTES_MAX), path
        )
    return options


def _provider(raw: msgspec.Raw) -> tuple[ProviderChoice | None, dict[str, dict[str, object]]]:
    """The routing hint, and OpenRouter's ``provider.options`` by provider."""
    if not bytes(raw).lstrip().startswith(b"{"):
        return provider_choice(raw), {}
    members = dict(_decode_raws(raw))
    options = members.pop("options", None)
    found: dict[str, dict[str, object]] = {}
    if options is not None and bytes(options) != b"null":
        try:
            found = _decode_options(options)
        except msgspec.ValidationError:
            _refuse("Expected objects by provider name.", "provider.options")
        for name, values in found.items():
            _options(values, f"provider.options.{name}")
    # With nothing else inside, the object says nothing about the route.
    return (provider_choice(msgspec.Raw(_encode(members))) if members else None), found


def _callback(url: str | None, allowed: tuple[str, ...]) -> str | None:
    """Where its name leads is looked at when it is used."""
    if not url:
        return None
    try:
        return public_target(url, allowed=allowed).url
    except ValueError as error:
        _refuse(say("The callback cannot be used: {error}.", error=error), "callback_url")
