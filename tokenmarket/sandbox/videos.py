"""Videos: OpenAI's Videos surface, tasks that take their time, and a film at the end.

    POST   /videos                 JSON or form -> the task
    GET    /videos                 the newest tasks that this process made
    GET    /videos/{id}            queued -> in_progress -> completed or failed, by the clock
    GET    /videos/{id}/content    mp4, with Range; variant=thumbnail is a png
    POST   /videos/{id}/cancel
    DELETE /videos/{id}            once it has ended

The time a task takes is ``x-sandbox-delay-ms`` (or ``metadata.sandbox_delay_ms``) of its creation.
Further models: ``sandbox-video-fail`` is refused by a content policy in the end, ``-slow`` takes
half a minute, ``-lost`` answers the creation with 500 although the task exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal
from urllib.parse import parse_qs

import msgspec

from tokenmarket.sandbox import painting
from tokenmarket.sandbox.behaviour import (
    Behaviour,
    Script,
    behaviour,
    early,
    error_body,
    refusal,
    shape,
)
from tokenmarket.sandbox.bodies import Metadata, Refused, Text
from tokenmarket.sandbox.calls import Call
from tokenmarket.sandbox.filming import Film, mp4
from tokenmarket.sandbox.forms import read_body
from tokenmarket.sandbox.orders import Order, ordered

PATH = "/videos"
DELAY_MS = 2_000
SLOW_DELAY_MS = 30_000
SECONDS_MAX = 12
SECONDS = 4
SIZE = "1280x720"
SIZES = (
    "320x180",
    "640x360",
    "360x640",
    "480x480",
    "854x480",
    "480x854",
    "960x960",
    "1280x720",
    "720x1280",
    "1024x1792",
    "1792x1024",
    "1920x1080",
    "1080x1920",
)
FPS = (8, 12, 24)
LIST_MAX = 100

_KEPT_MAX = 1_000
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
# (resolution, aspect ratio) -> size, for callers that name those instead.
_SHAPES = {
    ("360p", "16:9"): "640x360",
    ("360p", "9:16"): "360x640",
    ("480p", "16:9"): "854x480",
    ("480p", "9:16"): "480x854",
    ("480p", "1:1"): "480x480",
    ("720p", "16:9"): "1280x720",
    ("720p", "9:16"): "720x1280",
    ("1080p", "16:9"): "1920x1080",
    ("1080p", "9:16"): "1080x1920",
}


class Reference(msgspec.Struct, frozen=True):
    image_url: str | None = None
    file_id: str | None = None


class VideoBody(msgspec.Struct, frozen=True):
    """``POST /videos``. Pictures and films given along change the seed, nothing else."""

    model: Text
    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=32_000)]
    seconds: int | str | None = None
    size: str | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    fps: int | None = None
    seed: int | None = None
    n: Literal[1] | None = None
    audio: bool | None = None
    input_reference: Reference | str | None = None
    metadata: Metadata | None = None


class Kept(msgspec.Struct):
    """What an id does not say."""

    prompt: str | None = None
    metadata: dict[str, str] | None = None
    cancelled_ms: int | None = None
    deleted: bool = False


class State(msgspec.Struct, frozen=True):
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: int
    ended_ms: int | None = None
    error: tuple[str, str] | None = None

    @property
    def terminal(self) -> bool:
        return self.ended_ms is not None


def state(order: Order, kept: Kept | None, now_ms: int) -> State:
    """Where a task is: a quarter of its time it waits, then it is in progress."""
    end_ms = order.created_ms + order.delay_ms
    if kept is not None and kept.cancelled_ms is not None:
        return State("failed", 0, kept.cancelled_ms, ("cancelled", "The video was cancelled."))
    if now_ms >= end_ms:
        if order.model == "sandbox-video-fail":
            message = "The sandbox refuses this video, as asked."
            return State("failed", 0, end_ms, ("content_policy_violation", message))
        return State("completed", 100, end_ms)
    passed_ms = max(0, now_ms - order.created_ms)
    waiting_ms = order.delay_ms // 4
    if passed_ms < waiting_ms:
        return State("queued", 0)
    return State("in_progress", 100 * (passed_ms - waiting_ms) // (order.delay_ms - waiting_ms))


class Videos:
    """The tasks of one desk. ``number``: a new number for each task."""

    def __init__(self, number: Callable[[], int]) -> None:
        self._number = number
        self._kept: dict[str, Kept] = {}

    def answer(self, call: Call) -> Script:
        """Everything under ``/videos``. Nothing of it lasts: not ready now may be ready later."""
        try:
            made = self._answer(call)
        except Refused as error:
            made = refusal(error)
        return msgspec.structs.replace(made, lasting=False)

    # --- operations -----------------------------------------------------------------------------

    def _answer(self, call: Call) -> Script:
        _, _, rest = call.path.removeprefix(PATH).partition("/")
        task_id, _, action = rest.partition("/")
        match call.method, bool(task_id), action:
            case "POST", False, "":
                return self._create(call)
            case "GET", False, "":
                return self._list(call)
            case "GET", True, "":
                return self._shown(call, task_id, self._order(task_id))
            case "DELETE", True, "":
                return self._delete(call, task_id)
            case "GET", True, "content":
                return self._content(call, task_id)
            case "POST", True, "cancel":
                return self._cancel(call, task_id)
            case _:
                message = f"Unknown request URL: {call.method[:20]} {call.path[:200]}."
                raise Refused(message, status=404, code="unknown_url")

    def _create(self, call: Call) -> Script:
        body, files = read_body(call, VideoBody)
        asked = behaviour(body.model, "video", call.asked, body.metadata)
        failed = early(asked)
        if failed is not None:
            return failed
        if body.audio:
            raise Refused("The sandbox films without sound.", param="audio", code="invalid_value")
        film = _film(body, [file.data for file in files if file.field == "input_reference"])
        now_ms = int(call.now_s * 1000)
        order = Order(body.model, film, now_ms, _delay_ms(body, call, asked), self._number())
        task_id = order.task_id()
        self._keep(task_id, Kept(body.prompt, body.metadata))
        if body.model == "sandbox-video-lost":
            message = "The sandbox lost this answer, as asked; the task exists."
            error = error_body(message, "server_error", None, None)
            return Script(500, (error,), body_bytes=len(error))
        # The delay was the task's; the answer comes at once.
        return self._shown(call, task_id, order, msgspec.structs.replace(asked, delay_ms=0))

    def _list(self, call: Call) -> Script:
        asked = parse_qs(call.query)
        limit = min(LIST_MAX, _whole(asked, "limit", 20))
        rows = [task_id for task_id, kept in self._kept.items() if not kept.deleted]
        if asked.get("order", ["desc"])[-1] != "asc":
            rows.reverse()
        after = asked.get("after", [""])[-1]
        if after in rows:
            rows = rows[rows.index(after) + 1 :]
        page = [
            self._document(task_id, self._order(task_id), call.now_s) for task_id in rows[:limit]
        ]
        document: dict[str, object] = {
            "object": "list",
            "data": page,
            "first_id": rows[0] if page else None,
            "last_id": rows[len(page) - 1] if page else None,
            "has_more": len(rows) > len(page),
        }
        return self._script(call, document)

    def _delete(self, call: Call, task_id: str) -> Script:
        order = self._order(task_id)
        now_ms = int(call.now_s * 1000)
        if not state(order, self._kept.get(task_id), now_ms).terminal:
            raise Refused("The video has not ended yet.", status=409, code="video_not_terminal")
        self._remembered(task_id).deleted = True
        return self._script(call, {"id": task_id, "object": "video.deleted", "deleted": True})

    def _cancel(self, call: Call, task_id: str) -> Script:
        order = self._order(task_id)
        now_ms = int(call.now_s * 1000)
        if not state(order, self._kept.get(task_id), now_ms).terminal:
            self._remembered(task_id).cancelled_ms = now_ms
        return self._shown(call, task_id, order)

    def _content(self, call: Call, task_id: str) -> Script:
        order = self._order(task_id)
        found = state(order, self._kept.get(task_id), int(call.now_s * 1000))
        if found.status != "completed":
            raise Refused("The video is not ready.", status=409, code="video_not_ready")
        variant = parse_qs(call.query).get("variant", ["video"])[-1]
        if variant == "video":
            return _ranged(call, _asked(call), mp4(order.film), "video/mp4")
        if variant == "thumbnail":
            return _ranged(call, _asked(call), painting.png(order.film.poster), "image/png")
        message = "'variant' must be one of: video, thumbnail."
        raise Refused(message, param="variant", code="invalid_value")

    # --- tasks ----------------------------------------------------------------------------------

    def _order(self, task_id: str) -> Order:
        order = ordered(task_id)
        kept = self._kept.get(task_id)
        if order is None or (kept is not None and kept.deleted):
            raise Refused("There is no such video.", status=404, code="video_not_found")
        return order

    def _keep(self, task_id: str, kept: Kept) -> None:
        if len(self._kept) >= _KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[task_id] = kept

    def _remembered(self, task_id: str) -> Kept:
        if task_id not in self._kept:
            self._keep(task_id, Kept())
        return self._kept[task_id]

    def _shown(
        self, call: Call, task_id: str, order: Order, asked: Behaviour | None = None
    ) -> Script:
        document = self._document(task_id, order, call.now_s)
        if asked is not None and asked.usage:
            document["usage"] = msgspec.Raw(asked.usage)
        script = self._script(call, document, asked)
        if document["completed_at"] is not None or script.status != 200:
            return script
        hint = max(100, min(1000, order.delay_ms // 4))
        polling = (("retry-after", "1"), ("openai-poll-after-ms", str(hint)))
        return msgspec.structs.replace(script, headers=polling)

    def _document(self, task_id: str, order: Order, now_s: float) -> dict[str, object]:
        kept = self._kept.get(task_id)
        found = state(order, kept, int(now_s * 1000))
        film = order.film
        document: dict[str, object] = {
            "id": task_id,
            "object": "video",
            "model": order.model,
            "status": found.status,
            "progress": found.progress,
            "created_at": order.created_ms // 1000,
            "completed_at": None if found.ended_ms is None else found.ended_ms // 1000,
            "expires_at": None,
            "prompt": None if kept is None else kept.prompt,
            "seconds": str(film.seconds),
            "size": f"{film.width}x{film.height}",
            "fps": film.fps,
            "remixed_from_video_id": None,
            "error": None,
            "metadata": None if kept is None else kept.metadata,
        }
        if found.error is not None:
            document["error"] = {"code": found.error[0], "message": found.error[1]}
        if found.status == "completed" and order.model != "sandbox-nousage":
            document["usage"] = {"billed_seconds": film.seconds}
        return document

    def _script(
        self, call: Call, document: dict[str, object], asked: Behaviour | None = None
    ) -> Script:
        asked = asked or _asked(call)
        failed = early(asked)
        encoded = msgspec.json.encode(document)
        return failed if failed is not None else shape(asked, [encoded], stream=False)


def _asked(call: Call) -> Behaviour:
    """What the headers ask of a call that names no model."""
    return behaviour("sandbox-video", "video", call.asked, None)


def _delay_ms(body: VideoBody, call: Call, asked: Behaviour) -> int:
    if "delay-ms" in call.asked or "sandbox_delay_ms" in (body.metadata or {}):
        return asked.delay_ms
    slow = body.model == "sandbox-video-slow" or asked.fault == "slow"
    return SLOW_DELAY_MS if slow else DELAY_MS


def _film(body: VideoBody, files: list[bytes]) -> Film:
    seconds = SECONDS if body.seconds is None else body.seconds
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit() and len(seconds) < 4:
        seconds = int(seconds)
    if not isinstance(seconds, int) or not 1 <= seconds <= SECONDS_MAX:
        message = f"'seconds' must be a whole number from 1 to {SECONDS_MAX}."
        raise Refused(message, param="seconds", code="invalid_value")
    if body.fps is not None and body.fps not in FPS:
        message = f"'fps' must be one of: {', '.join(map(str, FPS))}."
        raise Refused(message, param="fps", code="invalid_value")
    width, height = (int(side) for side in _size(body).split("x"))
    given = body.input_reference
    address = given if isinstance(given, str) else (given and (given.image_url or given.file_id))
    parts = [body.prompt.encode(), str(body.seed).encode(), (address or "").encode(), *files]
    return Film(painting.seed_of(*parts), width, height, seconds, body.fps or FPS[0])


def _size(body: VideoBody) -> str:
    if body.resolution is None and body.aspect_ratio is None:
        size = body.size or SIZE
        if size not in SIZES:
            message = f"'size' must be one of: {', '.join(SIZES)}."
            raise Refused(message, param="size", code="unsupported_size")
        return size
    key = ((body.resolution or "720p").lower(), body.aspect_ratio or "16:9")
    size = _SHAPES.get(key)
    if size is None:
        legal = ", ".join(f"{resolution} {ratio}" for resolution, ratio in _SHAPES)
        message = f"'resolution' and 'aspect_ratio' must be one of: {legal}."
        raise Refused(message, param="resolution", code="unsupported_size")
    if body.size is not None and body.size != size:
        message = f"'size' and 'resolution' differ: {key[0]} {key[1]} is {size}."
        raise Refused(message, param="size", code="conflicting_parameters")
    return size


def _whole(asked: dict[str, list[str]], name: str, default: int) -> int:
    text = asked.get(name, [str(default)])[-1]
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text)):
        raise Refused(f"'{name}' must be a positive whole number.", param=name)
    return int(text)


def _ranged(call: Call, asked: Behaviour, data: bytes, kind: str) -> Script:
    """The bytes, or the part of them that ``Range`` asks for. Several ranges: everything."""
    failed = early(asked)
    if failed is not None:
        return failed
    taking = (("accept-ranges", "bytes"),)
    found = _RANGE.fullmatch(call.byte_range)
    if found is None or not (found.group(1) or found.group(2)):
        script = shape(asked, [data], stream=False, content_type=kind)
        return msgspec.structs.replace(script, headers=taking)
    if found.group(1):
        start, end = int(found.group(1)), int(found.group(2) or len(data) - 1)
    else:
        start, end = max(0, len(data) - int(found.group(2))), len(data) - 1
    end = min(end, len(data) - 1)
    if start > end:
        refused = error_body("The range lies outside.", "invalid_request_error", "range", None)
        outside = ("content-range", f"bytes */{len(data)}")
        return Script(416, (refused,), body_bytes=len(refused), headers=(*taking, outside))
    script = shape(asked, [data[start : end + 1]], stream=False, content_type=kind)
    inside = ("content-range", f"bytes {start}-{end}/{len(data)}")
    return msgspec.structs.replace(script, status=206, headers=(*taking, inside))
