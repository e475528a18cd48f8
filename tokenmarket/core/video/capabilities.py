"""A VideoRequest against one model: defaults filled in, illegal values refused, the worst case.

"A default is never invented silently": what is filled in here is priced, sent upstream exactly so,
and named in ``ResolvedVideo.defaults``. Refusals are ApiError(REQUEST_001) that list what is legal;
reasons: ``unsupported_parameter``, ``unsupported_size``, ``unsupported_operation``,
``conflicting_parameters``. The keys of a model's row are in ``abilities.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NoReturn

import msgspec

from tokenmarket.core.catalog import Model
from tokenmarket.core.errors import ApiError
from tokenmarket.core.requests import Request
from tokenmarket.core.video.abilities import Abilities, abilities
from tokenmarket.core.video.bounds import video_bound
from tokenmarket.core.video.frame import frame
from tokenmarket.core.video.parse import FORBIDDEN_OPTIONS
from tokenmarket.core.video.request import (
    FRAME_ROLES,
    REFERENCE_ROLES,
    ResolvedVideo,
    VideoOperation,
    VideoRequest,
)
from tokenmarket.core.wording import say

# ``--dur 10``: older Seedance models read these in the prompt, which would change what is billed.
_FLAGS = re.compile(
    r"(?:^|(?<=\s))--(?:rs|resolution|rt|ratio|dur|duration|frames|fps|framespersecond|wm|watermark"
    r"|seed|cf|camerafixed|camera_fixed)(?:[ \t=]+[^\s-][^\s]*)?(?=\s|$)",
    re.IGNORECASE,
)
_OPERATIONS = ("edit", "extend")


def resolve(request: VideoRequest, model: Model) -> ResolvedVideo:
    """What is sent and priced at ``model``. Raises ApiError(REQUEST_001)."""
    able = abilities(model.capabilities)
    operation = _operation(request, able)
    _check_inputs(request, able)
    _check_switches(request, able)
    prompt, warnings = _prompt(request, able)
    shape = frame(request, able)
    seconds = _number(request.seconds, _seconds_legal(able), able.default_seconds, "seconds", able)
    fps = _number(request.fps, able.fps, able.default_fps, "fps", able)
    mode = _mode(request, able)
    audio = _audio(request, able)
    options, echoed = _provider_options(request, able)
    resolved = {
        "seconds": seconds,
        "fps": fps,
        "mode": mode,
        "audio": audio,
    }
    added = [
        name
        for name, value in resolved.items()
        if value is not None and getattr(request, name) is None
    ]
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    fields.update(
        model=model.id,
        operation=operation,
        prompt=prompt,
        width=shape.width,
        height=shape.height,
        resolution=shape.resolution,
        aspect_ratio=shape.aspect_ratio,
        provider_options=options,
        warnings=(*request.warnings, *warnings, *echoed),
        **resolved,
    )
    video = ResolvedVideo(**fields, defaults=(*added, *shape.chosen))
    return msgspec.structs.replace(
        video, attributes=attributes(video), bound=video_bound(video, able)
    )


def for_provider(video: ResolvedVideo, provider: str) -> ResolvedVideo:
    """With the options that the caller wrote for this provider (``provider.options``)."""
    special = video.options.get(provider)
    if not special:
        return video
    return msgspec.structs.replace(video, provider_options={**video.provider_options, **special})


def plan_request(video: ResolvedVideo, body: bytes) -> Request:
    """As the rooms that choose routes and admit know it (``core/routing.py``)."""
    return Request(
        operation="video",
        model=video.model,
        body=body,
        typed=video,
        choice=video.choice,
        models=video.models,
        n=video.n,
        bound=video.bound,
        attributes=video.attributes,
        inputs=video.inputs,
    )


def attributes(video: VideoRequest) -> dict[str, str]:
    """What price rows may ask for in ``when``."""
    known: dict[str, object] = {
        "seconds": video.seconds,
        "size": video.size,
        "resolution": video.resolution,
        "aspect_ratio": video.aspect_ratio,
        "mode": video.mode,
        "fps": video.fps,
        "operation": video.operation,
        "input": _input_kind(video),
    }
    found = {name: str(value) for name, value in known.items() if value is not None}
    # Silence is a price too: a row for audio must not match where nobody asked for any.
    return found | {"audio": "true" if video.audio else "false"}


def _input_kind(video: VideoRequest) -> str:
    """ "video" where a video is read, else "image", else "text"."""
    roles = {item.role for item in video.inputs}
    if video.source_task_id is not None or not roles.isdisjoint({"video", "reference_video"}):
        return "video"
    return "image" if roles.intersection((*FRAME_ROLES, "reference_image")) else "text"


# --------------------------------------------------------------------------------------- refusals


def _refuse(message: str, param: str, reason: str = "unsupported_parameter") -> NoReturn:
    raise ApiError("REQUEST_001", message, param=param, reason=reason)


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _operation(request: VideoRequest, able: Abilities) -> VideoOperation:
    """A source on a plain create is an edit or an extension, if the model has one of the two."""
    asked = request.operation
    sourced = request.source_task_id is not None or request.input("video") is not None
    if asked == "generate" and not sourced:
        return asked
    if asked != "generate":
        if asked not in able.operations:
            has = (
                say("it has {operations}", operations=_list(able.operations))
                if able.operations
                else say("it makes new ones")
            )
            _refuse(
                say("This model cannot {asked} videos: {has}.", asked=asked, has=has),
                "model",
                "unsupported_operation",
            )
        return asked
    found = [name for name in _OPERATIONS if name in able.operations]
    if len(found) == 1:
        return "edit" if found[0] == "edit" else "extend"
    if found:
        _refuse(
            "This model can edit and extend: say which, with /videos/edits or /videos/extensions.",
            "video",
            "unsupported_operation",
        )
    _refuse("This model takes no source video.", "video", "unsupported_operation")


def _check_inputs(request: VideoRequest, able: Abilities) -> None:
    if request.n > able.n_max:
        _refuse(say("This model makes at most {n_max} per request.", n_max=able.n_max), "n")
    if not able.described:
        return
    references = 0
    for item in request.inputs:
        if item.role in FRAME_ROLES and item.role not in able.frames:
            takes = (
                say("it takes {frames}", frames=_list(able.frames))
                if able.frames
                else say("it takes none")
            )
            _refuse(
                say("This model does not take a {role}: {takes}.", role=item.role, takes=takes),
                item.param,
            )
        if item.role in REFERENCE_ROLES:
            references += 1
            kind = item.role.removeprefix("reference_")
            if references > able.max_references or kind not in able.reference_kinds:
                takes = say(
                    "at most {max_references} ({reference_kinds})",
                    max_references=able.max_references,
                    reference_kinds=_list(able.reference_kinds),
                )
                _refuse(
                    say(
                        "This model takes {takes}.",
                        takes=takes if able.max_references else say("no references"),
                    ),
                    item.param,
                )


def _check_switches(request: VideoRequest, able: Abilities) -> None:
    for name in able.refused:
        value = getattr(request, name)
        if value is not None and value is not False:
            _refuse(say("{name} cannot be chosen for this model.", name=name), name)


def _prompt(request: VideoRequest, able: Abilities) -> tuple[str, list[str]]:
    prompt = request.prompt
    warnings: list[str] = []
    if able.prompt_flags:
        bare = _FLAGS.sub("", prompt)
        if bare != prompt:
            prompt = " ".join(bare.split())
            warnings.append("prompt_flags_removed")
    if not prompt and not (request.inputs and (able.prompt_optional or not able.described)):
        raise ApiError(
            "REQUEST_001", "A prompt is needed.", param="prompt", reason="invalid_parameter"
        )
    if able.prompt_chars_max and len(prompt) > able.prompt_chars_max:
        _refuse(
            say(
                "This model reads at most {prompt_chars_max} characters.",
                prompt_chars_max=able.prompt_chars_max,
            ),
            "prompt",
            "invalid_parameter",
        )
    return prompt, warnings


# ---------------------------------------------------------------------------------------- choices


def _seconds_legal(able: Abilities) -> tuple[int, ...]:
    if able.seconds or not able.seconds_max:
        return able.seconds
    return tuple(range(max(1, able.seconds_min), able.seconds_max + 1))


def _number(
    asked: int | None, legal: tuple[int, ...], default: int | None, param: str, able: Abilities
) -> int | None:
    if asked is not None:
        if asked in legal or not able.described:
            return asked
        if not legal:
            _refuse(say("{param} cannot be chosen for this model.", param=param), param)
        ranged = len(legal) > 2 and legal == tuple(range(min(legal), max(legal) + 1))
        shown = f"{min(legal)} to {max(legal)}" if ranged else _list(legal)
        _refuse(
            say(
                "{asked} {param} cannot be had from this model: it has {shown}.",
                asked=asked,
                param=param,
                shown=shown,
            ),
            param,
        )
    if default is not None:
        return default
    return legal[0] if legal else None


def _mode(request: VideoRequest, able: Abilities) -> str | None:
    if request.mode is None:
        return able.default_mode or (able.modes[0] if able.modes else None)
    if able.described and request.mode not in able.modes:
        if not able.modes:
            _refuse("mode cannot be chosen for this model.", "mode")
        _refuse(
            say(
                "This model has no mode {mode}: {modes}.",
                mode=request.mode,
                modes=_list(able.modes),
            ),
            "mode",
        )
    return request.mode


def _audio(request: VideoRequest, able: Abilities) -> bool | None:
    if not able.described:
        return request.audio
    if able.audio == "always":
        if request.audio is False:
            _refuse("This model's videos always have sound.", "audio")
        return True
    if not able.audio:
        if request.audio:
            _refuse("This model makes no sound.", "audio")
        return None
    if request.audio is not None:
        return request.audio
    if able.default_audio is None and able.audio == "price":
        return False  # what costs more is asked for, never assumed
    return able.default_audio


def _provider_options(
    request: VideoRequest, able: Abilities
) -> tuple[dict[str, object], list[str]]:
    """(options that may be passed on, warnings about metadata)."""
    legal = able.provider_options
    places = [("provider_options", request.provider_options)]
    places += [(f"provider.options.{name}", values) for name, values in request.options.items()]
    for path, values in places:
        for name in values:
            if name not in legal:
                has = _list(legal) if legal else "none"
                _refuse(
                    say(
                        "{name!r} is not an option of this model; it has {has}.",
                        name=name[:64],
                        has=has,
                    ),
                    f"{path}.{name}"[:120],
                )
    if not request.metadata_options:
        return request.provider_options, []
    # new-api forwards metadata; here only what the model lists, and never what is priced.
    moved = {
        name: value
        for name, value in request.metadata.items()
        if name in legal and name.lower() not in FORBIDDEN_OPTIONS
    }
    ignored = [
        f"metadata_not_forwarded:{name}"
        for name in ("duration", "seconds", "resolution", "size", "negative_prompt", "image_tail")
        if name in request.metadata and name not in moved
    ]
    return {**moved, **request.provider_options}, ignored
