"""Forms that are wrong in every way, at every path that takes one: 4xx with a reason, nothing held,
nothing left on disk, and the connection still in step where it lives on."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from tests.gateway.media_lane import (
    BOUNDARY,
    EDITS,
    FORM,
    IMAGES,
    RERANK,
    SPEECH,
    TRANSCRIPTIONS,
    TRANSLATIONS,
    VARIATIONS,
    WAV,
    MediaLane,
    form,
    media_lane,
    media_lanes,
    nothing_left,
    part,
)
from tests.gateway.site import CHAT, EMBEDDINGS, Org, Site
from tests.gateway.wire import Answer, Closed, Wire, raw_request
from tests.unit.adapters.pictures import PNG

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
CATALOG = media_lanes(1)
MIB = 1024 * 1024
END = f"--{BOUNDARY}--\r\n".encode()
EDIT = {"model": "sandbox-image", "prompt": "at night"}
HEAR = {"model": "sandbox-transcribe"}
PICTURE = ("image", "a.png", PNG)
SOUND = ("file", "a.wav", WAV)


async def sent(org: Org, path: str, body: bytes, kind: str = FORM["content-type"]) -> Answer:
    return await org.post(path, body, headers={"content-type": kind})


async def refused(
    site: Site, path: str, body: bytes, *, reason: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """400, with nothing held, charged or left."""
    org = await site.org()
    answer = await sent(org, path, body)
    found = answer.error(400, "REQUEST_001", reason=reason, param=param, fault="caller")
    await org.settled()
    await nothing_left(site)
    return found


@pytest.mark.parametrize("path", [CHAT, EMBEDDINGS, IMAGES, SPEECH, RERANK])
async def test_a_form_where_json_is_wanted(site: Site, path: str) -> None:
    org = await site.org()
    answer = await sent(org, path, form(EDIT, [PICTURE]))
    assert (answer.status, answer.json["error"]["code"]) == (415, "REQUEST_007")
    await org.settled()
    await nothing_left(site)


_LANES: dict[int, MediaLane] = {}


def _shared(site: Site) -> MediaLane:
    """For tests whose upstream always answers: nothing there cools down."""
    if id(site) not in _LANES:
        _LANES[id(site)] = media_lane(site)
    return _LANES[id(site)]


FILES: list[tuple[str, dict[str, str], list[tuple[str, str, bytes]], str]] = [
    (EDITS, EDIT, [], "image"),
    (VARIATIONS, {"model": "sandbox-image"}, [], "image"),
    (EDITS, EDIT, [("picture", "a.png", PNG)], "picture"),
    (EDITS, EDIT, [("prompt", "a.txt", b"at night")], "prompt"),
    (EDITS, EDIT, [("model", "a.txt", b"sandbox-image"), PICTURE], "model"),
    (EDITS, EDIT, [("mask", "a.png", PNG)], "image"),
    (EDITS, EDIT, [PICTURE, ("mask", "a.png", PNG), ("mask", "b.png", PNG)], "mask"),
    (EDITS, EDIT, [PICTURE] * 17, "image"),
    (EDITS, EDIT, [("image", "a.png", b"")], "image"),
    (VARIATIONS, EDIT, [PICTURE], "prompt"),
    (TRANSCRIPTIONS, HEAR, [], "file"),
    (TRANSCRIPTIONS, HEAR, [SOUND, SOUND], "file"),
    (TRANSCRIPTIONS, HEAR, [("audio", "a.wav", WAV)], "file"),
    (TRANSCRIPTIONS, HEAR, [SOUND, ("prompt", "a.txt", b"x")], "file"),
    (TRANSCRIPTIONS, HEAR, [("file", "a.wav", b"")], "file"),
    (TRANSCRIPTIONS, HEAR | {"file": "x"}, [], "file"),
]


@pytest.mark.parametrize(("path", "fields", "files", "param"), FILES)
async def test_wrong_files(
    site: Site,
    path: str,
    fields: dict[str, str],
    files: list[tuple[str, str, bytes]],
    param: str,
) -> None:
    await refused(site, path, form(fields, files), param=param)


FIELDS: list[tuple[str, dict[str, str], str]] = [
    (EDITS, {"model": ""}, "model"),
    (EDITS, {"prompt": ""}, "prompt"),
    *[
        (EDITS, {"n": n}, "n")
        for n in ("0", "-1", "11", "1.5", "one", "", "NaN", "1e400", "9" * 400)
    ],
    (EDITS, {"size": "7x7"}, "size"),
    (EDITS, {"stream": "maybe"}, "stream"),
    (EDITS, {"partial_images": "2"}, "partial_images"),
    (EDITS, {"mask": "x"}, "mask"),
    (EDITS, {"images": "x"}, "images"),
    (EDITS, {"image": "file:///etc/passwd"}, "image[0]"),
    (EDITS, {"provider": "nobody"}, "provider"),
    (EDITS, {"provider": '{"order":5}'}, "provider.order"),
    (EDITS, {"provider": '{"order":'}, "provider"),
    (EDITS, {"provider[order][x]": "a"}, "provider.order"),
    (EDITS, {"models[x]": "y"}, "models[x]"),
    *[
        (TRANSCRIPTIONS, {"temperature": wrong}, "temperature")
        for wrong in ("-1", "2", "hot", "nan", "NaN", "inf", "-inf", "1e400")
    ],
    (TRANSCRIPTIONS, {"response_format": "xml"}, "response_format"),
    (TRANSCRIPTIONS, {"stream": "true", "response_format": "srt"}, "response_format"),
    (TRANSCRIPTIONS, {"timestamp_granularities[]": "word"}, "timestamp_granularities"),
    (
        TRANSCRIPTIONS,
        {"timestamp_granularities[]": "year", "response_format": "verbose_json"},
        "timestamp_granularities[0]",
    ),
    (TRANSCRIPTIONS, {"chunking_strategy": '{"type":'}, "chunking_strategy"),
    (TRANSCRIPTIONS, {"known_speaker_names[9999]": "a"}, "known_speaker_names[9999]"),
    (TRANSLATIONS, {"model": "sandbox-translate", "language": "en"}, "language"),
    (TRANSLATIONS, {"model": "sandbox-translate", "stream": "true"}, "stream"),
    (
        TRANSLATIONS,
        {"model": "sandbox-translate", "response_format": "diarized_json"},
        "response_format",
    ),
]


@pytest.mark.parametrize(("path", "change", "param"), FIELDS)
async def test_wrong_fields(site: Site, path: str, change: dict[str, str], param: str) -> None:
    fields, file = (EDIT, PICTURE) if path == EDITS else (HEAR, SOUND)
    found = await refused(site, path, form(fields | change, [file]))
    assert found["param"] == param, found


def named(name: str, value: bytes = b"x") -> bytes:
    return form(HEAR)[: -len(END)] + part(name, value)


SHAPES: list[tuple[str, bytes, str]] = [
    ("no name", form(HEAR).replace(b'; name="model"', b"", 1), "malformed_form"),
    ("empty name", named("") + END, "malformed_form"),
    ("long name", named("x" * 300) + END, "malformed_form"),
    ("NUL in a name", named("a\x00b") + END, "malformed_form"),
    ("NUL in a value", named("a", b"x\x00y") + END, "malformed_form"),
    ("no UTF-8", named("a", b"\xff\xfe") + END, "malformed_form"),
    ("brackets 50 deep", named("a" + "[b]" * 50) + END, "malformed_form"),
    ("brackets that do not match", named("a[b") + END, "malformed_form"),
    ("a name twice", named("model") + END, "duplicate_field"),
    ("a name that contradicts", named("a") + part("a[b]", b"x") + END, "duplicate_field"),
    ("attachment", form(HEAR).replace(b"form-data", b"attachment", 1), "malformed_form"),
    (
        "encoded",
        form(HEAR)[: -len(END)]
        + part("a", b"eA==", None, "content-transfer-encoding: base64")
        + END,
        "malformed_form",
    ),
    (
        "two dispositions",
        form(HEAR)[: -len(END)]
        + part("a", b"x", None, 'content-disposition: form-data; name="b"')
        + END,
        "malformed_form",
    ),
    ("a header without end", form(HEAR)[:40], "cut"),
    ("cut in a file", form(HEAR, [SOUND])[:-100], "cut"),
    ("no closing boundary", form(HEAR, [SOUND])[: -len(END)], "cut"),
    ("half a boundary", form(HEAR, [SOUND])[:-4], "cut"),
    ("nothing", b"", "cut"),
    ("another boundary", form(HEAR, [SOUND]).replace(b"bb-0", b"cc-0"), "malformed_form"),
    ("line ends of Unix", form(HEAR, [SOUND]).replace(b"\r\n", b"\n"), "malformed_form"),
    ("garbage", bytes(range(256)) * 10, "malformed_form"),
]


@pytest.mark.parametrize(("body", "reason"), [s[1:] for s in SHAPES], ids=[s[0] for s in SHAPES])
async def test_shapes_that_are_no_form(site: Site, body: bytes, reason: str) -> None:
    found = await refused(site, TRANSCRIPTIONS, body, reason=reason)
    assert "\x00" not in (found["param"] or "")


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "x" * 300,
        "multipart/mixed; boundary=bb-0",
        "multipart/form-datax; boundary=bb-0",
        "application/x-www-form-urlencoded",
        "application/json",
        "audio/wav",
    ],
)
async def test_content_types_that_are_no_form(site: Site, kind: str) -> None:
    org = await site.org()
    answer = await sent(org, TRANSCRIPTIONS, form(HEAR, [SOUND]), kind)
    assert answer.status in (400, 415), answer.body
    answer.error(answer.status, {400: "REQUEST_001", 415: "REQUEST_007"}[answer.status])
    await org.settled()
    await nothing_left(site)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (form([("model", "x")] + [(f"f{i}", "v") for i in range(1001)]), "form_fields"),
        (form(HEAR, [(f"f{i}", "a", b"x") for i in range(65)]), "form_files"),
        (form(HEAR | {"prompt": "x" * (MIB + 1)}, [SOUND]), "form_value"),
        (form([(f"f{i}", "x" * MIB) for i in range(17)], [SOUND]), "form_value"),
        (b"\r\n".join([END[:-4]] * 5_000) + form(HEAR), "form_parts"),
    ],
)
async def test_too_much_of_it(site: Site, body: bytes, reason: str) -> None:
    org = await site.org()
    answer = await sent(org, TRANSCRIPTIONS, body)
    found = answer.json["error"]
    assert answer.status in (400, 413), answer.body[:300]
    if answer.status == 413:
        assert found["reason"] == reason
    await org.settled()
    await nothing_left(site)


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/passwd",
        "..\\..\\windows\\win.ini",
        "/etc/passwd",
        "a\x00.wav",
        'a.wav"; evil="b',
        "a.wav\\",
        "%00%0d%0aevil: 1",
        "\u202egpj.wav",
        "a" * 5000 + ".wav",
        ".",
        "..",
        " ",
        "<script>.wav",
        "CON",
        "файл.wav",
    ],
)
async def test_file_names_are_only_names(site: Site, name: str) -> None:
    """They reach the upstream as a harmless last part, or the form is refused."""
    lane = _shared(site)
    org = await site.org()
    before = len(lane.seen("a"))
    body = form({"model": lane.model("heard")}, [("file", name, WAV)])
    answer = await sent(org, TRANSCRIPTIONS, body)
    if answer.status == 200:
        seen = lane.seen("a")[before]
        told = seen.body.split(b'filename="')[1].split(b'"')[0].decode()
        assert told
        assert not set(told) & set('/\\"\r\n\x00%<>')
        assert told not in (".", "..")
        assert len(told) <= 100
        assert seen.body.count(b"content-disposition") == 3
    else:
        answer.error(400, "REQUEST_001")
    await org.settled(*(["0.001"] if answer.status == 200 else []))
    await nothing_left(site)


async def test_header_lines_in_names_reach_nobody(site: Site) -> None:
    lane = _shared(site)
    org = await site.org()
    file = part("file", WAV, "a.wav", "content-type: audio/wav", "evil: 1")
    body = form({"model": lane.model("heard")})[: -len(END)] + file + END
    assert (await sent(org, TRANSCRIPTIONS, body)).status == 200
    assert b"evil" not in lane.seen("a")[-1].body
    await org.settled("0.001")


async def test_our_boundary_cannot_be_guessed(site: Site) -> None:
    """A file that holds boundaries of all kinds is still one file."""
    lane = _shared(site)
    org = await site.org()
    inside = b"\r\n--bb-1\r\n--tm-0\r\n\r\n--\r\n--bb-0x\r\n"
    body = form({"model": lane.model("heard")}, [("file", "a.wav", WAV + inside)])
    answer = await sent(org, TRANSCRIPTIONS, body)
    if answer.status == 200:
        assert WAV + inside in lane.seen("a")[-1].body
        await org.settled("0.001")
    else:
        answer.error(400, "REQUEST_001", reason="malformed_form")
        await org.settled()
    await nothing_left(site)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("ending", ["reset", "close", "eof"])
async def test_an_upload_cut_at_every_stage(site: Site, share: float, ending: str) -> None:
    org = await site.org()
    for size in (100, 3 * MIB):
        body = form(HEAR, [("file", "a.wav", WAV + os.urandom(size))])
        whole = raw_request("POST", TRANSCRIPTIONS, body, key=org.key, headers=FORM)
        wire = await Wire.open(site.port)
        await wire.write(whole[: len(whole) - len(body) + int(len(body) * share)])
        if ending == "reset":
            wire.reset()
        elif ending == "close":
            await wire.close()
        else:
            wire.writer.write_eof()
            (await wire.answer()).error(400, "REQUEST_001", reason="cut")
        await nothing_left(site)
    await org.settled()


async def test_chunked_uploads(site: Site) -> None:
    org = await site.org()
    body = form(HEAR, [SOUND])
    head = raw_request("POST", TRANSCRIPTIONS, b"", key=org.key, headers=FORM)
    head = head.replace(b"content-length: 0", b"transfer-encoding: chunked")
    pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces)
    good = await site.raw(head + framed + b"0\r\n\r\n")
    assert good.status == 200, good.body
    org.asked += 1
    for nonsense in (b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"5\r\nabcdefgh\r\n"):
        answer = await site.raw(head + b"2\r\n--\r\n" + nonsense)
        answer.error(400, "REQUEST_001")
    wire = await Wire.open(site.port)
    await wire.write(head + framed)  # and never an end
    await wire.close()
    await org.settled(good.headers["x-tokenmarket-cost"])
    await nothing_left(site)


async def test_more_than_200_mib(site: Site) -> None:
    org = await site.org()
    length = {"content-length": str(200 * MIB + 1)}
    wire = await Wire.open(site.port)
    await wire.write(raw_request("POST", TRANSCRIPTIONS, b"", key=org.key, headers=FORM | length))
    (await wire.answer()).error(413, "REQUEST_006")
    head = raw_request("POST", TRANSCRIPTIONS, b"", key=org.key, headers=FORM)
    head = head.replace(b"content-length: 0", b"transfer-encoding: chunked")
    wire = await Wire.open(site.port)
    await wire.write(head)
    piece = b"%x\r\n%b\r\n" % (MIB, bytes(MIB))
    answer: Answer | None = None
    reading = asyncio.ensure_future(wire.answer())
    try:
        for _ in range(202):
            await wire.write(piece)
            if reading.done():
                break
        answer = await reading
    except (ConnectionError, Closed):
        answer = await reading
    answer.error(413, "REQUEST_006")
    await nothing_left(site)
    await org.settled()
