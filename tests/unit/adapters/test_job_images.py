"""Pictures of providers that answer with a job: DashScope, Kling, BFL, fal, Replicate. Exchanges
are written from ``reference/media/images.md`` section 2 and ``video_providers.md`` sections 2 to 5
and 11; recorded ones are in ``tests/recorded/test_image_jobs.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters import pictures
from tests.unit.adapters.pictures import DATA_URL, EDITS, OK, PNG, PNG_B64, route
from tokenmarket.adapters.protocol import Again, Head, Reply
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.usage import Usage

QWEN = route("dashscope", **EDITS)
WAN = route("dashscope", protocol="synthesis", n_per_call=4)
KLING = route("kling", tiers=["1K", "2K", "4K"], **EDITS)
BFL = route("bfl", **EDITS)
FAL = route("fal", n_per_call=4, **EDITS)
REPLICATE = route("replicate", **EDITS)
ALL = ("dashscope", "kling", "bfl", "fal", "replicate")
URL = "https://far.example/1.png"


def refused(at: Route, variant: str = "generations", **members: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        pictures.sent(at, pictures.request(at, variant, **members))
    return caught.value


def first(at: Route, document: object) -> Reply | Again:
    body = json.dumps(document).encode()
    adapter = pictures.adapter(at.provider.adapter)
    return adapter.read(pictures.request(at), at, OK, body)


def follow(at: Route, *documents: object) -> tuple[Reply, list[Again]]:
    """The reply at the end of a job, and the questions asked on the way."""
    asked: list[Again] = []
    result = first(at, documents[0])
    for document in documents[1:]:
        assert isinstance(result, Again)
        assert result.request.method == "GET"
        assert 0 <= result.delay_s <= 3
        asked.append(result)
        result = result.read(OK, json.dumps(document).encode())
    assert isinstance(result, Reply)
    return result, asked


def failed(at: Route, *documents: object) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        follow(at, *documents)
    return caught.value


def urls(reply: Reply) -> list[str | None]:
    return [made.url for made in reply.produced]


# ----------------------------------------------------------------------------------- dashscope


def test_qwen_image_is_a_conversation() -> None:
    request = pictures.request(
        QWEN, size="1328x1328", negative_prompt="fog", watermark=False, style="vivid"
    )
    call = pictures.sent(QWEN, request)
    assert call.path == "/api/v1/services/aigc/multimodal-generation/generation"
    assert call.from_root
    assert set(call.dropped) == {"style"}
    _, body, _ = pictures.sent_json(
        QWEN, size="1328x1328", negative_prompt="fog", watermark=False, prompt_extend=True
    )
    assert body == {
        "model": "theirs",
        "input": {"messages": [{"role": "user", "content": [{"text": "a lake"}]}]},
        "parameters": {
            "n": 1,
            "size": "1328*1328",
            "negative_prompt": "fog",
            "prompt_extend": True,
            "watermark": False,
        },
    }
    _, body, _ = pictures.sent_json(QWEN, "edits", image=DATA_URL)
    content = body["input"]["messages"][0]["content"]
    assert content == [{"image": DATA_URL}, {"text": "a lake"}]


def test_qwen_image_answers() -> None:
    message = {"role": "assistant", "content": [{"image": URL}]}
    choices = [{"finish_reason": "stop", "message": message}]
    usage = {"width": 1328, "height": 1328, "output_image_count": 1}
    reply = pictures.read(QWEN, {"output": {"choices": choices}, "usage": usage})
    assert urls(reply) == [URL]
    assert reply.usage == Usage(images=1)
    refusal = {"code": "DataInspectionFailed", "message": "Output data may be inappropriate"}
    assert failed(QWEN, refusal).kind == "content_policy"


def test_wan_is_a_task() -> None:
    call = pictures.sent(WAN, pictures.request(WAN, n=2, size="1024x1024", negative_prompt="fog"))
    assert ("x-dashscope-async", "enable") in call.headers
    path, body, _ = pictures.sent_json(WAN, n=2, size="1024x1024", negative_prompt="fog")
    assert path == "/api/v1/services/aigc/text2image/image-synthesis"
    assert body["input"] == {"prompt": "a lake", "negative_prompt": "fog"}
    assert body["parameters"] == {"n": 2, "size": "1024*1024"}
    takes_none = route("dashscope", protocol="synthesis", **EDITS)
    assert refused(takes_none, "edits", image=DATA_URL).param == "image"


def test_wan_may_make_some_of_its_pictures() -> None:
    def state(word: str, **more: object) -> dict[str, object]:
        return {"output": {"task_id": "a/b", "task_status": word, **more}}

    bad = {"code": "DataInspectionFailed", "message": "no"}
    done = state(
        "SUCCEEDED", results=[{"url": URL.replace("s:", ":"), "actual_prompt": "A lake"}, bad]
    )
    reply, asked = follow(WAN, state("PENDING"), state("RUNNING"), done)
    assert {again.request.path for again in asked} == {"/api/v1/tasks/a%2Fb"}
    assert all(again.request.from_root for again in asked)
    assert urls(reply) == [URL]
    assert reply.produced[0].facts == {"revised_prompt": "A lake"}
    assert len(reply.warnings) == 1
    assert failed(WAN, state("SUCCEEDED", results=[bad])).kind == "content_policy"
    code = "InternalError.Timeout"
    assert failed(WAN, state("FAILED", code=code, message="x")).kind == "upstream_error"
    for word in ("UNKNOWN", "CANCELED", "DONE"):
        assert failed(WAN, state("PENDING"), state(word)).kind == "upstream_error"


# --------------------------------------------------------------------------------------- kling


def test_kling() -> None:
    path, body, dropped = pictures.sent_json(
        KLING,
        n=4,
        size="1920x1080",
        negative_prompt="fog",
        seed=1,
        callback_url="https://x.example",
    )
    assert path == "/v1/images/generations"
    assert body == {
        "model_name": "theirs",
        "prompt": "a lake",
        "n": 4,
        "aspect_ratio": "16:9",
        "resolution": "2k",
        "negative_prompt": "fog",
    }
    assert dropped == {"seed", "callback_url"}
    _, body, dropped = pictures.sent_json(
        KLING, "edits", image=DATA_URL, image_fidelity=0.5, image_reference="face"
    )
    assert body["image"] == PNG_B64
    assert (body["image_fidelity"], body["image_reference"]) == (0.5, "face")
    assert refused(KLING, resolution="4k").param == "resolution"
    assert refused(KLING, size="1000x100").reason == "unsupported_size"
    assert refused(route("kling"), size="3840x2160").reason == "unsupported_size"


def test_kling_s_job() -> None:
    def state(word: str, **more: object) -> dict[str, object]:
        return {"code": 0, "message": "", "data": {"task_id": "77", "task_status": word, **more}}

    images = {"images": [{"index": 0, "url": URL}, {"index": 1, "url": URL}]}
    done = state("succeed", task_result=images)
    reply, asked = follow(KLING, state("submitted"), state("processing"), done)
    assert {again.request.path for again in asked} == {"/v1/images/generations/77"}
    assert reply.usage == Usage(images=2)
    assert failed(KLING, state("succeed", task_result={})).kind == "upstream_error"
    words = "Failure to pass the risk control system"
    assert failed(KLING, state("failed", task_status_msg=words)).kind == "content_policy"
    assert failed(KLING, state("failed")).kind == "upstream_error"
    assert failed(KLING, state("succeeded")).kind == "upstream_error"  # the newer dialect's word
    assert failed(KLING, {"code": 1301, "message": "no"}).kind == "content_policy"
    assert failed(KLING, {"code": 1102, "message": "no"}).kind == "no_balance"


# ----------------------------------------------------------------------------------------- bfl


def test_bfl() -> None:
    path, body, dropped = pictures.sent_json(
        BFL,
        size="1024x768",
        seed=5,
        output_format="png",
        webhook_url="https://elsewhere.example",
        webhook_secret="s",
    )
    assert path == "/theirs"
    assert body == {
        "prompt": "a lake",
        "width": 1024,
        "height": 768,
        "seed": 5,
        "output_format": "png",
    }
    assert dropped == {"webhook_url", "webhook_secret"}
    by_ratio = route("bfl", ratios=["1:1", "16:9"], **EDITS)
    _, body, _ = pictures.sent_json(by_ratio, "edits", image=[DATA_URL] * 2, size="1920x1080")
    assert body == {
        "prompt": "a lake",
        "aspect_ratio": "16:9",
        "input_image": PNG_B64,
        "input_image_2": PNG_B64,
    }
    assert refused(BFL, size="1000x1000").reason == "unsupported_size"
    assert refused(BFL, width=4096).param == "width"
    assert refused(BFL, "edits", files=(("image", PNG), ("mask", PNG))).param == "mask"


def test_bfl_s_job_is_asked_for_where_it_says() -> None:
    job = {"id": "1", "polling_url": "https://eu.far.example/v1/get_result?id=1"}
    done = {"status": "Ready", "result": {"sample": URL, "seed": 9, "prompt": "a lake"}}
    reply, asked = follow(BFL, job, {"status": "Pending"}, done)
    assert [again.request.url for again in asked] == [job["polling_url"]] * 2
    assert urls(reply) == [URL]
    assert reply.produced[0].facts == {"seed": 9}
    assert failed(BFL, {"id": "1"}).kind == "upstream_error"
    assert failed(BFL, job, {"status": "Ready", "result": None}).kind == "upstream_error"


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("Request Moderated", "content_policy"),
        ("Content Moderated", "content_policy"),
        ("Error", "upstream_error"),
        ("Failed", "upstream_error"),
        ("Task not found", "upstream_error"),
        ("Finished", "upstream_error"),
        (None, "upstream_error"),
    ],
)
def test_bfl_s_states(state: str | None, kind: str) -> None:
    job = {"id": "1", "polling_url": "https://eu.far.example/v1/get_result?id=1"}
    assert failed(BFL, job, {"status": state, "result": {"sample": URL}}).kind == kind


# ----------------------------------------------------------------------------------------- fal


def test_fal() -> None:
    path, body, dropped = pictures.sent_json(
        FAL, n=2, size="1024x768", seed=5, enable_safety_checker=False
    )
    assert path == "/theirs"
    assert body == {
        "prompt": "a lake",
        "num_images": 2,
        "image_size": {"width": 1024, "height": 768},
        "seed": 5,
    }
    assert dropped == {"enable_safety_checker"}
    by_ratio = route("fal", ratios=["16:9"], tiers=["1K", "2K"], edit_model="a/b/edit", edits=True)
    path, body, _ = pictures.sent_json(by_ratio, "edits", image=DATA_URL, size="1920x1080")
    assert path == "/a/b/edit"
    assert (body["aspect_ratio"], body["resolution"]) == ("16:9", "2K")
    assert body["image_urls"] == [DATA_URL]
    one = route("fal", image_field="image_url", edits=True)
    assert pictures.sent_json(one, "edits", image=DATA_URL)[1]["image_url"] == DATA_URL
    assert refused(one, "edits", image=[DATA_URL] * 2).param == "image"
    assert refused(FAL, num_images=4).param == "num_images"
    assert refused(FAL, image_size="square_hd").param == "image_size"
    assert refused(FAL, resolution="4K").param == "resolution"


def test_fal_s_queue() -> None:
    base = "https://queue.far.example/theirs/requests/1"
    job = {"request_id": "1", "status_url": f"{base}/status", "response_url": base}
    result = {"images": [{"url": URL, "content_type": "image/jpeg"}], "seed": 7}
    waits = [{"status": "IN_QUEUE"}, {"status": "IN_PROGRESS"}]
    reply, asked = follow(FAL, job, *waits, {"status": "COMPLETED"}, result)
    assert [again.request.url for again in asked] == [f"{base}/status"] * 3 + [base]
    assert urls(reply) == [URL]
    assert reply.usage == Usage(images=1)
    assert reply.produced[0].facts == {"seed": 7}
    over = {"status": "COMPLETED", "error": "x", "error_type": "content_policy_violation"}
    assert failed(FAL, job, over).kind == "content_policy"
    assert failed(FAL, job, {"status": "COMPLETED", "error": "x"}).kind == "upstream_error"
    assert failed(FAL, job, {"status": "LOST"}).kind == "upstream_error"


def test_fal_at_once_and_its_black_pictures() -> None:
    document = {"images": [{"url": URL}, {"url": DATA_URL}], "has_nsfw_concepts": [True, False]}
    reply = pictures.read(FAL, document)
    assert [made.b64 for made in reply.produced] == [PNG_B64]
    assert len(reply.warnings) == 1
    only = {"images": [{"url": URL}], "has_nsfw_concepts": [True]}
    assert failed(FAL, only).kind == "content_policy"
    words = {"loc": ["body", "prompt"], "msg": "flagged by a content checker", "type": "x"}
    body = json.dumps({"detail": [words]}).encode()
    assert pictures.adapter("fal").explain(Head(422, {}), body).kind == "content_policy"


# ----------------------------------------------------------------------------------- replicate


def test_replicate_s_input_is_what_the_model_takes() -> None:
    path, body, dropped = pictures.sent_json(REPLICATE, size="1024x768", seed=5, webhook="x")
    assert path == "/models/theirs/predictions"
    assert body == {"input": {"prompt": "a lake", "width": 1024, "height": 768, "seed": 5}}
    assert dropped == {"webhook"}
    call = pictures.sent(REPLICATE, pictures.request(REPLICATE))
    assert ("prefer", "wait") in call.headers
    at = route(
        "replicate",
        ratios=["16:9"],
        n_per_call=4,
        image_field="image_input",
        inputs=["output_format"],
        edits=True,
    )
    _, body, dropped = pictures.sent_json(
        at, "edits", n=2, image=DATA_URL, size="1920x1080", output_format="jpeg", seed=5
    )
    assert body["input"] == {
        "prompt": "a lake",
        "num_outputs": 2,
        "aspect_ratio": "16:9",
        "image_input": [DATA_URL],
        "output_format": "jpg",
    }
    assert dropped == {"seed"}


def test_replicate_s_job() -> None:
    address = "https://api.far.example/v1/predictions/1"

    def state(word: str, **more: object) -> dict[str, object]:
        return {"id": "1", "status": word, "urls": {"get": address}, **more}

    running = state("processing", output=[URL])  # it may not be all of them yet
    done = state("succeeded", output=[URL, DATA_URL])
    reply, asked = follow(REPLICATE, state("starting"), running, done)
    assert [again.request.url for again in asked] == [address] * 2
    assert urls(reply) == [URL, None]
    assert reply.usage == Usage(images=2)
    assert urls(follow(REPLICATE, state("succeeded", output=URL))[0]) == [URL]
    assert (
        failed(REPLICATE, state("failed", error="NSFW content detected")).kind == "content_policy"
    )
    for word in ("failed", "canceled", "aborted", "done"):
        assert failed(REPLICATE, state(word, output=[URL])).kind == "upstream_error"
    assert failed(REPLICATE, state("succeeded", output=None)).kind == "upstream_error"
    assert failed(REPLICATE, {"status": "starting"}).kind == "upstream_error"


# ----------------------------------------------------------------------------------------- all

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["succeed", "Ready", "succeeded", "COMPLETED", "SUCCEEDED", "starting", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("output", "task_id", "task_status", "choices", "results", "data", "status"),
                    *("polling_url", "status_url", "response_url", "images", "urls", "get", "url"),
                    *("result", "sample", "code", "message", "error", "details", "task_result"),
                    *("has_nsfw_concepts", "seed"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
).map(lambda value: json.dumps(value).encode())


@pytest.mark.parametrize("name", ALL)
@given(bodies=st.lists(JUNK | st.binary(max_size=20), min_size=3, max_size=3))
def test_garbage_is_an_upstream_error_or_an_answer(name: str, bodies: list[bytes]) -> None:
    at = route(name)
    adapter = pictures.adapter(name)
    adapter.explain(Head(500, {}), bodies[0])
    try:
        result = adapter.read(pictures.request(at), at, OK, bodies[0])
        for body in bodies[1:]:
            if isinstance(result, Again):
                result = result.read(OK, body)
    except UpstreamError:
        pass
