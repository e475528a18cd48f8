"""Kling's create requests, in both dialects (see ``adapters/kling.py``)."""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.video_orders import (
    JSON_HEADERS,
    bare_address,
    leftover,
    only_address,
    refuse,
)
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.video.request import ResolvedVideo
from tokenmarket.core.wording import say

_LEGACY_ID = re.compile(r"kling-(?:v\d|video-)")
_OMNI_ID = re.compile(r"omni|-o\d")
_MODE_OF = {"720p": "std", "1080p": "pro", "4k": "4k"}
_TIER_OF = {mode: tier for tier, mode in _MODE_OF.items()}
_CHOSEN = ("seconds", "mode", "resolution", "size", "aspect_ratio", "watermark", "audio")

_encode = msgspec.json.Encoder().encode


class Order(msgspec.Struct, frozen=True):
    """``options``: the object that takes our reference and the address for notices."""

    path: str
    body: dict[str, object]
    options: dict[str, object]
    dropped: tuple[str, ...]

    def request(self, task_id: str, callback_url: str | None) -> UpstreamRequest:
        self.options["external_task_id"] = task_id
        if callback_url is not None:
            self.options["callback_url"] = callback_url
        return UpstreamRequest(self.path, JSON_HEADERS, _encode(self.body), dropped=self.dropped)


def is_legacy(route: Route) -> bool:
    """Which of the dialects the model is spoken to in."""
    dialect = route.model.capabilities.get("dialect")
    if dialect in ("new", "legacy"):
        return dialect == "legacy"
    return _LEGACY_ID.match(route.upstream_model) is not None


def new_order(request: ResolvedVideo, route: Route) -> Order:
    """The model's version in the path; contents[], settings, options."""
    omni = _OMNI_ID.search(route.upstream_model) is not None
    pictured = request.input("first_frame") is not None
    family = "omni-video" if omni else "image-to-video" if pictured else "text-to-video"
    settings: dict[str, object] = {**request.provider_options}
    if (tier := _tier(request)) is not None:
        settings["resolution"] = tier
    if request.seconds is not None:
        settings["duration"] = request.seconds
    sourced = request.input("video") is not None or request.input("reference_video") is not None
    if request.aspect_ratio is not None and not pictured and not sourced:
        settings["aspect_ratio"] = request.aspect_ratio
    if request.audio is not None and route.model.capabilities.get("audio") != "always":
        settings["audio"] = "native" if request.audio else "off"
    taken = {*_CHOSEN, *(("first_frame", "last_frame") if omni or pictured else ())}
    body: dict[str, object] = {}
    if family == "text-to-video":
        body["prompt"] = request.prompt
    else:
        body["contents"] = _contents(request)
    if omni:
        taken |= {"reference_image", "reference_video", "video"}
        _check_omni(request, settings)
    options: dict[str, object] = {}
    if request.watermark is not None:
        options["watermark_info"] = {"enabled": request.watermark}
    body["settings"], body["options"] = settings, options
    path = f"/{family}/{quote(route.upstream_model, safe='')}"
    return Order(path, body, options, leftover(request, _shaped(request, taken, pictured)))


def _contents(request: ResolvedVideo) -> list[dict[str, object]]:
    contents: list[dict[str, object]] = []
    if request.prompt:
        contents.append({"type": "prompt", "text": request.prompt})
    for role in ("first_frame", "last_frame"):
        if (frame := request.input(role)) is not None:
            contents.append({"type": role, "url": bare_address(frame)})
    # The ids are what prompts call them: @image_1, @video_1.
    for number, item in enumerate(request.inputs_of("reference_image"), 1):
        contents.append({"type": "refer_image", "url": bare_address(item), "id": f"image_{number}"})
    for role, type in (("reference_video", "feature_video"), ("video", "base_video")):
        if (clip := request.input(role)) is not None:
            contents.append({"type": type, "url": only_address(clip), "id": "video_1"})
    return contents


def _check_omni(request: ResolvedVideo, settings: dict[str, object]) -> None:
    """Rules of Omni that Kling would refuse, and the switch that its default has wrongly."""
    clips = request.inputs_of("reference_video", "video")
    if len(clips) > 1:
        refuse(clips[1].param, "This model reads one video.", "conflicting_parameters")
    if request.input("video") is not None:
        if (frame := request.input("first_frame")) is not None:
            refuse(frame.param, "An edit takes no frames.", "conflicting_parameters")
        settings["multi_shot"] = False  # the provider's own default, true, does not work here
    if clips and request.audio:
        refuse("audio", "With a source video no sound is made.", "conflicting_parameters")


