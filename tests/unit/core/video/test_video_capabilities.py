"""A request against a model's capabilities: defaults, refusals, attributes, bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.catalog import Model
from tokenmarket.core.errors import ApiError
from tokenmarket.core.pricing import Unpriced, ceiling, charge, price_row, price_sheet
from tokenmarket.core.uploads import Input
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.abilities import abilities
from tokenmarket.core.video.bounds import settled_usage
from tokenmarket.core.video.capabilities import for_provider, plan_request, resolve
from tokenmarket.core.video.request import ResolvedVideo, VideoRequest

A = "https://x.example/a.png"
FIRST, LAST = Input("first_frame", "image", url=A), Input("last_frame", "last_frame", url=A)
REFERENCE = Input("reference_image", "images[0]", url=A)
CLIP = Input("video", "video", url="https://x.example/a.mp4")
TASK = "video_" + "0" * 34
# As in design/catalog.md, with Kling's prices of video_providers.md section 2.
KLING: dict[str, object] = {
    "image_to_video": True,
    "seconds": [5, 10],
    "sizes": ["1280x720", "720x1280", "960x960"],
    "modes": ["std", "pro"],
}
SEEDANCE: dict[str, object] = {
    "seconds": {"min": 4, "max": 15},
    "default_seconds": 5,
    "resolutions": ["480p", "720p", "1080p"],
    "default_resolution": "720p",
    "aspect_ratios": ["16:9", "9:16", "1:1", "adaptive"],
    "audio": "price",
    "fps": 24,
    "frames": ["first_frame", "last_frame"],
    "max_references": 2,
    "reference_kinds": ["image", "video"],
    "prompt_flags": True,
    "prompt_optional": True,
    "provider_options": ["service_tier"],
    "seed": True,
    "negative_prompt": False,
}


def resolved(capabilities: dict[str, object], **fields: Any) -> ResolvedVideo:
    request = VideoRequest(**({"model": "m", "prompt": "a lake"} | fields))
    return resolve(request, Model("m", "video", "M", "M", "v", capabilities=capabilities))


def refused(capabilities: dict[str, object], **fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        resolved(capabilities, **fields)
    assert caught.value.code == "REQUEST_001"
    return caught.value


# --- defaults


def test_defaults_are_chosen_and_named() -> None:
    video = resolved(KLING)
    assert (video.seconds, video.size, video.mode, video.audio) == (5, "1280x720", "std", None)
    assert (video.resolution, video.aspect_ratio) == ("720p", "16:9")
    assert video.defaults == ("seconds", "mode", "size")
    video = resolved(SEEDANCE)
    assert (video.seconds, video.resolution, video.aspect_ratio) == (5, "720p", "16:9")
    assert (video.size, video.audio, video.fps) == (None, False, 24)
    assert video.defaults == ("seconds", "fps", "audio", "resolution", "aspect_ratio")


def test_what_was_asked_is_kept() -> None:
    video = resolved(KLING, seconds=10, width=720, height=1280, mode="pro")
    assert (video.seconds, video.size, video.mode) == (10, "720x1280", "pro")
    assert video.defaults == ()
    assert video.attributes == {
        "seconds": "10",
        "size": "720x1280",
        "resolution": "720p",
        "aspect_ratio": "9:16",
        "mode": "pro",
        "operation": "generate",
        "input": "text",
        "audio": "false",
    }


def test_a_picture_decides_the_shape_where_the_model_follows_it() -> None:
    assert resolved(SEEDANCE, inputs=(FIRST,)).aspect_ratio == "adaptive"
    assert resolved(SEEDANCE, inputs=(FIRST,), aspect_ratio="1:1").aspect_ratio == "1:1"


def test_a_model_that_nobody_described_gets_what_was_asked() -> None:
    video = resolved({}, seconds=7, width=999, height=333, audio=True, mode="x", inputs=(FIRST,))
    assert (video.seconds, video.size, video.audio, video.mode) == (7, "999x333", True, "x")
    assert video.defaults == ()
    assert resolved({}).seconds is None


# --- size, resolution, shape


def test_one_of_the_sizes_is_found_by_shape() -> None:
    assert resolved(KLING, aspect_ratio="9:16").size == "720x1280"
    assert resolved(KLING, aspect_ratio="1:1").size == "960x960"
    assert resolved(KLING, resolution="720p").size == "1280x720"
    assert resolved(KLING | {"default_size": "720x1280"}).size == "720x1280"


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 640, "height": 480},
        {"aspect_ratio": "21:9"},
        {"resolution": "4k"},
        {"resolution": "720p", "aspect_ratio": "1:1"},
    ],
)
def test_sizes_the_model_lacks(fields: dict[str, Any]) -> None:
    error = refused(KLING, **fields)
    assert (error.reason, error.param) == ("unsupported_size", "size")
    assert "1280x720, 720x1280, 960x960" in error.message


def test_pixels_for_a_model_that_takes_shape_and_resolution() -> None:
    video = resolved(SEEDANCE, width=854, height=480)
    assert (video.resolution, video.aspect_ratio) == ("480p", "16:9")
    assert resolved(SEEDANCE, width=1080, height=1920).aspect_ratio == "9:16"
    for width, height in ((1000, 480), (640, 360), (3840, 2160)):
        assert refused(SEEDANCE, width=width, height=height).reason == "unsupported_size"


def test_size_against_resolution_and_shape() -> None:
    for other in ({"resolution": "1080p"}, {"aspect_ratio": "9:16"}):
        error = refused(SEEDANCE, width=1280, height=720, **other)
        assert error.reason == "conflicting_parameters"
        assert "size" in error.message
        assert next(iter(other)) in error.message
    agreed = resolved(SEEDANCE, width=1280, height=720, resolution="720p", aspect_ratio="16:9")
    assert agreed.size == "1280x720"


# --- refusals


@pytest.mark.parametrize(
    ("fields", "param", "legal"),
    [
        ({"seconds": 7}, "seconds", "5, 10"),
        ({"seconds": 3_000}, "seconds", "5, 10"),
        ({"mode": "ultra"}, "mode", "std, pro"),
        ({"fps": 60}, "fps", "cannot be chosen"),
        ({"audio": True}, "audio", "no sound"),
        ({"n": 2}, "n", "at most 1"),
        ({"inputs": (LAST,)}, "last_frame", "first_frame"),
        ({"inputs": (REFERENCE,)}, "images[0]", "no references"),
        ({"prompt": ""}, "prompt", "needed"),
        ({"prompt": "", "inputs": (FIRST,)}, "prompt", "needed"),
        ({"provider_options": {"cfg_scale": 1}}, "provider_options.cfg_scale", "none"),
        ({"options": {"a": {"x": 1}}}, "provider.options.a.x", "none"),
    ],
)
def test_refused(fields: dict[str, Any], param: str, legal: str) -> None:
    error = refused(KLING, **fields)
    assert error.param == param
    assert legal in error.message


def test_refused_by_a_described_model() -> None:
    assert "4 to 15" in refused(SEEDANCE, seconds=16).message
    assert refused(SEEDANCE, negative_prompt="rain").param == "negative_prompt"
    assert refused(SEEDANCE, inputs=(REFERENCE,) * 3).param == "images[0]"
    sound = Input("reference_audio", "input_references[0]", url=A)
    assert refused(SEEDANCE, inputs=(sound,)).param == "input_references[0]"
    assert refused({"audio": "always"}, audio=False).param == "audio"
    assert resolved({"audio": "always"}).attributes["audio"] == "true"
    assert resolved(SEEDANCE, prompt="", inputs=(FIRST,)).prompt == ""


def test_a_source_is_edited_or_extended_or_refused() -> None:
    assert refused(KLING, source_task_id=TASK).reason == "unsupported_operation"
    assert refused(KLING, operation="remix", source_task_id=TASK).reason == "unsupported_operation"
    one = KLING | {"operations": ["extend"]}
    assert resolved(one, inputs=(CLIP,)).operation == "extend"
    both = KLING | {"operations": ["edit", "extend"]}
    assert refused(both, inputs=(CLIP,)).reason == "unsupported_operation"
    video = resolved(both, operation="edit", source_task_id=TASK)
    assert (video.operation, video.attributes["input"]) == ("edit", "video")


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("a lake --dur 10", "a lake"),
        ("--rs 1080p a lake --DURATION=12 --wm false", "a lake"),
        ("a --fps 24 --seed -1 lake", "a -1 lake"),
        ("a lake --dur", "a lake"),
        ("--dur --dur 10 10 a lake", "10 a lake"),
    ],
)
def test_flags_do_not_change_what_is_billed(prompt: str, left: str) -> None:
    video = resolved(SEEDANCE, prompt=prompt)
    assert video.prompt == left
    assert video.warnings == ("prompt_flags_removed",)
    assert resolved(KLING, prompt=prompt).prompt == prompt


def test_a_prompt_without_flags_is_left_alone() -> None:
    for prompt in ("two  spaces -- and a dash", "--durable goods", "a--dur 10"):
        assert resolved(SEEDANCE, prompt=prompt).prompt == prompt


def test_options_by_provider_and_from_metadata() -> None:
    video = resolved(SEEDANCE, options={"ark": {"service_tier": "flex"}})
    assert for_provider(video, "ark").provider_options == {"service_tier": "flex"}
    assert for_provider(video, "fal").provider_options == {}
    metadata = {"service_tier": "flex", "model": "dearer", "duration": 60, "order": "42"}
    echoed = resolved(SEEDANCE, metadata=metadata)
    assert echoed.provider_options == {}
    passed = resolved(SEEDANCE, metadata=metadata, metadata_options=True)
    assert passed.provider_options == {"service_tier": "flex"}
    assert passed.metadata == metadata
    assert passed.warnings == ("metadata_not_forwarded:duration",)
    greedy = SEEDANCE | {"provider_options": ["model", "duration"]}
    assert resolved(greedy, metadata=metadata, metadata_options=True).provider_options == {}


def test_a_broken_row_refuses_or_ignores_but_never_crashes() -> None:
    row: dict[str, object] = {
        "seconds": "5",
        "sizes": [1, "big"],
        "modes": {"a": 1},
        "fps": True,
        "audio": "loud",
        "n_max": -1,
    }
    assert abilities(row).n_max == 1
    assert refused(row).reason == "unsupported_size"


# --- money

PER_SECOND = price_sheet(
    [
        price_row("video_second", "0.14", {"mode": "std"}.items()),
        price_row("video_second", "0.28", {"mode": "pro"}.items()),
    ]
)
PER_TOKEN = price_sheet([price_row("video_token", "7.0")])


def test_the_hold_covers_the_charge_by_second() -> None:
    video = resolved(KLING, mode="pro")
    assert ceiling(PER_SECOND, video.bound, video.attributes) == 1_400_000_000
    usage = settled_usage(video, KLING, PER_SECOND, reported=None, delivered_ms=5_000)
    assert usage == Usage(video_ms=5_000)
    assert charge(PER_SECOND, usage, video.attributes) == 1_400_000_000


def test_tokens_of_seedance() -> None:
    # video_providers.md section 4: 5 s at 24 fps are 121 frames; 108,900 and 245,025 tokens.
    for resolution, tokens in (("720p", 108_900), ("1080p", 245_025)):
        video = resolved(SEEDANCE, resolution=resolution)
        usage = settled_usage(video, SEEDANCE, PER_TOKEN, reported=None, delivered_ms=None)
        assert (usage.video_tokens, usage.estimated) == (tokens, True)
        assert dict(video.bound.any_units)["video_token"] >= tokens
        told = settled_usage(
            video, SEEDANCE, PER_TOKEN, reported=Usage(video_tokens=tokens), delivered_ms=None
        )
        assert told == Usage(video_tokens=tokens)


def test_input_seconds_and_pictures_are_bound_and_settled() -> None:
    sheet = price_sheet(
        [
            price_row("video_second", "0.08"),
            price_row("input_video_second", "0.08"),
            price_row("image", "0.04"),
        ]
    )
    row = SEEDANCE | {"input_seconds_max": 15, "free_images": 1}
    clip = Input("reference_video", "input_references[0]", url=A)
    video = resolved(row, inputs=(clip, REFERENCE))
    assert dict(video.bound.any_units)["input_video_second"] == 15_000
    assert "image" not in dict(video.bound.any_units)
    usage = settled_usage(video, row, sheet, reported=None, delivered_ms=5_000, input_ms=3_000)
    assert usage == Usage(video_ms=5_000, input_video_ms=3_000)
    pictures = resolved(row, inputs=(REFERENCE, REFERENCE))
    assert dict(pictures.bound.any_units)["image"] == 1
    assert settled_usage(pictures, row, sheet, reported=None, delivered_ms=5_000) == Usage(
        video_ms=5_000, images=1
    )


def test_only_what_the_sheet_prices_is_settled() -> None:
    video = resolved(KLING)
    per_piece = price_sheet([price_row("request", "0.5")])
    told = Usage(video_ms=5_000, output_tokens=9)
    usage = settled_usage(video, KLING, per_piece, reported=told, delivered_ms=5_000)
    assert usage == Usage(requests=1)
    assert charge(per_piece, usage) == ceiling(per_piece, video.bound) == 500_000_000


def test_a_route_without_a_price_for_this_is_refused() -> None:
    video = resolved(KLING)
    with pytest.raises(Unpriced):
        ceiling(price_sheet([price_row("audio_second", "1")]), video.bound, video.attributes)
    only_pro = price_sheet([price_row("video_second", "0.28", {"mode": "pro"}.items())])
    with pytest.raises(Unpriced):
        ceiling(only_pro, video.bound, video.attributes)


@given(
    st.sampled_from([4, 5, 9, 15]),
    st.sampled_from(["480p", "720p", "1080p"]),
    st.sampled_from([PER_TOKEN, price_sheet([price_row("video_second", "0.1")])]),
    st.none() | st.integers(0, 15_000),
)
def test_no_settlement_is_above_the_hold(
    seconds: int, resolution: str, sheet: Any, delivered_ms: int | None
) -> None:
    video = resolved(SEEDANCE, seconds=seconds, resolution=resolution)
    made = None if delivered_ms is None else min(delivered_ms, seconds * 1000)
    usage = settled_usage(video, SEEDANCE, sheet, reported=None, delivered_ms=made)
    assert charge(sheet, usage, video.attributes) <= ceiling(sheet, video.bound, video.attributes)


def test_the_rooms_know_it_as_a_request() -> None:
    video = resolved(KLING, inputs=(FIRST,))
    request = plan_request(video, b"{}")
    assert (request.operation, request.model, request.typed) == ("video", "m", video)
    assert (request.bound, request.attributes) == (video.bound, video.attributes)


def test_a_video_billed_by_output_tokens_is_not_free_where_nobody_told_them() -> None:
    row: dict[str, object] = {"seconds": [5], "output_tokens_per_second": 6_000}
    sheet = price_sheet([price_row("output_token", "17.5")])
    video = resolve(
        VideoRequest("m", prompt="a lake"), Model("m", "video", "M", "M", "v", capabilities=row)
    )
    usage = settled_usage(video, row, sheet, reported=None, delivered_ms=5_001)
    assert usage == Usage(output_tokens=30_006, estimated=True)
    told = Usage(output_tokens=28_960)
    assert settled_usage(video, row, sheet, reported=told, delivered_ms=5_001) == told
