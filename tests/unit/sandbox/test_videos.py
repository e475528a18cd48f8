"""The sandbox's videos: tasks by the clock, ids that say everything, films that decode."""

import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types import Video, VideoDeleteResponse

from tokenmarket.sandbox.behaviour import Script
from tokenmarket.sandbox.desk import Desk
from tokenmarket.sandbox.filming import Film, mp4
from tokenmarket.sandbox.h264 import Stream
from tokenmarket.sandbox.orders import ordered
from tokenmarket.sandbox.painting import landscape, png, seed_of
from tokenmarket.sandbox.videos import SIZES

FFMPEG, FFPROBE = shutil.which("ffmpeg"), shutil.which("ffprobe")
START_S = 1_795_000_000.0


class Place:
    """A desk with a clock that only moves when told."""

    def __init__(self) -> None:
        self.now_s = START_S
        self.desk = Desk(lambda: self.now_s)

    def ask(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        byte_range: str = "",
        **fields: Any,
    ) -> Script:
        body = json.dumps(fields).encode() if fields else b""
        target = f"/v1/videos{path}"
        return self.desk.answer(method, target, headers or {}, body, byte_range=byte_range)

    def get(self, method: str, path: str, **more: Any) -> Any:
        script = self.ask(method, path, **more)
        assert script.status == 200, script.pieces
        assert not script.lasting
        return json.loads(script.pieces[0])

    def create(self, **fields: Any) -> Any:
        return self.get("POST", "", **{"model": "sandbox-video", "prompt": "a plane", **fields})


@pytest.fixture
def place() -> Place:
    return Place()


def refused(script: Script) -> tuple[int, Any]:
    error = json.loads(script.pieces[0])["error"]
    return script.status, error["code"] or error["param"]


def test_a_task_waits_is_in_progress_and_completes(place: Place) -> None:
    task = place.create(seconds="3", size="320x180", metadata={"order": "42"})
    path = f"/{task['id']}"
    video = Video.model_validate({**task, "size": "1280x720"})
    assert (video.status, video.progress, video.seconds, task["size"]) == (
        "queued",
        0,
        "3",
        "320x180",
    )
    assert (video.created_at, video.completed_at, video.prompt) == (START_S, None, "a plane")
    assert refused(place.ask("GET", f"{path}/content")) == (409, "video_not_ready")
    assert refused(place.ask("DELETE", path)) == (409, "video_not_terminal")
    seen = [task]
    for _ in range(8):
        place.now_s += 0.25
        seen.append(place.get("GET", path))
    assert [state["status"] for state in seen] == ["queued"] * 2 + ["in_progress"] * 6 + [
        "completed"
    ]
    progress = [state["progress"] for state in seen]
    assert progress == sorted(progress)
    assert (progress[-2] < 100, progress[-1]) == (True, 100)
    done = seen[-1]
    assert done["completed_at"] == START_S + 2
    assert done["usage"] == {"billed_seconds": 3}
    assert done["metadata"] == {"order": "42"}
    assert seen[3]["error"] is None
    place.now_s += 1e6
    assert place.get("GET", path) == done
    assert place.ask("GET", f"{path}/content").status == 200  # the refusal was not kept
    assert place.ask("DELETE", path).status == 200


def test_polling_hints_end_with_the_task(place: Place) -> None:
    script = place.ask("POST", "", model="sandbox-video", prompt="x")
    assert dict(script.headers) == {"retry-after": "1", "openai-poll-after-ms": "500"}
    path = f"/{json.loads(script.pieces[0])['id']}"
    place.now_s += 60
    assert place.ask("GET", path).headers == ()


def test_the_delay_is_the_tasks_not_the_answers(place: Place) -> None:
    script = place.ask("POST", "", {"delay-ms": "9000"}, model="sandbox-video", prompt="x")
    assert script.delay_ms == 0
    path = f"/{json.loads(script.pieces[0])['id']}"
    place.now_s += 8.9
    assert place.get("GET", path)["status"] == "in_progress"
    place.now_s += 0.1
    assert place.get("GET", path)["status"] == "completed"
    assert place.create(metadata={"sandbox_delay_ms": "0"})["status"] == "completed"
    slow = place.create(model="sandbox-video-slow")
    place.now_s += 29
    assert place.get("GET", f"/{slow['id']}")["status"] == "in_progress"


