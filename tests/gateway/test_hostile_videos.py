"""Videos: wrong orders, wrong moments, other people's ids. Always the envelope, never a held or
charged nano-USD for what was refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.gateway.media_lane import BOUNDARY, FORM, files_of, form, nothing_left, part
from tests.gateway.site import Org, Site, eventually
from tests.gateway.wire import Answer, Wire, raw_request
from tests.unit.adapters.pictures import DATA_URL, PNG

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
VIDEOS = "/api/v1/videos"
GENERATIONS = "/api/v1/video/generations"
ORDER: dict[str, Any] = {
    "model": "sandbox-video",
    "prompt": "a lake",
    "seconds": 1,
    "size": "320x180",
}
HUGE = 10**40
PRIVATE = [
    "http://127.0.0.1/a", "https://127.0.0.1/a", "https://[::1]/a", "file:///etc/passwd",
    "ftp://a.example/b", "https://user:pass@a.example/", "//a.example", "gopher://a", "x",
    "https://0x7f.1/", "https://2130706433/", "https://" + "a" * 3000, "https://a.example:22/",
]  # fmt: skip


def shelved(site: Site) -> list[str]:
    folder = site.server.config.data_dir / "files"
    return [str(path) for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


WRONG: list[tuple[dict[str, Any], str | None]] = [
    *[({"model": wrong}, "model") for wrong in (..., None, "", 5)],
    ({"prompt": 5}, "prompt"),
    ({"prompt": "x" * 32_001}, "prompt"),
    ({"provider": "nobody"}, "provider"),
    ({"provider": 5}, "provider"),
    *[
        ({"seconds": wrong}, "seconds")
        for wrong in (0, -1, 1.5, "x", "", 3601, HUGE, 13, "1e3", 1e300, "٤")
    ],
    ({"seconds": 4, "duration": 5}, "duration"),
    ({"seconds": 4, "duration_sec": "5"}, "duration_sec"),
    *[({"size": wrong}, "size") for wrong in ("0x0", "x", "1x1", "99999x99999", "16:9", "321x181")],
    ({"size": 5}, "size"),
    ({"size": ..., "width": 320}, "height"),
    ({"width": 640, "height": 360}, "width and height"),
    ({"resolution": "9p"}, "resolution"),
    ({"size": ..., "resolution": "4k"}, "resolution"),
    ({"aspect_ratio": "wide"}, "aspect_ratio"),
    ({"aspect_ratio": "16:9", "ratio": "9:16"}, "ratio"),
    *[({"fps": wrong}, "fps") for wrong in (0, 241, "8", 7, HUGE)],
    *[({"seed": wrong}, "seed") for wrong in (-2, HUGE, "x")],
    *[({"n": wrong}, "n") for wrong in (0, 9, -1, "1", HUGE)],
    ({"n": 2}, "n"),
    ({"mode": "\r\n"}, "mode"),
    ({"camera": {"fixed": True, "type": "pan"}}, "camera.fixed"),
    ({"camera": {"config": {"zoom": 11}}}, "camera.config[...]"),
    ({"audio": "maybe"}, "audio"),
    ({"audio": True, "sound": "off"}, "sound"),
    ({"metadata": {str(i): 1 for i in range(17)}}, "metadata"),
    ({"metadata": {"a": "x" * 9000}}, "metadata"),
    ({"metadata": "{"}, "metadata"),
    ({"metadata": "[" * 5000}, "metadata"),
    ({"metadata": 5}, "metadata"),
    ({"duraton": 5}, "duraton"),
    ({"provider_options": {"duration": 9}}, "provider_options.duration"),
    ({"response_format": "b64_json"}, "response_format"),
    *[({"callback_url": url}, "callback_url") for url in PRIVATE],
    *[({"image": url}, "image") for url in PRIVATE[2:]],
    ({"image": "data:image/png;base64,%%%"}, "image"),
    ({"image": "data:image/png;base64,QUJD"}, "image"),
    ({"image": DATA_URL[:50]}, "image"),
    ({"image": DATA_URL, "image_tail": DATA_URL}, "image_tail"),
    ({"input_reference": {"file_id": "file-1"}}, "input_reference.file_id"),
    ({"input_references": [DATA_URL] * 17}, "input_references"),
    ({"frame_images": [{"image_url": "x", "frame_type": "middle"}]}, None),
]


def changed(change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (ORDER | change).items() if value is not ...}


@pytest.mark.parametrize(
    ("change", "param"), WRONG, ids=[f"{i}-{str(c)[:50]}" for i, (c, _) in enumerate(WRONG)]
)
async def test_a_wrong_order(site: Site, change: dict[str, Any], param: str | None) -> None:
    org = await site.org()
    before = shelved(site)
    for path in (VIDEOS, GENERATIONS):
        answer = await org.post(path, changed(change))
        assert answer.status == 400, answer.body[:400]
        error = answer.json["error"]
        assert error["code"] == "REQUEST_001", error
        assert error["param"] is not None, error
        if param is not None:
            assert error["param"] == param, error
    assert shelved(site) == before
    await org.settled()


async def test_bodies_that_are_no_order(site: Site) -> None:
    org = await site.org()
    bodies = [b"", b"null", b"[]", b"{", b'{"model":"sandbox-video","model":"x"}', b"\xff"]
    bodies += [b'{"model":"sandbox-video","metadata":' + b"[" * 100_000, b'{"seed":1e999}']
    for body in bodies:
        answer = await org.post(VIDEOS, body)
        assert (answer.status, answer.json["error"]["code"]) == (400, "REQUEST_001"), body[:50]
    for kind in ("text/plain", "multipart/mixed; boundary=x", "application/xml"):
        answer = await org.post(VIDEOS, ORDER, headers={"content-type": kind})
        assert answer.status in (400, 415)
    await org.settled()
    await nothing_left(site)


async def test_forms_that_are_no_order(site: Site) -> None:
    org = await site.org()
    fields = {name: str(value) for name, value in ORDER.items()}
    bodies = [
        form(fields, [("input_reference", "a.png", b"no picture")]),
        form(fields, [("input_reference", "a.png", PNG[:20])]),
        form(fields, [("input_reference", "a.svg", b"<svg xmlns='x'/>")]),
        form(fields, [("prompt", "a.txt", b"x")]),
        form(fields, [("nothing", "a.png", PNG)]),
        form(fields)[:-6],
        form(fields | {"a" + "[b]" * 50: "x"}),
        form(fields | {"seconds": "NaN"}),
        form(fields)[: -len(BOUNDARY) - 6] + part("seconds", b"2") + f"--{BOUNDARY}--\r\n".encode(),
    ]
    before = shelved(site)
    for body in bodies:
        answer = await org.post(VIDEOS, body, headers=FORM)
        assert (answer.status, answer.json["error"]["code"]) == (400, "REQUEST_001"), body[-300:]
    assert shelved(site) == before
    await org.settled()
    await nothing_left(site)


async def test_an_upload_without_the_money_for_it_is_not_kept(site: Site) -> None:
    org = await site.org("0.001")
    fields = {name: str(value) for name, value in ORDER.items()}
    before = shelved(site)
    for _ in range(3):
        body = form(fields, [("input_reference", "a.png", PNG)])
        answer = await org.post(VIDEOS, body, headers=FORM)
        assert (answer.status, answer.json["error"]["code"]) == (402, "BILLING_001")
    assert shelved(site) == before
    await org.settled()
    await nothing_left(site)


async def made(site: Site, org: Org, **more: Any) -> str:
    answer = await org.post(VIDEOS, ORDER | more)
    assert answer.status == 200, answer.body
    return str(answer.json["id"])


async def ask(site: Site, org: Org, method: str, path: str, **headers: str) -> Answer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    data = raw_request(method, path, key=org.key, headers=fields)
    return await site.raw(data, head_only=method == "HEAD")


async def ended(site: Site, org: Org, task: str, status: str) -> dict[str, Any]:
    async def over() -> bool:
        return (await org.get(f"{VIDEOS}/{task}")).json["status"] == status

    await eventually(over, f"the video is {status}", within_s=30)
    found: dict[str, Any] = (await org.get(f"{VIDEOS}/{task}")).json
    return found


async def test_a_video_that_is_not_ready(site: Site) -> None:
    org = await site.org()
    task = await made(site, org, model="sandbox-video-slow")
    early = await ask(site, org, "GET", f"{VIDEOS}/{task}/content")
    early.error(409, "REQUEST_008", reason="video_not_ready", retryable=False)
    assert early.headers["x-should-retry"] == "false"
    busy = await ask(site, org, "DELETE", f"{VIDEOS}/{task}")
    busy.error(409, "REQUEST_008", retryable=False)
    for _ in range(3):  # cancelled once, and then it is over
        answer = await ask(site, org, "POST", f"{VIDEOS}/{task}/cancel")
        assert answer.status in (200, 409), answer.body
    await ended(site, org, task, "failed")
    again = await ask(site, org, "POST", f"{VIDEOS}/{task}/cancel")
    assert again.status in (200, 409), again.body
    gone = await ask(site, org, "GET", f"{VIDEOS}/{task}/content")
    assert 400 <= gone.status < 500
    assert gone.headers["x-should-retry"] == "false"
    assert (await ask(site, org, "DELETE", f"{VIDEOS}/{task}")).status == 200
    (await ask(site, org, "DELETE", f"{VIDEOS}/{task}")).error(404, "REQUEST_004")
    (await ask(site, org, "GET", f"{VIDEOS}/{task}")).error(404, "REQUEST_004")


async def test_ranges_of_a_film(site: Site) -> None:
    org = await site.org()
    task = await made(site, org)
    await ended(site, org, task, "completed")
    path = f"{VIDEOS}/{task}/content"
    whole = await ask(site, org, "GET", path)
    size = len(whole.body)
    assert whole.status == 200
    (await ask(site, org, "GET", path, range=f"bytes={size}-"))
    beyond = await ask(site, org, "GET", path, range=f"bytes={size}-")
    assert beyond.status == 416
    assert beyond.headers["content-range"] == f"bytes */{size}"
    for nonsense in ("bytes=5-2", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=x-", "\xff"):
        assert (await ask(site, org, "GET", path, range=nonsense)).status in (200, 416)
    assert (await ask(site, org, "GET", path, range="bytes=0-9")).body == whole.body[:10]
    for query in ("variant=film", "index=-1", "index=x", "index=100", "variant=thumbnail&index=50"):
        answer = await ask(site, org, "GET", f"{path}?{query}")
        assert 400 <= answer.status < 500, (query, answer.body[:200])
    for query in ("variant=video&variant=video", "%ff=%ff", "variant=%00", "x=1"):
        assert (await ask(site, org, "GET", f"{path}?{query}")).status < 500


IDS = ["video_x", "x", "..", "%2e%2e", "video_" + "0" * 400, "video_%00", "video_" + "é", "'--"]


async def test_ids_that_are_none(site: Site) -> None:
    org = await site.org()
    for wrong in IDS:
        wire_id = wrong.encode("latin-1", "replace").decode("latin-1")
        for method, tail in (("GET", ""), ("GET", "/content"), ("DELETE", ""), ("POST", "/cancel")):
            answer = await ask(site, org, method, f"{VIDEOS}/{wire_id}{tail}")
            assert 400 <= answer.status < 500, (wrong, method, answer.body[:200])
    for path in (f"{VIDEOS}/", f"{VIDEOS}//content", "/api/v1/video/tasks/", f"{GENERATIONS}/x"):
        assert (await ask(site, org, "GET", path)).status == 404


async def test_lists_with_wrong_words(site: Site) -> None:
    org = await site.org()
    for query in (
        "after=x", "after=video_x", "limit=0", "limit=101", "limit=-1", "limit=x", "limit=1e2",
        "order=up", "status=done", "limit=%D9%A3", "after=%00",
    ):  # fmt: skip
        wire = query.encode().decode("latin-1")
        answer = await ask(site, org, "GET", f"{VIDEOS}?{wire}")
        assert answer.status == 400, (query, answer.body[:200])
        assert answer.json["error"]["param"] == query.partition("=")[0]
    unknown = "video_" + "0" * 32
    assert (await ask(site, org, "GET", f"{VIDEOS}?after={unknown}")).status in (200, 400, 404)
    for method in ("PUT", "PATCH", "DELETE"):
        (await ask(site, org, method, VIDEOS)).error(405, "REQUEST_005")


async def test_another_organisation_sees_nothing(site: Site) -> None:
    org, other = await site.org(), await site.org()
    task = await made(site, org)
    done = await ended(site, org, task, "completed")
    for method, path in (
        ("GET", f"{VIDEOS}/{task}"),
        ("HEAD", f"{VIDEOS}/{task}"),
        ("GET", f"{VIDEOS}/{task}/content"),
        ("DELETE", f"{VIDEOS}/{task}"),
        ("POST", f"{VIDEOS}/{task}/cancel"),
        ("GET", f"{GENERATIONS}/{task}"),
        ("GET", f"/api/v1/video/tasks/{task}"),
    ):
        answer = await ask(site, other, method, path)
        assert answer.status == 404, (method, path, answer.body)
    for path in (f"{VIDEOS}/{task}/remix", f"{VIDEOS}/extensions", f"{VIDEOS}/edits"):
        answer = await other.post(path, {"prompt": "night", "video": {"id": task}})
        assert answer.status in (400, 404), (path, answer.body)
    assert (await ask(site, other, "GET", VIDEOS)).json["data"] == []
    assert task not in (await ask(site, other, "GET", f"{VIDEOS}?after={task}")).body.decode()[:0]
    assert (await org.get(f"{VIDEOS}/{task}")).json["id"] == done["id"]
    await other.settled()


async def test_cut_orders(site: Site) -> None:
    org = await site.org()
    data = json.dumps(ORDER).encode()
    whole = raw_request("POST", VIDEOS, data, key=org.key)
    upload = form({"model": "sandbox-video"}, [("input_reference", "a.png", PNG + bytes(3 << 20))])
    other = raw_request("POST", VIDEOS, upload, key=org.key, headers=FORM)
    for body in (whole[:-5], other[:-100], other[: len(other) // 2]):
        wire = await Wire.open(site.port)
        await wire.write(body)
        wire.reset()
    await nothing_left(site)
    assert files_of(site.server.config.data_dir / "spool") == []
    await org.settled()
