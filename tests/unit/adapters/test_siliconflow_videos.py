"""Videos at SiliconFlow. Exchanges written from public clients (video_contract.md section 1)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.unit.adapters.videos import (
    BODIES,
    OK,
    STATUSES,
    answer,
    create,
    handle,
    order,
    picture,
    route,
    sent,
    survives,
)
from tokenmarket.adapters.protocol import Head
from tokenmarket.adapters.siliconflow_videos import VIDEO
from tokenmarket.adapters.video_protocol import Accepted, Failed, Running, Succeeded, Unknown
from tokenmarket.core.errors import ApiError, UpstreamError

HERE = route("siliconflow", "Wan-AI/Wan2.2-I2V-A14B")


def seen(**document: Any) -> Any:
    return VIDEO.observe(handle(), HERE, OK, answer(document))


def test_the_create() -> None:
    request = order(
        width=1280,
        height=720,
        resolution="720p",
        aspect_ratio="16:9",
        given=("size",),
        seed=7,
        negative_prompt="rain",
        fps=24,
        inputs=(picture("first_frame"),),
    )
    built = create(VIDEO, request, HERE)
    assert built.path == "/video/submit"
    assert sent(built) == {
        "model": "Wan-AI/Wan2.2-I2V-A14B",
        "prompt": "a lake",
        "image_size": "1280x720",
        "seed": 7,
        "negative_prompt": "rain",
        "image": "data:image/png;base64,UE5H",
    }
    assert built.dropped == ("fps",)


@pytest.mark.parametrize("changes", [{"seconds": 5}, {"audio": True}, {"n": 2}])
def test_what_cannot_be_asked_for_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        create(VIDEO, order(**changes), HERE)
    assert caught.value.code == "REQUEST_002"


def test_accepted_and_asked_for() -> None:
    assert VIDEO.accepted(order(), HERE, OK, answer({"requestId": "r"})) == Accepted("r")
    assert isinstance(VIDEO.accepted(order(), HERE, OK, b"{}"), Unknown)
    with pytest.raises(UpstreamError) as caught:
        VIDEO.accepted(order(), HERE, OK, answer({"code": 20012, "message": "no model"}))
    assert caught.value.kind == "not_found"
    asked = VIDEO.poll(handle(), HERE)
    assert (asked.method, asked.path) == ("POST", "/video/status")
    assert sent(asked) == {"requestId": "up-1"}


def test_states() -> None:
    assert seen(status="InQueue") == Running(queued=True, provider_state="InQueue")
    assert seen(status="InProgress") == Running(provider_state="InProgress")
    done = seen(status="Succeed", results={"videos": [{"url": "https://x.example/v"}], "seed": 7})
    assert isinstance(done, Succeeded)
    assert done.outputs[0].file.url == "https://x.example/v"
    assert done.facts == {"seed": 7}
    over = seen(status="Failed", reason="sensitive content")
    assert isinstance(over, Failed)
    assert over.code == "content_policy_violation"
    for document in ({"status": "Done"}, {"status": "Succeed", "results": {"videos": []}}, {}):
        assert isinstance(seen(**document), Unknown)


def test_refusals() -> None:
    body = answer({"code": 50505, "message": "Model service overloaded"})
    assert VIDEO.explain(Head(503, {}), body).kind == "overloaded"


@given(STATUSES, BODIES)
def test_nothing_makes_it_raise(status: int, body: bytes) -> None:
    survives(VIDEO, HERE, status, body)
