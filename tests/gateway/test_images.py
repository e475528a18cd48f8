"""Pictures through the whole gateway, drawn by the built-in sandbox: every way to ask, both forms
of an answer, and what each costs."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.gateway.site import Org, Site
from tests.unit.adapters.pictures import DATA_URL, PNG
from tokenmarket.core.media.sniff import sniff

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
GENERATIONS = "/api/v1/images/generations"
EDITS = "/api/v1/images/edits"
VARIATIONS = "/api/v1/images/variations"
ASK: dict[str, Any] = {"model": "sandbox-image", "prompt": "a lake", "size": "256x256"}
FORM = {"content-type": "multipart/form-data; boundary=bb"}


def form(*files: str, **fields: str) -> bytes:
    """A form with one pixel in each of the files."""
    parts = [
        f'--bb\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    for name in files:
        head = f'--bb\r\ncontent-disposition: form-data; name="{name}"; filename="p.png"\r\n\r\n'
        parts.append(head.encode() + PNG + b"\r\n")
    return b"".join(parts) + b"--bb--\r\n"


def drawn(item: dict[str, Any]) -> bytes:
    data = base64.b64decode(item["b64_json"], validate=True)
    assert sniff(data) == "image/png"
    return data


async def made(org: Org, path: str, body: Any, **headers: str) -> dict[str, Any]:
    answer = await org.post(path, body, headers=headers)
    assert answer.status == 200, answer.body
    document: dict[str, Any] = answer.json
    assert set(document["usage"]) >= {"input_tokens", "output_tokens", "total_tokens", "cost"}
    return document


async def test_pictures_in_base64_and_what_they_cost(site: Site) -> None:
    org = await site.org()
    document = await made(org, GENERATIONS, ASK | {"n": 3, "quality": "high"})
    assert [bool(drawn(item)) for item in document["data"]] == [True] * 3
    assert document["size"] == "256x256"
    assert document["usage"]["cost"] == 0.024
    await org.settled("0.024")


async def test_pictures_as_addresses_of_ours(site: Site) -> None:
    org = await site.org()
    document = await made(org, GENERATIONS, ASK | {"response_format": "url"})
    (item,) = document["data"]
    assert "b64_json" not in item
    path = "/" + item["url"].split("/", 3)[3]
    answer = await site.get(path)  # signed: no key is needed
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert sniff(answer.body) == "image/png"
    await org.settled("0.004")


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (EDITS, form("image", model="sandbox-image", prompt="at night"), FORM),
        (EDITS, form("image[]", "image[]", "mask", model="sandbox-image", prompt="both"), FORM),
        (EDITS, ASK | {"images": [{"image_url": DATA_URL}]}, {}),
        (GENERATIONS, ASK | {"image": [DATA_URL]}, {}),
        (VARIATIONS, form("image", model="sandbox-image", n="1"), FORM),
    ],
)
async def test_pictures_of_pictures(
    site: Site, path: str, body: Any, headers: dict[str, str]
) -> None:
    org = await site.org()
    document = await made(org, path, body, **headers)
    drawn(document["data"][0])
    await org.settled("0.004")


@pytest.mark.parametrize(
    ("path", "body", "headers", "kind"),
    [
        (GENERATIONS, ASK | {"stream": True, "partial_images": 2}, {}, "image_generation"),
        (
            EDITS,
            form("image", model="sandbox-image", prompt="x", stream="true", partial_images="2"),
            FORM,
            "image_edit",
        ),
    ],
)
async def test_a_stream_of_partial_pictures(
    site: Site, path: str, body: Any, headers: dict[str, str], kind: str
) -> None:
    org = await site.org()
    answer = await org.post(path, body, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.events
    assert [event["type"] for event in events] == [
        f"{kind}.partial_image",
        f"{kind}.partial_image",
        f"{kind}.completed",
    ]
    for event in events:
        drawn(event)
    assert events[-1]["usage"]["cost"] == 0.004
    await org.settled("0.004")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (GENERATIONS, {"model": "sandbox-image"}, "prompt"),
        (GENERATIONS, ASK | {"n": 0}, "n"),
        (GENERATIONS, ASK | {"n": 11}, "n"),
        (GENERATIONS, ASK | {"size": "300x300"}, "size"),
        (GENERATIONS, ASK | {"quality": "ultra"}, "quality"),
        (GENERATIONS, ASK | {"output_format": "webp"}, "output_format"),
        (GENERATIONS, ASK | {"response_format": "hex"}, "response_format"),
        (GENERATIONS, ASK | {"partial_images": 1}, "partial_images"),
        (EDITS, ASK, "image"),
        (EDITS, ASK | {"images": [{"image_url": "file:///etc/passwd"}]}, "images[0].image_url"),
        (EDITS, ASK | {"images": [{"image_url": "data:image/png;base64,QUJD"}]}, None),
        (VARIATIONS, ASK | {"image": DATA_URL}, "prompt"),
    ],
)
async def test_bad_input_costs_nothing(
    site: Site, path: str, body: dict[str, Any], param: str | None
) -> None:
    org = await site.org()
    answer = await org.post(path, body)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"]) == (400, "REQUEST_001")
    if param is not None:
        assert error["param"] == param
    await org.settled()


async def test_a_private_address_is_not_fetched(site: Site) -> None:
    org = await site.org()
    address = f"http://127.0.0.1:{site.port}/healthz"
    answer = await org.post(EDITS, ASK | {"images": [{"image_url": address}]})
    error = answer.error(400, "REQUEST_001")
    assert error["param"] == "images[0].image_url"
    await org.settled()
