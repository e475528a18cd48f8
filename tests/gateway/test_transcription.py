"""Transcription over real sockets: forms in, every provider's own wire out, exact money."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.site import Org, Site
from tests.gateway.upstream import Upstream, answers
from tests.gateway.wire import Answer
from tests.unit.adapters.sounds import wav

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 1
PATH = "/api/v1/audio/transcriptions"
WAV = wav(2500)
_PROVIDER = """
[[provider]]
name = "{name}"
adapter = "{adapter}"
base_url = "http://127.0.0.1:{port}/{name}/v1"
api_keys = ["key-of-{name}"]
timeout_s = {{ connect = 0.5, first_byte = 2, idle = 1, total = 20 }}
"""
_MODEL = """
[[model]]
id = "t-{name}"
operation = "transcription"
name = {{ en = "T" }}
vendor = "tests"
capabilities = {{ translations = true }}
"""
_ROUTE = """
[[route]]
model = "t-{model}"
provider = "{provider}"
upstream_model = "up"
priority = {priority}
price = [{{ unit = "audio_second", usd = "0.01" }}]
"""
ADAPTERS = ("openai", "assemblyai", "deepgram", "elevenlabs", "siliconflow")


def _catalog(upstream: Upstream) -> str:
    """A model at each, and one at the first of them that falls back to Deepgram."""
    text, port = "", upstream.port
    for adapter in ADAPTERS:
        name = f"t{adapter}"
        text += _PROVIDER.format(name=name, adapter=adapter, port=port)
        text += _MODEL.format(name=adapter)
        text += _ROUTE.format(model=adapter, provider=name, priority=0)
    text += _PROVIDER.format(name="tbroken", adapter="openai", port=port)
    text += _MODEL.format(name="two")
    text += _ROUTE.format(model="two", provider="tbroken", priority=0)
    text += _ROUTE.format(model="two", provider="tdeepgram", priority=1)
    return text


CATALOG = _catalog


async def transcribe(
    org: Org, model: str, *, data: bytes = WAV, path: str = PATH, **fields: str
) -> Answer:
    """A form as the official SDKs write it, with a name and a type that are wrong."""
    lines = [
        f'--bb\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in {"model": f"t-{model}", **fields}.items()
    ]
    lines.append(
        '--bb\r\ncontent-disposition: form-data; name="file"; filename="a.mp3"\r\n'
        "content-type: audio/mpeg\r\n\r\n"
    )
    body = "".join(lines).encode() + data + b"\r\n--bb--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=bb"}
    return await org.post(path, body, headers=headers)


def whisper(text: str = "Hi there.", **more: Any) -> dict[str, Any]:
    return {
        "text": text,
        "duration": 2.5,
        "segments": [{"start": 0, "end": 2.4, "text": f" {text}"}],
        **more,
    }


HEARD: dict[str, Any] = {
    "metadata": {"duration": 2.5, "request_id": "dg"},
    "results": {"channels": [{"alternatives": [{"transcript": "Hi there."}]}]},
}


async def test_the_file_goes_on_as_what_it_is(site: Site) -> None:
    org = await site.org()
    seconds = {"usage": {"type": "duration", "seconds": 3}}
    site.upstream.will("topenai", answers(document=whisper(**seconds)))
    answer = await transcribe(org, "openai", response_format="srt", language="en")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body == b"1\n00:00:00,000 --> 00:00:02,400\nHi there.\n\n"
    seen = site.upstream.of("topenai")[-1]
    assert seen.path == "/topenai/v1/audio/transcriptions"
    assert WAV in seen.body
    assert b"content-type: audio/wav" in seen.body
    assert b"verbose_json" in seen.body
    await org.settled("0.03")


async def test_tokens_are_not_billed_where_seconds_are_the_price(site: Site) -> None:
    org = await site.org()
    usage = {"type": "tokens", "input_tokens": 9999, "output_tokens": 9999}
    site.upstream.will("topenai", answers(document={"text": "Hi", "usage": usage}))
    answer = await transcribe(org, "openai")
    assert answer.json["usage"]["seconds"] == 3  # 2.5 s, in whole seconds for the SDKs
    await org.settled("0.025")


async def test_a_length_that_cannot_be_is_capped(site: Site) -> None:
    org = await site.org()
    usage = {"type": "duration", "seconds": 86_400}
    site.upstream.will("topenai", answers(document={"text": "Hi", "usage": usage}))
    answer = await transcribe(org, "openai")
    receipt = await org.receipt(answer.id)
    assert float(receipt["amounts"]["charged"]) <= 0.3  # for 2.5 s, at least 10 s, two channels


async def test_a_job_of_several_steps(site: Site) -> None:
    org = await site.org()
    done = {"id": "j1", "status": "completed", "text": "Hi there.", "audio_duration": 3}
    site.upstream.will(
        "tassemblyai",
        answers(document={"upload_url": "https://cdn.example/1"}),
        answers(document={"id": "j1", "status": "completed", **done}),
    )
    answer = await transcribe(org, "assemblyai", response_format="text", prompt="x")
    assert (answer.status, answer.body) == (200, b"Hi there.\n")
    assert answer.headers["x-tokenmarket-dropped-params"] == "prompt"
    upload, order = site.upstream.of("tassemblyai")[-2:]
    assert upload.body == WAV
    assert upload.headers["authorization"] == "key-of-tassemblyai"  # no scheme
    assert order.json["audio_url"] == "https://cdn.example/1"
    await org.settled("0.03")


async def test_a_job_that_fails_costs_nothing(site: Site) -> None:
    org = await site.org()
    site.upstream.will(
        "tassemblyai",
        answers(document={"upload_url": "https://cdn.example/1"}),
        answers(document={"id": "j1", "status": "error", "error": "Something broke."}),
    )
    (await transcribe(org, "assemblyai")).error(502, "PROVIDER_001")
    assert len(site.upstream.of("tassemblyai")) >= 2
    await org.settled()


async def test_a_broken_upstream_is_replaced_by_one_of_another_wire(site: Site) -> None:
    org = await site.org()
    site.upstream.will("tbroken", answers(503, {"error": {"message": "down"}}))
    site.upstream.will("tdeepgram", answers(document=HEARD))
    answer = await transcribe(org, "two", temperature="0.5")
    assert answer.json["text"] == "Hi there."
    assert answer.headers["x-tokenmarket-dropped-params"] == "temperature"
    seen = site.upstream.of("tdeepgram")[-1]
    assert seen.body == WAV
    assert seen.headers["content-type"] == "audio/wav"
    assert seen.headers["authorization"] == "Token key-of-tdeepgram"
    await org.settled("0.025")


async def test_events_are_made_where_the_upstream_has_none(site: Site) -> None:
    org = await site.org()
    site.upstream.will("tdeepgram", answers(document=HEARD))
    answer = await transcribe(org, "deepgram", stream="true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    delta, done, end = answer.events
    assert (delta["type"], delta["delta"]) == ("transcript.text.delta", "Hi there.")
    assert (done["type"], done["text"]) == ("transcript.text.done", "Hi there.")
    assert done["usage"]["seconds"] == 3
    assert end == "[DONE]"
    await org.settled("0.025")


async def test_what_a_model_never_tells_is_refused_before_it_is_asked(site: Site) -> None:
    org = await site.org()
    answer = await transcribe(org, "siliconflow", response_format="srt")
    answer.error(400, "REQUEST_001", param="response_format", reason="unsupported_response_format")
    assert site.upstream.of("tsiliconflow") == []
    await org.settled()


async def test_times_that_did_not_come_are_an_error_not_an_invention(site: Site) -> None:
    org = await site.org()
    site.upstream.will("tdeepgram", answers(document=HEARD))  # no utterances, no words
    answer = await transcribe(org, "deepgram", response_format="vtt")
    answer.error(400, "REQUEST_001", param="response_format")
    await org.settled()


async def test_no_translation_at_a_provider_that_has_none(site: Site) -> None:
    org = await site.org()
    path = "/api/v1/audio/translations"
    answer = await transcribe(org, "deepgram", path=path)
    answer.error(503, "MODEL_002", param="model")
    site.upstream.will("topenai", answers(document=whisper("Good day.")))
    answer = await transcribe(org, "openai", path=path, response_format="text")
    assert (answer.status, answer.body) == (200, b"Good day.\n")
    assert site.upstream.of("topenai")[-1].path == "/topenai/v1/audio/translations"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'{"text":7}', b"\xff"])
async def test_garbage_costs_nothing(site: Site, body: bytes) -> None:
    org = await site.org()
    site.upstream.will("televenlabs", answers(document=body))
    answer = await transcribe(org, "elevenlabs")
    assert answer.status in (502, 503), json.dumps(answer.json)
    await org.settled()
