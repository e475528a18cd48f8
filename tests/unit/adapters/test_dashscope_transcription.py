"""Speech recognition on DashScope.

Exchanges written from docs.qwencloud.com ("Qwen-ASR", sync and query result), reference/media/
audio.md section 3.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.adapters.sounds import OK, WAV, adapter, read, rendered, reply, request, route, sent
from tokenmarket.adapters.protocol import Again, Reply, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.uploads import Input, Memory, Upload, joined
from tokenmarket.core.usage import Usage

SYNC = route("dashscope", upstream_model="qwen3-asr-flash")
QWEN = route("dashscope", upstream_model="qwen3-asr-flash-filetrans")
FUN = route("dashscope", upstream_model="fun-asr")
ADDRESS = "https://ours.example/f/1"


def task(at: Route, **members: Any) -> UpstreamRequest:
    """The order of a file that has an address already."""
    made = request(at, **members)
    made.inputs = (Input("audio", "file", url=ADDRESS),)
    return adapter(at).build(made, at, now_s=0)


def test_which_way_a_model_goes() -> None:
    ways = {
        "qwen3-asr-flash": "bytes",
        "qwen3-asr-flash-filetrans": "url",
        "paraformer-v2": "url",
        "fun-asr": "url",
        "fun-asr-flash-2026-06-15": "bytes",
    }
    for name, way in ways.items():
        at = route("dashscope", upstream_model=name)
        assert adapter(at).input_mode(at) == way
    at = route("dashscope", upstream_model="new", asr_api="file")
    assert adapter(at).input_mode(at) == "url"


def test_the_sound_goes_along_with_its_context() -> None:
    call = sent(SYNC, language="de", prompt="Names: Ada", temperature=0.1)
    assert call.from_root
    assert call.path == "/api/v1/services/aigc/multimodal-generation/generation"
    sound = "data:audio/wav;base64," + base64.b64encode(WAV).decode()
    assert json.loads(joined(call.body)) == {
        "model": "qwen3-asr-flash",
        "input": {
            "messages": [
                {"role": "system", "content": [{"text": "Names: Ada"}]},
                {"role": "user", "content": [{"audio": sound}]},
            ]
        },
        "parameters": {"asr_options": {"language": "de"}},
    }
    assert call.dropped == ("temperature",)


def test_a_file_that_is_too_large_inline_may_go_elsewhere() -> None:
    made = request(SYNC)
    data = Memory(bytes(8_000_000))
    made.inputs = (
        Input("audio", "file", upload=Upload("file", "a", "audio/wav", data, 0, data.size)),
    )
    with pytest.raises(ApiError) as refused:
        adapter(SYNC).build(made, SYNC, now_s=0)
    assert (refused.value.code, refused.value.param) == ("REQUEST_002", "file")


def test_it_tells_no_times() -> None:
    with pytest.raises(ApiError) as refused:
        sent(SYNC, response_format="vtt")
    assert refused.value.details == {"legal": ["json", "text"]}


def test_the_answer() -> None:
    found = reply(
        SYNC,
        {
            "request_id": "568e",
            "output": {
                "choices": [
                    {
                        "finish_reason": "stop",
                        "message": {
                            "annotations": [{"language": "zh", "type": "audio_info"}],
                            "content": [{"text": "你好。"}],
                            "role": "assistant",
                        },
                    }
                ]
            },
            "usage": {"seconds": 3, "output_tokens_details": {"text_tokens": 6}},
        },
    )
    assert (found.upstream_id, found.usage) == ("568e", Usage(audio_ms=3000))
    assert rendered(found, "text") == "你好。\n"


def test_a_task_is_ordered_asked_for_and_its_result_fetched() -> None:
    call = task(FUN, language="de", response_format="diarized_json", keywords=["Ada"])
    assert call.from_root
    assert ("x-dashscope-async", "enable") in call.headers
    assert json.loads(joined(call.body)) == {
        "model": "fun-asr",
        "input": {"file_urls": [ADDRESS]},
        "parameters": {
            "channel_id": [0],
            "language_hints": ["de"],
            "diarization_enabled": True,
        },
    }
    assert call.dropped == ("keywords",)

    pending = {"output": {"task_status": "PENDING", "task_id": "t-1"}}
    step: Reply | Again = read(FUN, pending, response_format="diarized_json")
    for _ in range(2):
        assert isinstance(step, Again)
        assert (step.request.path, step.request.method) == ("/api/v1/tasks/t-1", "GET")
        assert step.request.from_root
        assert not step.elsewhere
        step = step.read(OK, msgspec.json.encode(pending))
    assert isinstance(step, Again)
    done = {
        "output": {
            "task_id": "t-1",
            "task_status": "SUCCEEDED",
            "results": [
                {
                    "subtask_status": "SUCCEEDED",
                    "transcription_url": "http://result.oss-cn-beijing.aliyuncs.com/1?Signature=x",
                }
            ],
        },
        "usage": {"duration": 3},
    }
    step = step.read(OK, msgspec.json.encode(done))
    assert isinstance(step, Again)
    assert step.elsewhere
    assert step.request.url == "https://result.oss-cn-beijing.aliyuncs.com/1?Signature=x"
    found = step.read(OK, msgspec.json.encode(STORED))
    assert isinstance(found, Reply)
    assert found.usage == Usage(audio_ms=3000)
    assert rendered(found, "srt") == "1\n00:00:00,100 --> 00:00:00,900\nHallo Welt.\n\n"
    assert '"speaker":"A"' in rendered(found, "diarized_json")
    words = json.loads(rendered(found, "verbose_json", "word"))["words"]
    assert words == [
        {"word": "Hallo", "start": 0.1, "end": 0.4},
        {"word": "Welt.", "start": 0.5, "end": 0.9},
    ]


STORED = {
    "file_url": ADDRESS,
    "properties": {"original_duration_in_milliseconds": 2500, "channels": [0]},
    "transcripts": [
        {
            "channel_id": 0,
            "text": "Hallo Welt.",
            "sentences": [
                {
                    **{"begin_time": 100, "end_time": 900, "text": "Hallo Welt.", "speaker_id": 0},
                    "words": [
                        {"begin_time": 100, "end_time": 400, "text": "Hallo", "punctuation": ""},
                        {"begin_time": 500, "end_time": 900, "text": "Welt", "punctuation": "."},
                    ],
                }
            ],
        }
    ],
}


def test_qwen_s_task_has_other_names() -> None:
    call = task(
        QWEN, language="de", response_format="verbose_json", timestamp_granularities=["word"]
    )
    body = json.loads(joined(call.body))
    assert body["input"] == {"file_url": ADDRESS}
    assert body["parameters"] == {"channel_id": [0], "language": "de", "enable_words": True}
    with pytest.raises(ApiError):
        task(QWEN, response_format="diarized_json")
    done = {
        "output": {
            "task_status": "SUCCEEDED",
            "result": {"transcription_url": "https://r.oss-cn-beijing.aliyuncs.com/1"},
        },
        "usage": {"seconds": 4},
    }
    step = read(QWEN, done)
    assert isinstance(step, Again)
    found = step.read(OK, msgspec.json.encode(STORED))
    assert isinstance(found, Reply)
    assert found.usage == Usage(audio_ms=4000)


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        (
            {"task_status": "FAILED", "code": "DataInspectionFailed", "message": "x"},
            "content_policy",
        ),
        ({"task_status": "FAILED", "code": "Odd", "message": "x"}, "upstream_error"),
        ({"task_status": "UNKNOWN"}, "upstream_error"),
        ({"task_status": "SUCCEEDED"}, "upstream_error"),
        ({"task_status": "PENDING", "task_id": "../../x"}, "upstream_error"),
        (
            {"task_status": "FAILED", "results": [{"code": "SUCCESS_WITH_NO_VALID_FRAGMENT"}]},
            "bad_request",
        ),
        ({}, "upstream_error"),
    ],
)
def test_a_task_that_fails(output: dict[str, Any], kind: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        read(FUN, {"output": output})
    assert caught.value.kind == kind


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("output", "choices", "message", "content", "text", "annotations", "usage"),
                    *("task_status", "results", "transcripts", "sentences", "words", "begin_time"),
                ]
            ),
            inner | st.sampled_from(["SUCCEEDED", "PENDING"]),
            max_size=5,
        )
    ),
    max_leaves=15,
)


@pytest.mark.parametrize("at", [SYNC, FUN], ids=["sync", "file"])
@given(body=JSON)
def test_garbage_is_an_answer_or_an_upstream_error(at: Route, body: object) -> None:
    done = {"output": {"task_status": "SUCCEEDED", "results": [{"transcription_url": "https://x"}]}}
    try:
        read(at, body)
        if at is FUN:
            step = read(at, done)
            assert isinstance(step, Again)
            found = step.read(OK, msgspec.json.encode(body))
            assert isinstance(found, Reply)
            rendered(found, "json")
    except UpstreamError:
        return