def test_another_process_answers_for_the_same_id(place: Place) -> None:
    task = place.create(size="480x480", seconds=2, metadata={"a": "b"})
    other = Place()
    other.now_s += 60
    found = other.get("GET", f"/{task['id']}")
    assert (found["status"], found["size"], found["seconds"]) == ("completed", "480x480", "2")
    assert (found["prompt"], found["metadata"]) == (None, None)
    place.now_s += 60
    content = place.ask("GET", f"/{task['id']}/content").pieces
    assert other.ask("GET", f"/{task['id']}/content").pieces == content


def test_ids_differ_and_only_whole_ones_are_known(place: Place) -> None:
    first, second = place.create(), place.create()
    assert first["id"] != second["id"]
    order = ordered(first["id"])
    assert order is not None
    assert order.task_id() == first["id"]
    broken = first["id"][:-5] + ("A" if first["id"][-5] != "A" else "B") + first["id"][-4:]
    for task_id in (broken, "video_", "video_é", "x", first["id"] + "AA", "video_" + "A" * 9999):
        assert refused(place.ask("GET", f"/{task_id}")) == (404, "video_not_found")


def test_failing_slow_and_lost_models(place: Place) -> None:
    task = place.create(model="sandbox-video-fail")
    place.now_s += 2
    found = place.get("GET", f"/{task['id']}")
    assert Video.model_validate({**found, "size": "1280x720"}).error is not None
    assert (found["status"], found["error"]["code"]) == ("failed", "content_policy_violation")
    assert refused(place.ask("GET", f"/{task['id']}/content"))[0] == 409
    lost = place.ask(
        "POST", "", model="sandbox-video-lost", prompt="x", metadata={"client_reference": "t1"}
    )
    assert lost.status == 500
    (row,) = [row for row in place.get("GET", "")["data"] if row["metadata"]]
    assert row["metadata"] == {"client_reference": "t1"}
    place.now_s += 2
    assert place.get("GET", f"/{row['id']}")["status"] == "completed"


def test_cancel_and_delete(place: Place) -> None:
    task = place.create()
    path = f"/{task['id']}"
    place.now_s += 1
    cancelled = place.get("POST", f"{path}/cancel")
    assert (cancelled["status"], cancelled["error"]["code"]) == ("failed", "cancelled")
    place.now_s += 60
    assert place.get("GET", path) == place.get("POST", f"{path}/cancel") == cancelled
    deleted = place.get("DELETE", path)
    assert VideoDeleteResponse.model_validate(deleted, strict=True).deleted
    assert refused(place.ask("GET", path)) == (404, "video_not_found")
    assert place.get("GET", "")["data"] == []
    done = place.create(metadata={"sandbox_delay_ms": "0"})
    assert place.get("POST", f"/{done['id']}/cancel")["status"] == "completed"


def test_the_list_pages_from_the_newest(place: Place) -> None:
    ids = [place.create()["id"] for _ in range(5)]
    page = place.get("GET", "?limit=2")
    assert [row["id"] for row in page["data"]] == [ids[4], ids[3]]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (ids[4], ids[3], True)
    page = place.get("GET", f"?limit=9&after={ids[3]}")
    assert [row["id"] for row in page["data"]] == [ids[2], ids[1], ids[0]]
    assert page["has_more"] is False
    assert place.get("GET", "?order=asc")["first_id"] == ids[0]
    assert refused(place.ask("GET", "?limit=x")) == (400, "limit")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    monkeypatch.setattr("tokenmarket.sandbox.videos._KEPT_MAX", 3)
    ids = [place.create()["id"] for _ in range(5)]
    assert [row["id"] for row in place.get("GET", "?order=asc")["data"]] == ids[2:]
    assert place.get("GET", f"/{ids[0]}")["prompt"] is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"size": "123x45"}, "unsupported_size"),
        ({"size": "1280*720"}, "unsupported_size"),
        ({"resolution": "4k"}, "unsupported_size"),
        ({"resolution": "480p", "size": "1280x720"}, "conflicting_parameters"),
        ({"seconds": 0}, "invalid_value"),
        ({"seconds": "13"}, "invalid_value"),
        ({"seconds": "4.5"}, "invalid_value"),
        ({"fps": 60}, "invalid_value"),
        ({"audio": True}, "invalid_value"),
        ({"n": 2}, "n"),
        ({"prompt": ""}, "prompt"),
        ({"model": "sandbox-chat"}, "model_not_found"),
    ],
)
def test_bad_orders_are_refused(place: Place, fields: dict[str, Any], code: str) -> None:
    body = {"model": "sandbox-video", "prompt": "x", **fields}
    status, found = refused(place.ask("POST", "", **body))
    assert (status, found) == (404 if code == "model_not_found" else 400, code)
    assert place.get("GET", "")["data"] == []