def legacy_path(request: ResolvedVideo, route: Route) -> str:
    """Where an order of the old dialect is made, and asked for afterwards."""
    if _OMNI_ID.search(route.upstream_model) is not None:
        return "/v1/videos/omni-video"
    if request.input("reference_image") is not None:
        return "/v1/videos/multi-image2video"
    pictured = request.input("first_frame") is not None
    return "/v1/videos/image2video" if pictured else "/v1/videos/text2video"


def legacy_order(request: ResolvedVideo, route: Route) -> Order:
    """``model_name`` in the body; the duration is text."""
    pictured = request.input("first_frame") is not None
    path = legacy_path(request, route)
    body: dict[str, object] = {**request.provider_options, "model_name": route.upstream_model}
    if request.prompt or not pictured:
        body["prompt"] = request.prompt
    if request.negative_prompt is not None:
        body["negative_prompt"] = request.negative_prompt
    if (tier := _tier(request)) is not None:
        body["mode"] = _MODE_OF[tier]
    if request.seconds is not None:
        body["duration"] = str(request.seconds)
    if request.audio is not None:
        body["sound"] = "on" if request.audio else "off"
    if request.aspect_ratio is not None and not pictured:
        body["aspect_ratio"] = request.aspect_ratio
    if request.watermark is not None:
        body["watermark_info"] = {"enabled": request.watermark}
    if path.endswith("/omni-video"):
        more = _legacy_omni(request, body)
    elif path.endswith("/multi-image2video"):
        references = request.inputs_of("reference_image")
        if pictured:
            refuse(references[0].param, "Frames or references.", "conflicting_parameters")
        more = {"reference_image"}
        body["image_list"] = [{"image": bare_address(item)} for item in references]
    else:
        more = _frames(request, body) | _camera(request, body)
    taken = {*_CHOSEN, "negative_prompt", *more}
    return Order(path, body, body, leftover(request, _shaped(request, taken, pictured)))


def _frames(request: ResolvedVideo, body: dict[str, object]) -> set[str]:
    first, last = request.input("first_frame"), request.input("last_frame")
    if first is None:
        return set()
    body["image"] = bare_address(first)
    if last is not None:
        body["image_tail"] = bare_address(last)
    return {"first_frame", "last_frame"}


def _camera(request: ResolvedVideo, body: dict[str, object]) -> set[str]:
    camera = request.camera
    if camera is None or (camera.type is None and not camera.config):
        return set()
    control: dict[str, object] = {"type": camera.type or "simple"}
    if camera.config:
        control["config"] = camera.config
    body["camera_control"] = control
    return {"camera"}


def _legacy_omni(request: ResolvedVideo, body: dict[str, object]) -> set[str]:
    images: list[dict[str, object]] = []
    for role, type in (("first_frame", "first_frame"), ("last_frame", "end_frame")):
        if (frame := request.input(role)) is not None:
            images.append({"image_url": bare_address(frame), "type": type})
    for item in request.inputs_of("reference_image"):
        images.append({"image_url": bare_address(item)})
    if images:
        body["image_list"] = images
    clips: list[dict[str, object]] = []
    for role, type in (("reference_video", "feature"), ("video", "base")):
        for item in request.inputs_of(role):
            clips.append({"video_url": only_address(item), "refer_type": type})
    if clips:
        body["video_list"] = clips
        if request.audio:
            refuse("audio", "With a source video no sound is made.", "conflicting_parameters")
    return {"first_frame", "last_frame", "reference_image", "reference_video", "video"}


def _tier(request: ResolvedVideo) -> str | None:
    """720p, 1080p or 4k, said by mode or by resolution: what the caller wrote counts before what
    we added, and both must not disagree."""
    by_mode: str | None = None
    if request.mode is not None:
        by_mode = _TIER_OF.get(request.mode)
        if by_mode is None:
            refuse("mode", "Kling has the modes std, pro and 4k.")
    by_size = request.resolution
    if by_size is not None and by_size not in _MODE_OF:
        refuse("resolution", "Kling makes 720p, 1080p and 4k.", "unsupported_size")
    if by_mode is None or by_size is None or by_mode == by_size:
        return by_mode or by_size
    if "mode" in request.defaults:
        return by_size
    if "resolution" in request.defaults or "size" in request.defaults:
        return by_mode
    refuse(
        "mode",
        say(
            "mode {mode} is {by_mode}, which is not {by_size}: give one of them.",
            mode=request.mode,
            by_mode=by_mode,
            by_size=by_size,
        ),
        "conflicting_parameters",
    )


def _shaped(request: ResolvedVideo, taken: set[str], pictured: bool) -> set[str]:
    """With a first frame its shape counts: one that the caller wrote was not taken."""
    return taken - {"aspect_ratio"} if pictured and "aspect_ratio" in request.given else taken
