"""Recorded jobs of pictures through their adapters: create, polls, result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.recorded import exchanges
from tests.recorded.test_images import body_of, read, recordings
from tests.unit.adapters import pictures
from tests.unit.adapters.pictures import route
from tokenmarket.adapters.protocol import Again, Head, Reply
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.usage import Usage


def steps(folder: Path, *names: str) -> list[list[dict[str, Any]]]:
    """The exchanges of each recorded job, in their order."""
    jobs: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        for exchange in recordings(folder, name):
            key = exchange.get("sequence", {}).get("key") or exchange["response"]["body"]["id"]
            jobs.setdefault(key, []).append(exchange)
    return [
        sorted(job, key=lambda one: one.get("sequence", {}).get("index", 0))
        for job in jobs.values()
    ]


def run(adapter: str, job: list[dict[str, Any]], **capabilities: object) -> Reply | Again:
    """What the whole job comes to; each question must be the one that was recorded."""
    at = route(adapter, **capabilities)
    head = Head(200, exchanges.headers(job[0]))
    result = pictures.adapter(adapter).read(pictures.request(at), at, head, body_of(job[0]))
    for exchange in job[1:]:
        assert isinstance(result, Again)
        asked = result.request.url or result.request.path
        assert asked.partition("?")[0] in exchange["request"]["url"]
        result = result.read(Head(200, exchanges.headers(exchange)), body_of(exchange))
    return result


def test_dashscope_tasks(recorded: Path) -> None:
    done = 0
    for job in steps(recorded, "qwen.images", "qwen.task_poll"):
        if not job[0]["request"]["url"].endswith("/image-synthesis"):
            continue
        result = run("dashscope", job)
        final = job[-1]["response"]["body"]
        if final["output"]["task_status"] != "SUCCEEDED":
            assert isinstance(result, Again)
            continue
        assert isinstance(result, Reply)
        assert [made.url for made in result.produced] == [
            item["url"] for item in final["output"]["results"]
        ]
        assert result.usage == Usage(images=final["usage"]["image_count"])
        done += 1
    assert done >= 2


def test_dashscope_s_order_is_written_as_recorded(recorded: Path) -> None:
    orders = [
        exchange["request"]
        for exchange in recordings(recorded, "qwen.images")
        if exchange["request"]["body"]["parameters"]
    ]
    assert orders
    for order in orders:
        theirs = order["body"]
        at = route("dashscope", protocol="synthesis", n_per_call=4)
        path, body, _ = pictures.sent_json(
            at,
            prompt=theirs["input"]["prompt"],
            negative_prompt=theirs["input"]["negative_prompt"],
            n=theirs["parameters"]["n"],
            size=theirs["parameters"]["size"].replace("*", "x"),
        )
        assert order["url"].endswith(path)
        assert body == theirs | {"model": "theirs"}


def test_bfl(recorded: Path) -> None:
    (job,) = steps(recorded, "bfl.images", "bfl.image_poll")
    job.sort(key=lambda one: one["request"]["url"])  # get_result?attempt=0, 1; the order first
    order = next(one for one in job if one["request"]["method"] == "POST")
    polls = [one for one in job if one is not order]
    result = run("bfl", [order, *polls])
    assert isinstance(result, Reply)
    (made,) = result.produced
    assert made.url == polls[-1]["response"]["body"]["result"]["sample"]
    assert result.usage == Usage(images=1)


def test_fal(recorded: Path) -> None:
    for exchange in recordings(recorded, "fal.images"):
        reply = read("fal", exchange)
        theirs = exchange["response"]["body"]["images"]
        assert [(made.url, made.content_type) for made in reply.produced] == [
            (item["url"], item["content_type"]) for item in theirs
        ]


def test_replicate(recorded: Path) -> None:
    seen: set[str] = set()
    for name in ("replicate.prediction_create", "replicate.prediction_poll"):
        for exchange in recordings(recorded, name):
            theirs = exchange["response"]["body"]
            status = theirs.get("status")
            seen.add(status)
            if status in ("canceled", "failed"):
                with pytest.raises(UpstreamError):
                    run("replicate", [exchange])
                continue
            result = run("replicate", [exchange])
            if isinstance(result, Again):
                assert status in ("starting", "processing")
                assert result.request.url == theirs["urls"]["get"]
            else:
                assert status == "succeeded"
                assert [made.url for made in result.produced] == theirs["output"]
    assert {"starting", "processing", "succeeded", "canceled"} <= seen


@pytest.mark.parametrize("name", ["replicate", "fal"])
def test_refusals(recorded: Path, name: str) -> None:
    for exchange in recordings(recorded, f"{name}.error"):
        head = Head(exchange["response"]["status"], exchanges.headers(exchange))
        error = pictures.adapter(name).explain(head, body_of(exchange))
        assert error.kind == "bad_request"
        assert len(error.message) > 8