def test_the_legal_sizes_are_named(place: Place) -> None:
    script = place.ask("POST", "", model="sandbox-video", prompt="x", size="1x1")
    assert all(size in json.loads(script.pieces[0])["error"]["message"] for size in SIZES)


def test_forms_as_the_sdk_sends_them(place: Place) -> None:
    fields = (
        ("model", "sandbox-video"),
        ("prompt", "a plane"),
        ("seconds", "2"),
        ("metadata[a]", "1"),
        ("input_reference[image_url]", "https://example.com/a.png"),
    )
    body = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    )
    script = place.desk.answer(
        "POST",
        "/v1/videos",
        {},
        body + b"--b--\r\n",
        content_type="multipart/form-data; boundary=b",
    )
    task = json.loads(script.pieces[0])
    assert (task["seconds"], task["metadata"]) == ("2", {"a": "1"})
    seeds = {ordered(place.create(seconds=2)["id"]), ordered(task["id"])}
    assert len({order.film.seed for order in seeds if order}) == 2


def test_resolution_and_ratio_instead_of_a_size(place: Place) -> None:
    assert place.create(resolution="480P", aspect_ratio="9:16")["size"] == "480x854"
    assert place.create(aspect_ratio="9:16")["size"] == "720x1280"


def test_content_in_ranges(place: Place) -> None:
    task = place.create(size="320x180", seconds=1, metadata={"sandbox_delay_ms": "0"})
    path = f"/{task['id']}/content"
    whole = place.ask("GET", path)
    data = whole.pieces[0]
    assert (whole.status, whole.content_type) == (200, "video/mp4")
    for asked, start, end in (
        ("bytes=0-99", 0, 99),
        ("bytes=100-", 100, len(data) - 1),
        ("bytes=-50", len(data) - 50, len(data) - 1),
        ("bytes=9-999999999", 9, len(data) - 1),
    ):
        part = place.ask("GET", path, byte_range=asked)
        assert (part.status, part.pieces[0]) == (206, data[start : end + 1])
        assert dict(part.headers)["content-range"] == f"bytes {start}-{end}/{len(data)}"
    outside = place.ask("GET", path, byte_range="bytes=999999999-")
    assert outside.status == 416
    assert dict(outside.headers)["content-range"] == f"bytes */{len(data)}"
    for ignored in ("bytes=-", "bytes=0-1,5-9", "lines=1-2"):
        assert place.ask("GET", path, byte_range=ignored).pieces == (data,)
    order = ordered(task["id"])
    assert order is not None
    thumbnail = place.ask("GET", f"{path}?variant=thumbnail")
    assert thumbnail.pieces[0] == png(order.film.poster)
    assert refused(place.ask("GET", f"{path}?variant=spritesheet")) == (400, "invalid_value")


def test_faults(place: Place) -> None:
    for model, status in (("sandbox-fail-500", 500), ("sandbox-fail-429", 429)):
        assert place.ask("POST", "", model=model, prompt="x").status == status
    assert place.ask("POST", "", model="sandbox-timeout", prompt="x").silent
    assert place.get("GET", "")["data"] == []
    assert place.ask("POST", "", model="sandbox-cut", prompt="x").ending == "cut"
    (row,) = place.get("GET", "")["data"]
    assert place.ask("GET", f"/{row['id']}", {"fault": "fail-500"}).status == 500
    place.now_s += 2
    assert place.ask("GET", f"/{row['id']}/content", {"fault": "cut"}).ending == "cut"
    unknown = place.create(model="sandbox-nousage", metadata={"sandbox_delay_ms": "0"})
    assert (unknown["status"], unknown.get("usage")) == ("completed", None)
    assert refused(place.ask("PUT", f"/{row['id']}"))[0] == 404


# ------------------------------------------------------------------------------------------ films


def boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two places, as (kind, where the body starts, where it ends)."""
    end = len(data) if end is None else end
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        assert 8 <= size <= end - start
        yield kind, start + 8, start + size
        start += size


def inside(data: bytes, *path: bytes) -> tuple[int, int]:
    start, end = 0, len(data)
    for kind in path:
        ((start, end),) = [(a, b) for name, a, b in boxes(data, start, end) if name == kind]
        start += {b"stsd": 8}.get(kind, 0)
    return start, end


def samples(data: bytes) -> list[bytes]:
    """The pictures, as the tables of the file say where they are."""
    table = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
    start, _ = inside(data, *table, b"stsz")
    fixed, count = struct.unpack_from(">II", data, start + 4)
    assert fixed == 0
    sizes = struct.unpack_from(f">{count}I", data, start + 12)
    start, _ = inside(data, *table, b"stco")
    chunks, offset = struct.unpack_from(">II", data, start + 4)
    assert chunks == 1
    found: list[bytes] = []
    for size in sizes:
        found.append(data[offset : offset + size])
        offset += size
    assert offset == len(data)
    return found


@pytest.mark.parametrize(("width", "height"), [(320, 180), (854, 480), (64, 64)])
def test_the_file_is_what_its_tables_say(width: int, height: int) -> None:
    data = mp4(Film(seed_of(b"x"), width, height, 2, 8))
    assert [kind for kind, _, _ in boxes(data)] == [b"ftyp", b"moov", b"mdat"]
    start, _ = inside(data, b"moov", b"mvhd")
    assert struct.unpack_from(">II", data, start + 12) == (1000, 2000)
    start, _ = inside(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
    assert struct.unpack_from(">HH", data, start + 24) == (width, height)
    units = samples(data)
    assert len(units) == 16
    for number, unit in enumerate(units):
        (size,) = struct.unpack_from(">I", unit)
        assert size == len(unit) - 4
        assert unit[4] == (0x41 if number else 0x65)
        assert b"\0\0\0" not in unit[4:]
        assert b"\0\0\1" not in unit[4:]
    columns, rows = -(-width // 16), -(-height // 16)
    assert 384 * columns * rows < len(units[0]) < 387 * columns * rows + 20
    assert all(len(unit) < len(units[0]) for unit in units[1:])
    assert len(set(units)) == 16


def test_raw_macroblocks_lie_in_the_first_picture_as_they_are() -> None:
    stream = Stream(32, 16)
    blocks = [bytes([40 + at]) * 384 for at in range(2)]
    unit = stream.first(blocks)
    assert unit.count(blocks[0]) == unit.count(blocks[1]) == 1
    assert unit.endswith(blocks[1] + b"\x80")
    assert unit.index(blocks[1]) == unit.index(blocks[0]) + 384 + 2
    assert len(stream.later(1, {})) < 12
    assert blocks[0] in stream.later(2, {1: blocks[0]})


def test_the_same_order_is_the_same_film() -> None:
    film = Film(seed_of(b"x"), 64, 64, 1, 8)
    first = mp4(film)
    mp4.cache_clear()
    assert mp4(film) == first
    assert mp4(Film(seed_of(b"y"), 64, 64, 1, 8)) != first


@pytest.mark.parametrize("size", SIZES)
def test_every_size_stays_below_eight_megabytes(size: str) -> None:
    width, height = map(int, size.split("x"))
    assert len(mp4(Film(seed_of(b"x"), width, height, 12, 24))) < 8_000_000
    mp4.cache_clear()


@pytest.mark.skipif(not (FFMPEG and FFPROBE), reason="no ffmpeg on this machine")
@pytest.mark.parametrize(("width", "height", "fps"), [(320, 180, 8), (854, 480, 9), (322, 182, 24)])
def test_ffmpeg_decodes_every_picture(tmp_path: Path, width: int, height: int, fps: int) -> None:
    assert FFMPEG is not None
    assert FFPROBE is not None
    path = tmp_path / "film.mp4"
    path.write_bytes(mp4(Film(seed_of(b"x"), width, height, 3, fps)))
    entries = "stream=codec_name,width,height,nb_read_frames,duration"
    command = [FFPROBE, "-v", "error", "-count_frames", "-show_entries", entries, "-of", "json"]
    told = subprocess.run([*command, str(path)], capture_output=True, check=True)
    (stream,) = json.loads(told.stdout)["streams"]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", width, height)
    assert int(stream["nb_read_frames"]) == 3 * fps
    assert float(stream["duration"]) == 3
    command = [FFMPEG, "-v", "warning", "-err_detect", "explode", "-i", str(path)]
    done = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"], capture_output=True, check=True
    )
    assert done.stderr == b""
    size = width * height * 3 // 2
    pictures = [done.stdout[at : at + size] for at in range(0, len(done.stdout), size)]
    assert len(pictures) == len(set(pictures)) == 3 * fps
    drawn = b"".join(landscape(Film(seed_of(b"x"), width, height, 3, fps).poster))
    luma = dict(zip(drawn, pictures[0], strict=False))
    assert bytes(luma[entry] for entry in drawn) == pictures[0][: width * height]
    changed = sum(a != b for a, b in zip(pictures[0], pictures[-1], strict=True))
    assert 0 < changed < size // 4
