"""Recorded creates and polls of videos through their adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.recorded import exchanges
from tests.unit.adapters.videos import handle, order, route
from tokenmarket.adapters import (
    dashscope_videos,
    fal_videos,
    gemini_videos,
    replicate_videos,
    xai_videos,
)
from tokenmarket.adapters.protocol import Head
from tokenmarket.adapters.video_protocol import (
    Accepted,
    Ended,
    Failed,
    Fetch,
    Observation,
    ProviderCost,
    Running,
    Succeeded,
)
from tokenmarket.core.usage import Usage


def recordings(folder: Path, name: str) -> list[dict[str, Any]]:
    """The exchanges of one file; the test is skipped where it is absent."""
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"no recording {name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def head(exchange: dict[str, Any]) -> Head:
    return Head(exchange["response"]["status"], exchanges.headers(exchange))


def test_wan(recorded: Path) -> None:
    """From the create to the file: two orders of wanx2.1-t2v-turbo."""
    adapter, where = dashscope_videos.VIDEO, route("dashscope", "wanx2.1-t2v-turbo")
    polls = recordings(recorded, "qwen.task_poll")
    ended = 0
    for exchange in recordings(recorded, "qwen.video"):
        body = exchanges.body_bytes(exchange)
        accepted = adapter.accepted(order(), where, head(exchange), body)
        assert isinstance(accepted, Accepted)
        assert accepted.observation == Running(queued=True, provider_state="PENDING")
        task = handle(order(seconds=5), upstream_id=accepted.upstream_id)
        asked = adapter.poll(task, where)
        for poll in polls:
            if poll["sequence"]["key"] != exchange["sequence"]["key"]:
                continue
            assert poll["request"]["url"].endswith(asked.path)
            seen = adapter.observe(task, where, head(poll), exchanges.body_bytes(poll))
            if isinstance(seen, Succeeded):
                theirs = poll["response"]["body"]
                assert seen.outputs[0].file.url == theirs["output"]["video_url"]
                assert (seen.outputs[0].width, seen.outputs[0].height) == (1280, 720)
                assert seen.usage == Usage(video_ms=5000)
                ended += 1
            else:
                assert seen == Running(provider_state="RUNNING")
    assert ended == 2


def test_veo_at_gemini(recorded: Path) -> None:
    """A create, a poll without ``done``, and the file behind the key."""
    base_url = "https://generativelanguage.googleapis.com/v1beta"
    adapter = gemini_videos.VIDEO
    where = route("gemini", "veo-3.1-lite-generate-preview", base_url)
    made, *polls = recordings(recorded, "gemini.video")
    accepted = adapter.accepted(order(), where, head(made), exchanges.body_bytes(made))
    assert isinstance(accepted, Accepted)
    task = handle(upstream_id=accepted.upstream_id)
    seen: list[object] = []
    for poll in polls:
        assert poll["request"]["url"] == base_url + adapter.poll(task, where).path
        seen.append(adapter.observe(task, where, head(poll), exchanges.body_bytes(poll)))
    running, done = seen
    assert running == Running(provider_state="running")
    assert isinstance(done, Succeeded)
    assert done.outputs[0].file.credentialed
    assert (
        done.outputs[0].file.url
        == polls[-1]["response"]["body"]["response"]["generateVideoResponse"]["generatedSamples"][
            0
        ]["video"]["uri"]
    )


def test_interactions_that_made_no_video(recorded: Path) -> None:
    """Texts of other models: each is over without a video, or still running."""
    adapter, where = gemini_videos.VIDEO, route("gemini", "gemini-omni-1.1-flash")
    states: dict[str, type[Observation]] = {
        "completed": Failed,
        "requires_action": Failed,
        "incomplete": Failed,
        "in_progress": Running,
    }
    met: set[str] = set()
    for exchange in recordings(recorded, "gemini.interactions"):
        body = exchanges.body_bytes(exchange)
        accepted = adapter.accepted(order(), where, head(exchange), body)
        assert isinstance(accepted, Accepted)
        state = exchange["response"]["body"]["status"]
        seen = adapter.observe(handle(), where, head(exchange), body)
        assert isinstance(seen, states[state]), state
        met.add(state)
    assert met == states.keys()


def test_grok_imagine(recorded: Path) -> None:
    """One second of grok-imagine-video, from the create to the file and its price."""
    adapter, where = xai_videos.VIDEO, route("xai", "grok-imagine-video")
    ordered = order(seconds=1, resolution="480p")
    create, *polls = recordings(recorded, "xai.video")
    accepted = adapter.accepted(ordered, where, head(create), exchanges.body_bytes(create))
    assert isinstance(accepted, Accepted)
    task = handle(ordered, upstream_id=accepted.upstream_id)
    seen = [adapter.observe(task, where, head(p), exchanges.body_bytes(p)) for p in polls]
    assert seen[:-1] == [
        Running(progress=percent, provider_state="pending") for percent in (1, 18, 56, 94)
    ]
    assert all(p["request"]["url"].endswith(adapter.poll(task, where).path) for p in polls)
    done = seen[-1]
    assert isinstance(done, Succeeded)
    assert done.outputs[0].file.url == polls[-1]["response"]["body"]["video"]["url"]
    assert done.usage == Usage(video_ms=1000)
    assert done.cost == ProviderCost("0.05", "USD")


def test_replicate(recorded: Path) -> None:
    """Creates, polls and a cancel. No recorded prediction made a video and was polled to its end,
    so the finished ones are pictures: any address is read in the same way."""
    adapter, where = replicate_videos.VIDEO, route("replicate", "o/m")
    for exchange in recordings(recorded, "replicate.prediction_create"):
        body = exchanges.body_bytes(exchange)
        accepted = adapter.accepted(order(), where, head(exchange), body)
        theirs = exchange["response"]["body"]
        assert isinstance(accepted, Accepted)
        assert accepted.upstream_id == theirs["id"]
        assert isinstance(accepted.observation, Running)
        assert accepted.observation.provider_state in (theirs["status"], "")
    states: set[str] = set()
    for exchange in recordings(recorded, "replicate.prediction_poll"):
        theirs = exchange["response"]["body"]
        seen = adapter.observe(
            handle(upstream_id=theirs["id"]), where, head(exchange), exchanges.body_bytes(exchange)
        )
        assert isinstance(seen, Running | Succeeded | Ended)
        assert seen.provider_state == theirs["status"]
        states.add(theirs["status"])
        if isinstance(seen, Succeeded):
            assert [item.file.url for item in seen.outputs] == theirs["output"]
    assert {"starting", "processing", "canceled"} <= states


def test_replicate_refusals(recorded: Path) -> None:
    for exchange in recordings(recorded, "replicate.error"):
        error = replicate_videos.VIDEO.explain(head(exchange), exchanges.body_bytes(exchange))
        assert error.kind == "bad_request"
        assert error.message


def test_fal(recorded: Path) -> None:
    """What models answer, which is what the second address of a finished job answers."""
    adapter, where = fal_videos.VIDEO, route("fal", "fal-ai/hunyuan-video")
    task = handle(ref={"app": "fal-ai/hunyuan-video"})
    for exchange in recordings(recorded, "fal.video"):
        done = adapter.observe(task, where, head(exchange), b'{"status":"COMPLETED"}')
        assert isinstance(done, Fetch)
        seen = done.read(head(exchange), exchanges.body_bytes(exchange))
        theirs = exchange["response"]["body"]
        assert isinstance(seen, Succeeded)
        assert seen.outputs[0].file.url == theirs["video"]["url"]
        assert seen.facts == {"seed": theirs["seed"]}
    for exchange in recordings(recorded, "fal.error"):
        assert adapter.explain(head(exchange), exchanges.body_bytes(exchange)).kind == "bad_request"
