# pyright: basic, reportDeprecated=false
"""Videos with the official SDK, unmodified: in the process, and at a provider over real HTTP."""

import base64
import io
import json
import subprocess
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from openai import ConflictError, NotFoundError, OpenAI

from tests.support.server import TAKES_EFFECT_S, Sandbox, Server, until
from tokenmarket.core.media.reader import BytesReader
from tokenmarket.core.media.video import video_info

# The SDK still has the methods; the service that they were made for has ended.
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
FAR = """
[[provider]]
name = "far"
adapter = "sandbox"
base_url = "{url}"
api_key_env = "FAR_API_KEY"
[[model]]
id = "far-video"
operation = "video"
name = {{ en = "Far", zh = "远" }}
vendor = "x"
default_provider = "far"
capabilities = {{ seconds = [4, 8], expected_s = 2, sizes = ["320x180"], image_to_video = true }}
[[route]]
model = "far-video"
provider = "far"
upstream_model = "sandbox-video"
price = [ {{ unit = "video_second", usd = "0.01" }} ]
"""


@pytest.fixture(scope="module")
def server(start: Callable[..., Server], sandbox: Sandbox) -> Server:
    running = start(FAR_API_KEY="sandbox-secret-key")
    running.apply(FAR.format(url=sandbox.url))

    def there() -> bool:
        listed = running.call("GET", "/api/v1/videos/models").json["data"]
        return any(row["id"] == "far-video" and row["available"] for row in listed)

    until(there, "the far provider", TAKES_EFFECT_S)
    return running


def money(server: Server) -> tuple[Decimal, Decimal]:
    """(balance, held)."""
    shown = server.get("/credits").json
    return Decimal(shown["balance"]), Decimal(shown["held"])


def order(**more: Any) -> Any:
    return {"prompt": "A paper plane", "seconds": "4", "size": "320x180", **more}


@pytest.mark.parametrize("model", ["sandbox-video", "far-video"])
def test_create_and_poll_then_download(client: OpenAI, server: Server, model: str) -> None:
    before = money(server)
    video = client.videos.create_and_poll(**order(model=model))
    assert (video.status, video.progress, video.seconds) == ("completed", 100, "4")
    film = client.videos.download_content(video.id).read()
    info = video_info(BytesReader(film))
    assert (info.width, info.height, info.duration_ms) == (320, 180, 4000)
    shown = server.call("GET", f"/api/v1/videos/{video.id}").json
    assert Decimal(shown["billing"]["charged"]) == Decimal("0.04")
    assert shown["outputs"][0]["bytes"] == len(film)
    after = money(server)
    assert before[0] - after[0] == Decimal("0.04")
    assert after[1] == before[1]
    part = server.call("GET", f"/api/v1/videos/{video.id}/content", headers={"range": "bytes=4-7"})
    assert (part.status, part.body) == (206, film[4:8])


def test_a_picture_from_which_it_is_made(client: OpenAI) -> None:
    picture = client.images.generate(model="sandbox-image", prompt="A cat", size="256x256")
    assert picture.data is not None
    file = io.BytesIO(base64.b64decode(picture.data[0].b64_json or ""))
    file.name = "cat.png"
    video = client.videos.create_and_poll(**order(model="far-video", input_reference=file))
    assert video.status == "completed"


def test_a_failed_video_says_why_and_costs_nothing(client: OpenAI, server: Server) -> None:
    before = money(server)
    video = client.videos.create_and_poll(**order(model="sandbox-video-fail"))
    assert video.status == "failed"
    assert video.error is not None
    assert video.error.code == "content_policy_violation"
    assert money(server) == before


def test_not_ready_lists_cancel_and_delete(client: OpenAI, server: Server) -> None:
    video = client.videos.create(**order(model="sandbox-video-slow"))
    assert video.status == "queued"
    with pytest.raises(ConflictError) as caught:
        client.videos.download_content(video.id)
    assert caught.value.response.headers["x-should-retry"] == "false"
    with pytest.raises(ConflictError):
        client.videos.delete(video.id)
    listed = [one.id for one in client.videos.list(limit=2)]
    assert video.id in listed
    assert len(listed) == len(set(listed))
    cancelled = server.call("POST", f"/api/v1/videos/{video.id}/cancel").json
    assert (cancelled["state"], cancelled["status"]) == ("cancelled", "failed")
    assert client.videos.delete(video.id).deleted
    with pytest.raises(NotFoundError):
        client.videos.retrieve(video.id)


def test_a_lost_create_is_found_again(client: OpenAI, server: Server) -> None:
    video = client.videos.create(**order(model="sandbox-video-lost"))
    shown = server.call("GET", f"/api/v1/videos/{video.id}").json
    assert shown["state"] == "submit_unknown"

    def found() -> bool:
        return server.call("GET", f"/api/v1/videos/{video.id}").json["state"] != "submit_unknown"

    until(found, "the lost create")


def test_curl_creates_as_the_original_page_does(server: Server) -> None:
    body = {"model": "sandbox-video", "prompt": "A paper plane", "size": "1280x720"}
    answer = subprocess.run(
        ["curl", "-sS", f"{server.base_url}/video/generations", "-H",
         f"Authorization: Bearer {server.key}", "-H", "Content-Type: application/json",
         "-d", json.dumps(body)],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    made = json.loads(answer.stdout)
    assert made["task_id"] == made["id"]

    def over() -> Any:
        shown = server.call("GET", f"/api/v1/video/generations/{made['id']}").json
        return shown if shown["data"]["status"] == "SUCCESS" else None

    shown = until(over, "the film")
    assert shown["code"] == "success"
    assert shown["data"]["result_url"] == shown["url"]
    assert shown["size"] == "1280x720"


def test_the_same_idempotency_key_is_one_task(client: OpenAI) -> None:
    headers = {"Idempotency-Key": "one"}
    first = client.videos.create(**order(model="sandbox-video"), extra_headers=headers)
    again = client.videos.create(**order(model="sandbox-video"), extra_headers=headers)
    assert first.id == again.id
    with pytest.raises(ConflictError):
        client.videos.create(
            **order(model="sandbox-video", prompt="Another"), extra_headers=headers
        )
