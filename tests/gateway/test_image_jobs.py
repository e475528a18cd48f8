"""Pictures that an upstream makes as a job, through the whole gateway: the order, the question at
the address that it gave, the file from there, and the price."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.gateway.site import Site
from tests.gateway.upstream import Upstream, answers, http, raw
from tests.unit.adapters.pictures import PNG

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
GENERATIONS = "/api/v1/images/generations"
_CATALOG = """
[[provider]]
name = "jobs"
adapter = "bfl"
base_url = "http://127.0.0.1:PORT/jobs/v1"
api_keys = ["the-key"]
[[model]]
id = "job-picture"
operation = "images"
name = { en = "Picture by job", zh = "任务图像" }
vendor = "tests"
default_provider = "jobs"
[[route]]
model = "job-picture"
provider = "jobs"
upstream_model = "flux"
price = [{ unit = "image", usd = "0.04" }]
"""


def CATALOG(upstream: Upstream) -> str:
    return _CATALOG.replace("PORT", str(upstream.port))


ASK: dict[str, Any] = {"model": "job-picture", "prompt": "a lake", "size": "1024x768"}


def job(site: Site, host: str = "127.0.0.1") -> dict[str, str]:
    return {"id": "1", "polling_url": f"http://{host}:{site.upstream.port}/jobs/v1/get_result?id=1"}


async def test_a_job_is_asked_about_and_its_file_fetched(site: Site) -> None:
    org = await site.org()
    sample = f"http://127.0.0.1:{site.upstream.port}/files/1.png"
    site.upstream.will(
        "jobs",
        answers(200, job(site)),
        answers(200, {"id": "1", "status": "Ready", "result": {"sample": sample, "seed": 9}}),
    )
    site.upstream.will("files", raw(http(200, PNG, content_type="image/png")))
    answer = await org.post(GENERATIONS, ASK | {"response_format": "b64_json", "style": "vivid"})
    assert answer.status == 200, answer.body
    (item,) = answer.json["data"]
    assert base64.b64decode(item["b64_json"]) == PNG
    assert item["seed"] == 9
    order, question = site.upstream.of("jobs")
    assert order.json == {"prompt": "a lake", "width": 1024, "height": 768}
    assert question.path == "/jobs/v1/get_result?id=1"
    assert [seen.headers["x-key"] for seen in (order, question)] == ["the-key"] * 2
    (fetched,) = site.upstream.of("files")
    assert "x-key" not in fetched.headers
    await org.settled("0.04")


async def test_what_moderation_withholds_costs_nothing(site: Site) -> None:
    org = await site.org()
    site.upstream.will(
        "jobs",
        answers(200, job(site)),
        answers(200, {"id": "1", "status": "Content Moderated", "result": None}),
    )
    answer = await org.post(GENERATIONS, ASK)
    assert answer.status == 400, answer.body
    assert "moderat" in answer.json["error"]["message"].lower()
    await org.settled("0")


async def test_the_key_goes_to_no_other_site(site: Site) -> None:
    org = await site.org()
    before = len(site.upstream.of("jobs"))
    site.upstream.will("jobs", answers(200, job(site, "localhost")))
    answer = await org.post(GENERATIONS, ASK)
    assert answer.status == 502, answer.body
    assert len(site.upstream.of("jobs")) == before + 1
    await org.settled("0")
