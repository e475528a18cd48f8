"""Images: generations, edits, and the files behind their URLs.

The same request draws the same pictures. An edit looks at nothing of the uploaded pictures but
their kind and size: it draws anew, in the first one's size unless told otherwise, with a frame in
its proportions. URLs are only given out by the server (inside the gateway there is none to ask).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated

import msgspec

from tokenmarket.sandbox import probing, tokens
from tokenmarket.sandbox.behaviour import Behaviour, Script, behaviour, early, shape
from tokenmarket.sandbox.bodies import Metadata, Refused, Text
from tokenmarket.sandbox.calls import Call
from tokenmarket.sandbox.forms import read_body
from tokenmarket.sandbox.painting import (
    DETAIL_MAX,
    SIDE_MAX,
    SIDE_MIN,
    Picture,
    named,
    png,
    seed_of,
)

PIXELS_MAX = 4096 * 4096  # of all pictures of one request, which must not stop the others for long
IMAGES_MAX = 16
FILES = "/files/"

_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]{1,255}")
_DATA_URL = re.compile(r"data:[a-z0-9/+.-]{0,50};base64,", re.IGNORECASE)
_DEFAULT_SIDE = 1024
# Quality as asked -> (as answered, how much is drawn, tokens per 64 x 64 pixels).
_QUALITIES = {
    "low": ("low", 1, 1),
    "medium": ("medium", 2, 4),
    "auto": ("medium", 2, 4),
    "standard": ("medium", 2, 4),
    "high": ("high", DETAIL_MAX, 16),
    "hd": ("high", DETAIL_MAX, 16),
}


class Reference(msgspec.Struct, frozen=True):
    """A picture inside JSON."""

    image_url: str | None = None
    file_id: str | None = None


class ImageBody(msgspec.Struct, frozen=True):
    """``POST /images/generations`` and ``/images/edits``."""

    model: Text
    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=32_000)]
    n: Annotated[int, msgspec.Meta(ge=1, le=10)] | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    response_format: str | None = None
    stream: bool | None = None
    partial_images: Annotated[int, msgspec.Meta(ge=0, le=3)] | None = None
    images: Annotated[list[Reference], msgspec.Meta(max_length=IMAGES_MAX)] | None = None
    image: str | Annotated[list[str], msgspec.Meta(max_length=IMAGES_MAX)] | None = None
    mask: Reference | None = None
    metadata: Metadata | None = None


class Plan(msgspec.Struct, frozen=True):
    """What one request comes to."""

    pictures: list[Picture]
    quality: str
    background: str
    usage: bytes
    revised_prompt: str | None


def generations(call: Call) -> Script:
    """``POST /images/generations``. Raises Refused."""
    return _images(call, edit=False)


def edits(call: Call) -> Script:
    """``POST /images/edits``. Raises Refused."""
    return _images(call, edit=True)


def stored(call: Call) -> Script:
    """``GET /files/{name}``. Raises Refused."""
    picture = named(call.path.removeprefix(FILES))
    if picture is None or not (0 < picture.width * picture.height <= PIXELS_MAX):
        raise Refused("There is no such file.", status=404, code="not_found")
    return shape(Behaviour(), [png(picture)], stream=False, content_type="image/png")


def _images(call: Call, *, edit: bool) -> Script:
    body, files = read_body(call, ImageBody)
    asked = behaviour(body.model, "images", call.asked, body.metadata)
    failed = early(asked)
    if failed is not None:
        return failed
    _check(body)
    sources: list[bytes] = []
    if edit:
        sources = [file.data for file in files if file.field == "image"] + _referenced(body)
        if not 1 <= len(sources) <= IMAGES_MAX:
            raise Refused(f"1 to {IMAGES_MAX} pictures are needed.", param="image")
        for mask in (file.data for file in files if file.field == "mask"):
            _probed(mask, "mask")
    plan = _plan(body, sources)
    if asked.usage is not None:
        plan = msgspec.structs.replace(plan, usage=asked.usage)
    if body.stream:
        kind = "image_edit" if edit else "image_generation"
        events = _events(plan, kind, body.partial_images or 0, int(call.now_s))
        return shape(asked, events, stream=True)
    document = _described(plan, plan.pictures[0], {"created": int(call.now_s)})
    linked = body.response_format == "url" and _HOST.fullmatch(call.host)
    document["data"] = [
        _entry(plan, f"http://{call.host}/v1{FILES}{picture.name()}" if linked else None, picture)
        for picture in plan.pictures
    ]
    return shape(asked, [msgspec.json.encode(document)], stream=False)


def _check(body: ImageBody) -> None:
    """What is asked for by name must be one of those."""
    legal: dict[str, tuple[str | None, tuple[str, ...]]] = {
        "quality": (body.quality, tuple(_QUALITIES)),
        "background": (body.background, ("auto", "opaque", "transparent")),
        "output_format": (body.output_format, ("png",)),
        "response_format": (body.response_format, ("b64_json", "url")),
    }
    for name, (value, values) in legal.items():
        if value is not None and value not in values:
            message = f"'{name}' must be one of: {', '.join(values)}."
            raise Refused(message, param=name, code="invalid_value")
    if body.stream and (body.n or 1) > 1:
        raise Refused("'n' must be 1 in a stream.", param="n", code="invalid_value")


def _referenced(body: ImageBody) -> list[bytes]:
    urls = [body.image] if isinstance(body.image, str) else body.image or []
    found: list[bytes] = []
    for index, url in enumerate([*urls, *(entry.image_url for entry in body.images or [])]):
        start = _DATA_URL.match(url or "")
        if url is None or start is None:
            message = "The sandbox fetches nothing: a picture must be uploaded or a data URL."
            raise Refused(message, param=f"images[{index}]")
        try:
            found.append(base64.b64decode(url[start.end() :], validate=True))
        except (binascii.Error, ValueError):
            raise Refused("The base64 of a picture is broken.", param=f"images[{index}]") from None
    return found


def _probed(data: bytes, param: str) -> probing.Probe:
    probe = probing.picture(data)
    if probe is None or probe.kind == "gif":
        message = "An uploaded file is no whole picture; png, jpeg and webp are read."
        raise Refused(message, param=param, code="invalid_image_file")
    return probe


def _plan(body: ImageBody, sources: list[bytes]) -> Plan:
    probes = [_probed(data, "image") for data in sources]
    width, height = _size(body.size, probes)
    count = body.n or 1
    drawn = count + (body.partial_images or 0 if body.stream else 0)
    if drawn * width * height > PIXELS_MAX:
        raise Refused(f"More than {PIXELS_MAX} pixels in all.", param="size", code="invalid_value")
    quality, detail, cost = _QUALITIES[body.quality or "auto"]
    transparent = body.background == "transparent"
    inner = probes[0] if probes else probing.Probe("", 0, 0)
    pictures = [
        Picture(
            seed_of(body.prompt.encode(), bytes((index,)), *sources),
            width,
            height,
            detail,
            transparent,
            min(inner.width, 0xFFFF),
            min(inner.height, 0xFFFF),
        )
        for index in range(count)
    ]
    revised = None
    if probes:
        revised = f"{body.prompt} (from {_shown(probes)})"
    usage = _usage(body.prompt, probes, count * cost * _tiles(width, height))
    background = "transparent" if transparent else "opaque"
    return Plan(pictures, quality, background, usage, revised)


def _size(asked: str | None, probes: list[probing.Probe]) -> tuple[int, int]:
    if asked is None or asked == "auto":
        first = probes[0] if probes else None
        if first is not None and _drawable(first.width, first.height, 2 * _DEFAULT_SIDE):
            return first.width, first.height
        return _DEFAULT_SIDE, _DEFAULT_SIDE
    found = _SIZE.fullmatch(asked)
    sides = (int(found.group(1)), int(found.group(2))) if found else (0, 0)
    if not _drawable(*sides, SIDE_MAX):
        message = f"'size' must be auto, or WIDTHxHEIGHT with sides of {SIDE_MIN} to {SIDE_MAX}."
        raise Refused(message, param="size", code="invalid_value")
    return sides


def _drawable(width: int, height: int, side_max: int) -> bool:
    return min(width, height) >= SIDE_MIN and max(width, height) <= side_max


def _shown(probes: list[probing.Probe]) -> str:
    return ", ".join(f"a {probe.kind} of {probe.width}x{probe.height}" for probe in probes)


def _tiles(width: int, height: int) -> int:
    return -(-width // 64) * -(-height // 64)


def _usage(prompt: str, probes: list[probing.Probe], output_tokens: int) -> bytes:
    text_tokens = tokens.count(prompt)
    image_tokens = sum(_tiles(min(p.width, SIDE_MAX), min(p.height, SIDE_MAX)) for p in probes)
    return msgspec.json.encode(
        {
            "input_tokens": text_tokens + image_tokens,
            "input_tokens_details": {"text_tokens": text_tokens, "image_tokens": image_tokens},
            "output_tokens": output_tokens,
            "total_tokens": text_tokens + image_tokens + output_tokens,
        }
    )


def _described(plan: Plan, picture: Picture, document: dict[str, object]) -> dict[str, object]:
    """``document`` with what answers and events say about a picture."""
    document["background"] = plan.background
    document["output_format"] = "png"
    document["quality"] = plan.quality
    document["size"] = f"{picture.width}x{picture.height}"
    if plan.usage:
        document["usage"] = msgspec.Raw(plan.usage)
    return document


def _entry(plan: Plan, url: str | None, picture: Picture) -> dict[str, str]:
    entry = {"url": url} if url is not None else {"b64_json": _base64(picture)}
    if plan.revised_prompt is not None:
        entry["revised_prompt"] = plan.revised_prompt
    return entry


def _events(plan: Plan, kind: str, partial_images: int, created_s: int) -> list[bytes]:
    (whole,) = plan.pictures
    unfinished = msgspec.structs.replace(plan, usage=b"")
    events: list[bytes] = []
    for index in range(partial_images):
        detail = whole.detail * (index + 1) // (partial_images + 1)
        picture = msgspec.structs.replace(whole, detail=detail)
        event: dict[str, object] = {
            "type": f"{kind}.partial_image",
            "b64_json": _base64(picture),
            "partial_image_index": index,
            "created_at": created_s,
        }
        events.append(_event(_described(unfinished, whole, event)))
    event = {
        "type": f"{kind}.completed",
        "b64_json": _base64(whole),
        "created_at": created_s,
    }
    events.append(_event(_described(plan, whole, event)))
    return events


def _event(document: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (
        str(document["type"]).encode(),
        msgspec.json.encode(document),
    )


def _base64(picture: Picture) -> str:
    return base64.b64encode(png(picture)).decode()
