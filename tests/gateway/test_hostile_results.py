"""Pictures that media upstreams give: what is none is neither handed on nor paid for, and nothing
is fetched from where nobody may go."""

from __future__ import annotations

import pytest

from tests.gateway.media_lane import addresses, media_lane, media_lanes, pictures
from tests.gateway.site import Site
from tests.gateway.upstream import Act, answers, http, raw, silent
from tests.unit.adapters.pictures import PNG_B64

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
CATALOG = media_lanes(60)


@pytest.mark.parametrize("shape", ["b64_json", "url"])
@pytest.mark.parametrize("data", ["é", "%%%", "QUJD", "aGVsbG8gd29ybGQ=", PNG_B64[:9]])
async def test_pictures_that_are_none(site: Site, shape: str, data: str) -> None:
    """Neither handed on nor paid for."""
    lane = media_lane(site)
    org = await site.org()
    lane.will("a", answers(document={"data": [{"b64_json": data}]}))
    path, body, _ = lane.ask("picture", response_format=shape)
    answer = await org.post(path, body)
    answer.error(502, "PROVIDER_001")
    await org.settled()


@pytest.mark.parametrize("wanted", ["b64_json", "url"])
@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/x.png",
        "https://127.0.0.1/x.png",
        "https://localhost/x.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x.png",
        "https://10.0.0.1/x.png",
        "https://0x7f000001/x.png",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x.png",
        "gopher://127.0.0.1/x",
        "//127.0.0.1/x.png",
        "https://user:pass@127.0.0.1/x",
        "https://" + "a" * 3000,
        "x",
    ],
)
async def test_result_addresses_that_are_not_fetched(site: Site, address: str, wanted: str) -> None:
    lane = media_lane(site)
    org = await site.org()
    lane.will("s", addresses(address))
    path, body, _ = lane.ask("pictures", response_format=wanted)
    (await org.post(path, body)).error(502, "PROVIDER_001")
    await org.settled()


BROKEN = answers(500, b"<html>oops</html>")
GARBAGE = answers(200, bytes(range(256)))
HUGE = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 99999999\r\n\r\n"
RESULTS: dict[str, Act] = {
    "redirects inside": raw(http(302, b"", headers=(("location", "http://127.0.0.1:1/x"),))),
    "redirects to itself": raw(http(302, b"", headers=(("location", "x.png"),))),
    "is not there": raw(http(404, b"")),
    "is too large": raw(HUGE, then="close"),
    "is a page": raw(http(200, b"<html>Access denied</html>", content_type="image/png")),
    "is empty": raw(http(200, b"", content_type="image/png")),
    "resets": raw(http(200, b"\x89PNG\r\n\x1a\n" * 50)[:-9], then="reset"),
    "says nothing": silent,
}


@pytest.mark.parametrize("fault", RESULTS)
async def test_a_result_that(site: Site, fault: str) -> None:
    lane = media_lane(site)
    org = await site.org()
    address = f"http://127.0.0.1:{site.upstream.port}/m{lane.n}s/x.png"
    lane.will("s", addresses(address), *[RESULTS[fault]] * 5)
    path, body, _ = lane.ask("pictures")
    answer = await org.post(path, body)
    assert answer.status in (502, 504), answer.body[:300]
    assert answer.json["error"]["code"] in ("PROVIDER_001", "PROVIDER_TIMEOUT")
    await org.settled()


async def test_some_of_several_pictures_fail(site: Site) -> None:
    """What was delivered is answered and paid, the rest named."""
    lane = media_lane(site)
    org = await site.org()
    one = answers(document={"images": [{"b64_json": PNG_B64}]})
    lane.will("s", one, BROKEN, one, GARBAGE)
    path, body, _ = lane.ask("pictures", n=4)
    answer = await org.post(path, body)
    assert answer.status == 200, answer.body[:300]
    assert len(answer.json["data"]) == 2
    assert "2 of 4" in answer.json["warnings"][0]
    await org.settled("0.02")


async def test_all_of_several_pictures_fail(site: Site) -> None:
    lane = media_lane(site)
    org = await site.org()
    lane.will("s", *[BROKEN] * 4)
    path, body, _ = lane.ask("pictures", n=4)
    (await org.post(path, body)).error(502, "PROVIDER_001")
    await org.settled()


async def test_more_pictures_than_were_asked_for(site: Site) -> None:
    lane = media_lane(site)
    org = await site.org()
    lane.will("a", pictures(1000))
    path, body, _ = lane.ask("picture", n=2)
    answer = await org.post(path, body)
    receipt = await org.receipt(answer.id)
    assert float(receipt["amounts"]["charged"]) <= 0.02
    await org.settled(receipt["amounts"]["charged"])
