"""Bodies of the video endpoints, in all the spellings of section 2.1 of the contract."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.brackets import unbracketed
from tokenmarket.core.errors import ApiError
from tokenmarket.core.requests import ProviderChoice
from tokenmarket.core.uploads import Upload, memory_upload
from tokenmarket.core.video.body import FORM_LISTS, FORM_OBJECTS
from tokenmarket.core.video.parse import SECONDS_MAX, parse_video
from tokenmarket.core.video.request import Camera, ResolvedVideo, VideoRequest, dump, load
from tokenmarket.core.video.request import stored_inputs as stored

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)
MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"
A, B = "https://x.example/a.png", "https://x.example/b.png"
TASK = "video_" + "0" * 34


def order(**members: Any) -> VideoRequest:
    return parse_video(json.dumps({"model": "m", "prompt": "a lake"} | members).encode())


def refused(**members: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        order(**members)
    assert caught.value.status == 400
    return caught.value


def sent(fields: list[tuple[str, str]], *files: Upload, generations: bool = False) -> VideoRequest:
    body = unbracketed(fields, lists=FORM_LISTS, objects=FORM_OBJECTS)
    return parse_video(body, files, lax=True, generations=generations)


def roles(request: VideoRequest) -> list[tuple[str, str | None]]:
    return [(item.role, item.url) for item in request.inputs]


def file(field: str, data: bytes, content_type: str = "image/png") -> Upload:
    return memory_upload(data, field=field, filename="a", content_type=content_type)


# --- the original documentation, and what SDKs send -----------------------------------------------


def test_the_example_of_the_original_documentation() -> None:
    request = parse_video(
        b'{"model":"kling-v1","provider":"dataeyes","prompt":"A paper plane flying over a lake at '
        b'sunrise","size":"1280x720"}',
        generations=True,
    )
    assert request.model == "kling-v1"
    assert request.choice == ProviderChoice(only=("dataeyes",), allow_fallbacks=False)
    assert request.size == "1280x720"
    assert request.given == ("size",)


def test_what_openai_python_puts_into_a_form() -> None:
    # VERIFIED there: oracle_wire_openai.py, openai 3.54.0: create(model=…, extra_body={…}).
    request = sent(
        [
            ("model", "kling-v1"),
            ("prompt", "a cat"),
            ("size", "1280x720"),
            ("seconds", "5"),
            ("provider", "dataeyes"),
            ("metadata[a]", "1"),
            ("metadata[n][z]", "true"),
            ("images[]", A),
            ("images[]", B),
            ("duration", "5"),
            ("audio", "true"),
        ]
    )
    assert (request.seconds, request.audio, request.size) == (5, True, "1280x720")
    assert request.metadata == {"a": "1", "n": {"z": "true"}}
    assert roles(request) == [("reference_image", A), ("reference_image", B)]
    assert request.choice is not None
    assert request.choice.only == ("dataeyes",)


def test_input_reference_in_a_form() -> None:
    by_url = sent([("model", "m"), ("prompt", "p"), ("input_reference[image_url]", A)])
    assert roles(by_url) == [("first_frame", A)]
    (item,) = sent([("model", "m"), ("prompt", "p")], file("input_reference", PNG)).inputs
    assert item.upload is not None
    assert (item.role, item.upload.content_type) == ("first_frame", "image/png")


def test_numbers_and_lists_of_a_form() -> None:
    request = sent(
        [
            ("model", "m"),
            ("prompt", "p"),
            ("seed", "7"),
            ("fps", "24"),
            ("watermark", "false"),
            ("camera[config][pan]", "2.5"),
            ("frame_images[][image_url][url]", A),
            ("frame_images[][frame_type]", "first_frame"),
            ("frame_images[][image_url][url]", B),
            ("frame_images[][frame_type]", "last_frame"),
        ]
    )
    assert (request.seed, request.fps, request.watermark) == (7, 24, False)
    assert request.camera == Camera(config={"pan": 2.5})
    assert roles(request) == [("first_frame", A), ("last_frame", B)]


# --- one name of many


@pytest.mark.parametrize("value", [5, "5", "5s", "5 s", 5.0, "5.0"], ids=repr)
@pytest.mark.parametrize("name", ["seconds", "duration", "duration_sec"])
def test_seconds(name: str, value: object) -> None:
    assert order(**{name: value}).seconds == 5


@pytest.mark.parametrize(
    "value",
    [0, -5, "-5", "", "five", 5.5, "5.5", 1e300, 10**30, SECONDS_MAX + 1, "1e3", "٥"],
    ids=repr,
)
def test_seconds_that_are_none(value: object) -> None:
    assert refused(duration=value).param == "duration"


@pytest.mark.parametrize(
    ("members", "param", "names"),
    [
        ({"seconds": 5, "duration": "8"}, "duration", ("seconds", "duration")),
        ({"duration": 8, "duration_sec": 5}, "duration_sec", ("duration", "duration_sec")),
        ({"aspect_ratio": "16:9", "ratio": "9:16"}, "ratio", ("aspect_ratio", "ratio")),
        ({"audio": True, "sound": "off"}, "sound", ("audio", "sound")),
        ({"prompt_extend": True, "enhance_prompt": False}, "enhance_prompt", ("prompt_extend",)),
        ({"size": "1280x720", "width": 720, "height": 1280}, "width and height", ("size",)),
        ({"image": A, "input_reference": B}, "input_reference", ("image", "input_reference")),
        ({"image_tail": A, "last_frame": B}, "last_frame", ("image_tail", "last_frame")),
        ({"images": [A], "image": B}, "images[0]", ("image", "images[0]")),
        ({"image": A, "input_references": [B]}, "input_references[0]", ("image",)),
        ({"last_frame": A, "images": [A, B]}, "images[0]", ("last_frame", "images[0]")),
        ({"user": "a", "safety_identifier": "b"}, "safety_identifier", ("user",)),
        ({"camera": {"fixed": True, "config": {"pan": 1}}}, "camera.fixed", ("camera.config",)),
    ],
)
def test_conflicts_name_both(members: dict[str, Any], param: str, names: tuple[str, ...]) -> None:
    error = refused(**members)
    assert (error.reason, error.param) == ("conflicting_parameters", param)
    assert all(name in error.message for name in names)


def test_the_same_thing_twice_is_no_conflict() -> None:
    assert order(seconds="5", duration=5, duration_sec="5s").seconds == 5
    assert roles(order(image=A, input_reference={"image_url": {"url": A}})) == [("first_frame", A)]
    assert order(size="1280*720", width=1280, height=720).size == "1280x720"


@pytest.mark.parametrize("size", ["1280x720", "1280X720", "1280*720", "1280:720", " 1280x720 "])
def test_sizes(size: str) -> None:
    assert order(size=size).size == "1280x720"


@pytest.mark.parametrize(
    "size", ["16:9", "720p", "0x720", "-1x720", "99999x99999", "1280x", "x", "1280x720x2", "8x8"]
)
def test_sizes_that_are_none(size: str) -> None:
    assert refused(size=size).param == "size"


def test_resolution_shape_and_switches() -> None:
    request = order(resolution="1080P", ratio="9:16", sound="on", enhance_prompt=False, mode="Pro")
    assert (request.resolution, request.aspect_ratio, request.mode) == ("1080p", "9:16", "pro")
    assert (request.audio, request.prompt_enhance) == (True, False)
    assert request.given == ("resolution", "aspect_ratio", "mode", "audio", "prompt_enhance")
    assert order(resolution="4K", aspect_ratio="Adaptive").aspect_ratio == "adaptive"
    assert refused(resolution="high").param == "resolution"
    assert refused(ratio="wide").param == "ratio"
    assert refused(sound="loud").param == "sound"


@pytest.mark.parametrize(
    "members",
    [
        {"duraton": 5},
        {"n": 0},
        {"n": -1},
        {"n": 9},
        {"n": 10**20},
        {"fps": 0},
        {"seed": -2},
        {"seed": 2**63},
        {"seed": "x"},
        {"width": 1280},
        {"models": [""]},
        {"model": ""},
        {"model": None},
        {"prompt": 5},
        {"prompt": "x" * 32_001},
        {"response_format": "b64_json"},
        {"camera": {"speed": 1}},
        {"camera": {"config": {"dolly": 1}}},
        {"camera": {"config": {"pan": 11}}},
        {"frame_images": [{"image_url": A}]},
        {"input_references": [{"type": "image_url"}]},
        {"input_references": [{"type": "image_url", "video_url": A}]},
        {"input_references": [{"type": "video_url", "video_url": A, "role": "first_frame"}]},
        {"input_reference": {"file_id": "file_1"}},
        {"input_reference": {}},
        {"video": {}},
        {"video": {"id": "x"}},
        {"video": {"id": TASK, "url": A}},
        {"video": "video_123"},
        {"metadata": {str(number): 1 for number in range(17)}},
        {"metadata": {"a": "x" * 9000}},
        {"metadata": "[1]"},
        {"metadata": "{"},
        {"provider": {"options": {"kling": 5}}},
        {"provider": {"optoins": {}}},
        {"images": ["not an address"]},
        {"image": "http://x.example/a.png"},
        {"image": "https://user:pass@x.example/a.png"},
        {"image": "file:///etc/passwd"},
        {"image": "data:image/png;base64,!!!"},
        {"image": "data:text/html,<b>"},
        {"callback_url": "http://x.example/"},
        {"callback_url": "https://0x7f.1/"},
        {"callback_url": "ftp://x.example/"},
        {"callback_url": "https://x.example/#a"},
    ],
)
def test_refused(members: dict[str, Any]) -> None:
    assert refused(**members).code == "REQUEST_001"


def test_a_remix_names_no_model_and_may_use_its_source_s() -> None:
    body = b'{"prompt":"p"}'
    with pytest.raises(ApiError) as caught:
        parse_video(body)
    assert caught.value.param == "model"
    remix = parse_video(body, operation="remix", source_task_id=TASK, model_default="kling-v1")
    assert remix.model == "kling-v1"
    assert order(model="mine").model == "mine"


def test_bodies_that_are_no_json_objects() -> None:
    for body in (
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b'{"model":"a","model":"b"}',
        b'{"model":"\xff"}',
    ):
        with pytest.raises(ApiError) as caught:
            parse_video(body)
        assert caught.value.status == 400, body


# --- files


def test_one_picture_is_the_first_frame_and_more_are_references() -> None:
    assert roles(order(images=[A])) == [("first_frame", A)]
    assert roles(order(images=[A, B])) == [("reference_image", A), ("reference_image", B)]
    assert roles(order(image=A, image_tail=B)) == [("first_frame", A), ("last_frame", B)]


def test_references_of_three_kinds() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": A}, "role": "reference_image"},
        {"type": "video_url", "video_url": "https://x.example/a.mp4"},
        {"type": "audio_url", "audio_url": {"url": "https://x.example/a.mp3"}},
    ]
    assert [role for role, _ in roles(order(input_references=parts))] == [
        "reference_image",
        "reference_video",
        "reference_audio",
    ]


def test_bytes_in_the_body_become_uploads_of_their_true_type() -> None:
    text = base64.b64encode(PNG).decode()
    for written in (f"data:image/jpeg;base64,{text}", text):
        (item,) = order(image=written).inputs
        assert item.upload is not None
        assert item.upload.content_type == "image/png"
        assert item.upload.data() == PNG


def test_files_are_known_by_their_bytes() -> None:
    base = [("model", "m"), ("prompt", "p")]
    video = sent(base, file("input_references", MP4, "image/png"))
    assert [item.role for item in video.inputs] == ["reference_video"]
    for field, data in (
        ("image", MP4),
        ("video", PNG),
        ("image", b""),
        ("image", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("input_references", b"nothing"),
    ):
        with pytest.raises(ApiError) as caught:
            sent(base, file(field, data))
        assert (caught.value.reason, caught.value.param) == ("invalid_input_media", field), data
    with pytest.raises(ApiError) as caught:
        sent(base, file("malware", PNG))
    assert caught.value.param == "malware"


def test_files_and_addresses_together() -> None:
    request = sent([("model", "m"), ("prompt", "p"), ("images[]", A)], file("images", PNG))
    assert [(item.role, item.param) for item in request.inputs] == [
        ("reference_image", "images[0]"),
        ("reference_image", "images[1]"),
    ]


def test_the_source_of_an_edit() -> None:
    assert order(video=TASK).source_task_id == TASK
    assert order(video={"id": TASK}).source_task_id == TASK
    assert roles(order(video={"url": "https://x.example/a.mp4"})) == [
        ("video", "https://x.example/a.mp4")
    ]
    body = b'{"model":"m","prompt":"p"}'
    assert parse_video(body, operation="remix", source_task_id=TASK).source_task_id == TASK
    with pytest.raises(ApiError) as caught:
        parse_video(body, operation="extend")
    assert caught.value.param == "video"


# --- what goes along


def test_metadata_and_options() -> None:
    request = order(metadata='{"order":"42"}', provider_options={"cfg_scale": 0.5})
    assert request.metadata == {"order": "42"}
    assert not request.metadata_options
    assert request.provider_options == {"cfg_scale": 0.5}


@pytest.mark.parametrize("name", ["model", "duration", "resolution", "size", "seconds", "Model"])
def test_what_is_priced_does_not_hide_in_options(name: str) -> None:
    error = refused(provider_options={name: 1})
    assert (error.reason, error.param) == ("unsupported_parameter", f"provider_options.{name}")
    error = refused(provider={"options": {"kling": {name: 1}}})
    assert error.param == f"provider.options.kling.{name}"


def test_provider_options_of_openrouter() -> None:
    request = order(provider={"only": ["kling"], "options": {"kling": {"cfg_scale": 1}}})
    assert request.options == {"kling": {"cfg_scale": 1}}
    assert request.choice == ProviderChoice(only=("kling",))
    assert order(provider={"options": {"kling": {}}}).choice is None


def test_origins_the_operator_chose() -> None:
    body = json.dumps(
        {"model": "m", "prompt": "p", "callback_url": "http://127.0.0.1:9/hook"}
    ).encode()
    request = parse_video(body, allowed=("127.0.0.1:9",))
    assert request.callback_url == "http://127.0.0.1:9/hook"


def test_an_order_is_kept_as_json() -> None:
    video = ResolvedVideo(
        model="m",
        prompt="p",
        camera=Camera(fixed=True),
        inputs=order(image=PNG_URL, image_tail=B).inputs,
        attributes={"mode": "pro"},
    )
    with pytest.raises(ValueError, match="image"):
        dump(video)
    data = dump(video, {0: "org/1"})
    assert stored(data) == ("org/1",)
    upload = video.inputs[0].upload
    assert upload is not None
    again = load(data, {"org/1": upload})
    assert [(item.role, item.url, item.upload) for item in again.inputs] == [
        ("first_frame", None, upload),
        ("last_frame", B, None),
    ]
    assert (again.camera, again.attributes) == (video.camera, video.attributes)
    assert roles(load(data)) == [("last_frame", B)]


PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
_names = st.sampled_from(
    [
        "seconds",
        "size",
        "image",
        "images",
        "video",
        "provider",
        "metadata",
        "camera",
        "audio",
        "input_reference",
        "input_references",
        "frame_images",
        "callback_url",
        "n",
        "resolution",
    ]
)


@given(st.dictionaries(_names, _values, max_size=4))
def test_any_body_is_an_order_or_a_refusal(members: dict[str, object]) -> None:
    body = json.dumps({"model": "m", "prompt": "p"} | members).encode()
    try:
        request = parse_video(body)
    except ApiError as refusal:
        error: ApiError | None = refusal
    else:
        error = None
        assert request.seconds is None or 0 < request.seconds <= SECONDS_MAX
        frames = {item.role for item in request.inputs} & {"first_frame", "last_frame"}
        references = [item for item in request.inputs if item.role.startswith("reference_")]
        assert not (frames and references)
    # What is no JSON at all (Infinity) has no path.
    assert error is None or (error.status == 400 and (error.param or "JSON" in error.message))
