"""The sandbox's images: PNGs that decode to the asked size, OpenAI's answers and events."""

import base64
import json
import struct
import zlib
from typing import Any

import pytest
from openai.types import (
    ImageEditCompletedEvent,
    ImageEditPartialImageEvent,
    ImageGenCompletedEvent,
    ImageGenPartialImageEvent,
    ImagesResponse,
)

from tokenmarket.sandbox import probing
from tokenmarket.sandbox.behaviour import Script
from tokenmarket.sandbox.desk import Desk
from tokenmarket.sandbox.painting import Picture, named, png, seed_of


def decoded(data: bytes) -> tuple[int, int, list[bytes]]:
    """Width, height and rows of a PNG with one byte a pixel, checksums verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    offset = 8
    while offset < len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        body = data[offset + 8 : offset + 8 + length]
        (check,) = struct.unpack_from(">I", data, offset + 8 + length)
        assert check == zlib.crc32(kind + body)
        chunks[kind] = body
        offset += 12 + length
    width, height, *form = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert form == [8, 3, 0, 0, 0]
    assert len(chunks[b"PLTE"]) == 256 * 3
    pixels = zlib.decompress(chunks[b"IDAT"])
    assert len(pixels) == (width + 1) * height
    rows = [pixels[y * (width + 1) : (y + 1) * (width + 1)] for y in range(height)]
    assert {row[0] for row in rows} == {0}
    assert b"IEND" in chunks
    return width, height, [row[1:] for row in rows]


def ask(
    path: str = "generations",
    headers: dict[str, str] | None = None,
    host: str = "",
    desk: Desk | None = None,
    **fields: Any,
) -> Script:
    body = {"model": "sandbox-image", "prompt": "a paper plane", **fields}
    return (desk or Desk(lambda: 7)).answer(
        "POST", f"/v1/images/{path}", headers or {}, json.dumps(body).encode(), host=host
    )


def post(path: str = "generations", **fields: Any) -> tuple[int, Any]:
    script = ask(path, **fields)
    return script.status, json.loads(script.pieces[0])


def data_url(width: int = 60, height: int = 30) -> str:
    drawn = png(Picture(seed_of(b"source"), width, height))
    return "data:image/png;base64," + base64.b64encode(drawn).decode()


@pytest.mark.parametrize(("width", "height"), [(16, 16), (64, 640), (333, 77), (1024, 1024)])
@pytest.mark.parametrize("transparent", [False, True])
def test_a_picture_has_its_size_a_gradient_and_the_label(
    width: int, height: int, transparent: bool
) -> None:
    picture = Picture(seed_of(b"x"), width, height, transparent=transparent)
    data = png(picture)
    assert probing.picture(data) == probing.Probe("png", width, height)
    found_width, found_height, rows = decoded(data)
    assert (found_width, found_height) == (width, height)
    colours = set(b"".join(rows))
    assert (255 in colours) is transparent
    assert (b"tRNS" in data) is transparent
    assert len(colours) > (2 if transparent else 12)
    if width > 100 and height > 24:
        assert 250 in colours  # the label's ink
    assert data == png(picture)
    assert named(picture.name()) == picture


@pytest.mark.parametrize("name", ["", ".png", "AAAA.png", "é.png", "../../etc/passwd", "A" * 5000])
def test_only_its_own_file_names_are_pictures(name: str) -> None:
    assert named(name) is None
    assert Desk(lambda: 1).answer("GET", f"/v1/files/{name}", {}, b"").status == 404


def test_the_answer_is_openais() -> None:
    status, body = post(size="128x64", n=2, quality="high", background="transparent")
    assert status == 200
    reply = ImagesResponse.model_validate(body)
    assert reply.data is not None
    assert (reply.created, reply.output_format, reply.quality) == (7, "png", "high")
    assert (body["size"], reply.background) == ("128x64", "transparent")
    pictures = [base64.b64decode(row.b64_json or "") for row in reply.data]
    assert [decoded(data)[:2] for data in pictures] == [(128, 64)] * 2
    assert pictures[0] != pictures[1]
    assert reply.usage is not None
    assert reply.usage.output_tokens == 2 * 2 * 16
    assert reply.usage.input_tokens == reply.usage.input_tokens_details.text_tokens == 3
    assert reply.usage.total_tokens == 67


def test_the_same_prompt_is_the_same_picture_and_another_prompt_another() -> None:
    first = post(size="64x64")[1]["data"]
    assert post(size="64x64")[1]["data"] == first
    assert post(size="64x64", prompt="a paper boat")[1]["data"] != first


def test_auto_is_a_square() -> None:
    assert post()[1]["size"] == post(size="auto")[1]["size"] == "1024x1024"


def test_urls_are_of_the_server_that_was_asked() -> None:
    desk = Desk(lambda: 7)
    script = ask(size="64x32", response_format="url", host="127.0.0.1:9", desk=desk)
    (row,) = json.loads(script.pieces[0])["data"]
    prefix, _, path = row["url"].partition("/v1/")
    assert prefix == "http://127.0.0.1:9"
    stored = desk.answer("GET", f"/v1/{path}", {}, b"")
    assert (stored.status, stored.content_type) == (200, "image/png")
    assert decoded(stored.pieces[0])[:2] == (64, 32)
    for host in ("", 'evil"host', "a b"):
        script = ask(size="64x32", response_format="url", host=host)
        assert "b64_json" in json.loads(script.pieces[0])["data"][0]


def events(script: Script) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for piece in script.pieces:
        name, data = piece.decode().removesuffix("\n\n").split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_a_stream_has_partial_pictures_and_then_the_whole_one() -> None:
    script = ask(size="64x64", stream=True, partial_images=2)
    assert script.stream
    assert script.content_type.startswith("text/event-stream")
    *partial, (name, last) = events(script)
    assert [event for event, _ in partial] == ["image_generation.partial_image"] * 2
    assert name == "image_generation.completed"
    for index, (_, body) in enumerate(partial):
        reply = ImageGenPartialImageEvent.model_validate({**body, "size": "auto"})
        assert reply.partial_image_index == index
        assert "usage" not in body
    whole = ImageGenCompletedEvent.model_validate({**last, "size": "auto"})
    assert whole.usage.output_tokens == 4
    assert whole.b64_json == post(size="64x64")[1]["data"][0]["b64_json"]
    assert len({body["b64_json"] for _, body in [*partial, ("", last)]}) == 3


def test_an_edit_takes_the_size_of_its_source_and_says_what_it_was() -> None:
    status, body = post("edits", images=[{"image_url": data_url()}])
    assert status == 200
    (row,) = body["data"]
    assert decoded(base64.b64decode(row["b64_json"]))[:2] == (60, 30)
    assert row["revised_prompt"] == "a paper plane (from a png of 60x30)"
    assert body["usage"]["input_tokens_details"] == {"text_tokens": 3, "image_tokens": 1}
    script = ask("edits", image=data_url(), stream=True, partial_images=1)
    (first, partial), (second, last) = events(script)
    assert (first, second) == ("image_edit.partial_image", "image_edit.completed")
    ImageEditPartialImageEvent.model_validate({**partial, "size": "auto"})
    ImageEditCompletedEvent.model_validate({**last, "size": "auto"})
    assert post("edits", image=data_url(80, 30))[1]["data"] != body["data"]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("generations", {"size": "4097x16"}, "size"),
        ("generations", {"size": "15x64"}, "size"),
        ("generations", {"size": "1024×1024"}, "size"),
        ("generations", {"size": "4096x4096", "n": 2}, "size"),
        ("generations", {"size": "4096x4096", "stream": True, "partial_images": 1}, "size"),
        ("generations", {"n": 0}, "n"),
        ("generations", {"n": 11}, "n"),
        ("generations", {"n": 2, "stream": True}, "n"),
        ("generations", {"quality": "ultra"}, "quality"),
        ("generations", {"output_format": "jpeg"}, "output_format"),
        ("generations", {"response_format": "gif"}, "response_format"),
        ("generations", {"background": "blue"}, "background"),
        ("generations", {"partial_images": 4}, "partial_images"),
        ("generations", {"prompt": ""}, "prompt"),
        ("edits", {}, "image"),
        ("edits", {"image": "https://example.com/a.png"}, "images[0]"),
        ("edits", {"images": [{"file_id": "file-1"}]}, "images[0]"),
        ("edits", {"image": "data:image/png;base64,A"}, "images[0]"),
        ("edits", {"image": "data:image/png;base64,AAAA"}, "image"),
        ("edits", {"image": data_url()[:-40]}, "image"),
    ],
)
def test_bad_requests_are_refused_by_name(path: str, fields: dict[str, Any], param: str) -> None:
    status, body = post(path, **fields)
    assert (status, body["error"]["param"]) == (400, param)


def test_the_legal_formats_are_named() -> None:
    assert "png" in post(output_format="webp")[1]["error"]["message"]


def test_faults() -> None:
    assert ask(headers={"fault": "fail-500"}).status == 500
    assert ask(model="sandbox-cut", size="64x64").ending == "cut"
    assert "usage" not in post(model="sandbox-nousage", size="64x64")[1]
    whole = ask(size="64x64", stream=True)
    assert ask(headers={"fault": "nodone"}, size="64x64", stream=True).pieces == whole.pieces
    assert (
        json.loads(ask(metadata={"sandbox_usage": '"x"'}, size="64x64").pieces[0])["usage"] == "x"
    )


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc0\0\x11\x08\0\x20\0\x40\3", ("jpeg", 64, 32)),
        (b"GIF89a\x40\0\x20\0", ("gif", 64, 32)),
        (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x3f\0\0\x1f\0\0", ("webp", 64, 32)),
        (b"RIFF\0\0\0\0WEBPVP8L\x05\0\0\0\x2f\x3f\xc0\x07\0", ("webp", 64, 32)),
        (b"RIFF\0\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x40\0\x20\0", ("webp", 64, 32)),
        (b"RIFF\0\0\0\0WEBPVP8 ", None),
        (b"GIF89a\x40", None),
        (b"GIF89a\0\0\0\0", None),
        (b"\xff\xd8\xff\xd8\0\0", None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_pictures_of_other_kinds_are_recognised(
    data: bytes, found: tuple[str, int, int] | None
) -> None:
    assert probing.picture(data) == (found and probing.Probe(*found))


@pytest.mark.parametrize("length", range(0, 400, 7))
def test_a_cut_png_is_no_picture(length: int) -> None:
    assert probing.picture(png(Picture(seed_of(b"x"), 20, 20))[:length]) is None
