"""How long sound plays, and that no file can make this expensive."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.media import writers
from tokenmarket.core.media.audio import DURATION_MS_MAX, duration_ms
from tokenmarket.core.media.reader import READ_BYTES_MAX, READS_MAX, BytesReader, MediaError
from tokenmarket.core.media.video import video_info

MP3_MS = 1152 * 1000 / 44100


class Counting:
    """A Reader that counts; ``repeat`` makes a short piece a long file without memory."""

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self.data = data
        self.size = len(data) if size is None else size
        self.bytes_read = 0
        self.reads = 0

    def read_at(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length > 0
        self.reads += 1
        length = min(length, self.size - offset)
        self.bytes_read += length
        begin = offset % len(self.data)
        copies = (begin + length) // len(self.data) + 1
        return (self.data * copies)[begin : begin + length]


def rf64(seconds: int) -> bytes:
    plain = writers.wav(seconds, claimed=0xFFFFFFFF)
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 0, 16000 * seconds, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + plain[12:] + b"trailing chunk"


FILES: dict[str, tuple[bytes, float]] = {
    "wav": (writers.wav(1.5), 1500),
    "wav that says 0": (writers.wav(1.5, claimed=0), 1500),
    "wav of a stream": (writers.wav(1.5, claimed=0xFFFFFFFF), 1500),
    "wav that says too much": (writers.wav(1.5, claimed=1_000_000), 1500),
    "wav with something after": (writers.wav(1.5, claimed=8000), 500),
    "wav with a wrong byte rate": (writers.wav(1.5, byte_rate=4_000_000), 1500),
    "wav compressed": (writers.wav(1.5, tag=0x11, byte_rate=8000), 3000),
    "wav of 64 bits": (rf64(2), 2000),
    "mp3": (writers.mp3(100), 100 * MP3_MS),
    "mp3 with a tag before and after": (
        writers.mp3(100, id3=100_000) + b"TAG" + bytes(125),
        100 * MP3_MS,
    ),
    "mp3 with damage": (writers.mp3(50) + bytes(3000) + writers.mp3(50), 100 * MP3_MS),
    "mp3 with a count": (writers.mp3(100, xing=100), 100 * MP3_MS),
    "mp3 with a count by VBRI": (writers.mp3(100, vbri=100), 100 * MP3_MS),
    "mp3 with a count too low": (writers.mp3(100, xing=2), 101 * MP3_MS),
    "mp3 with a count too high": (writers.mp3(100, xing=1_000_000), 101 * MP3_MS),
    "mp3 of one frame": (writers.mp3(1), MP3_MS),
    "aac": (writers.adts(100), 100 * 1024 / 44.1),
    "flac": (writers.flac(44100), 1000),
    "flac of a stream": (writers.flac(40960, total=0), 40960 / 44.1),
    "flac with noise like a frame": (
        writers.flac(40960, total=0) + b"\xff\xf8\x3f\xff\xff\xc1" + bytes(60),
        40960 / 44.1,
    ),
    "flac with a tag": (writers.mp3(0, id3=200) + writers.flac(44100), 1000),
    "opus": (writers.opus(3), 3000),
    "vorbis": (writers.vorbis(66150), 1500),
    "opus beside a film": (
        writers.ogg_page(1, 0, b"\x80theora" + bytes(40), 2) + writers.opus(3),
        3000,
    ),
    "m4a": (writers.m4a(9), 9000),
    "m4a with the header first": (writers.m4a(9, moov_first=True), 9000),
    "m4a that says less than its samples": (writers.m4a(9, claimed=1), 9000),
    "m4a that says nothing": (writers.m4a(9, claimed=0), 9000),
    "mp4 in fragments": (writers.fragmented(5), 5000),
    "mp4 in fragments with durations": (writers.fragmented(5, own_durations=True), 5000),
    "webm": (writers.webm(), 3000),
    "webm from a browser": (writers.webm(duration_ms=None, live=True, video=False), 3000),
    "webm without a duration": (writers.webm(duration_ms=None, clusters=4), 3940),
    "mka": (writers.webm(video=False, doc_type=b"matroska"), 3000),
    "amr": (b"#!AMR\n" + (b"\x3c" + bytes(31)) * 50, 1000),
    "amr wide": (b"#!AMR-WB\n" + (b"\x44" + bytes(60)) * 50, 1000),
}


@pytest.mark.parametrize("name", FILES)
def test_lengths(name: str) -> None:
    data, expected = FILES[name]
    found = duration_ms(BytesReader(data))
    assert found is not None
    assert abs(found - expected) <= 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"text that is no sound at all",
        writers.png(3, 3),
        writers.wav(0),
        writers.wav(1, byte_rate=0, tag=2),
        writers.flac(0),
        writers.ftyp(),
        writers.ftyp() + writers.moov(),
        writers.webm(clusters=0, duration_ms=None),
        writers.webm(duration_ms=float("nan"), clusters=0),
        writers.webm(duration_ms=float("inf"), clusters=0),
        writers.webm(duration_ms=-1.0, clusters=0),
        writers.webm(duration_ms=1e17),
        writers.opus(0),
        writers.mp3(0, id3=5000),
        b"#!AMR\n" + b"\x4c" * 100,
        # a little sound in front does not make a long file short
        writers.mp3(3) + bytes(70_000) + writers.mp3(500),
    ],
    ids=range(18),
)
def test_cannot_tell(data: bytes) -> None:
    assert duration_ms(BytesReader(data)) is None


def test_only_so_many_bytes_count() -> None:
    assert duration_ms(BytesReader(writers.wav(2, claimed=0)), 8000 + 58) == 500


def test_a_long_file_is_not_read_whole() -> None:
    frame = writers.mp3(1)
    long = Counting(frame, 417 * 500_000)  # 200 MB, without a count
    found = duration_ms(long)
    assert found is not None
    assert abs(found - 500_000 * MP3_MS) < 500_000 * MP3_MS / 1000
    assert long.bytes_read <= READ_BYTES_MAX


def hostile() -> dict[str, Counting]:
    big = 200_000_000
    ftyp = writers.ftyp()
    return {
        "boxes of no length": Counting(ftyp + struct.pack(">I4s", 0, b"free") * 1000, big),
        "boxes shorter than their header": Counting(ftyp + struct.pack(">I4s", 4, b"free"), big),
        "a million small boxes": Counting(struct.pack(">I4s", 8, b"free") * 512, big),
        "small boxes behind a brand": Counting(ftyp + writers.box(b"free") * 5000, big),
        "scattered boxes": Counting(ftyp + writers.box(b"free", bytes(50_000)), big),
        "boxes in boxes": Counting(ftyp + writers.box(b"moov", writers.box(b"moov") * 9999), big),
        "a box that reaches beyond everything": Counting(
            ftyp + struct.pack(">I4sQ", 1, b"moov", 1 << 63) + bytes(1000), big
        ),
        "a table without end": Counting(
            ftyp
            + writers.moov(writers.trak(b"soun", 1, 1, 1)).replace(
                b"stts\x00\x00\x00\x00\x00\x00\x00\x01", b"stts\x00\x00\x00\x00\xff\xff\xff\xff"
            )
        ),
        "chunks of no length": Counting(b"RIFF1234WAVE" + b"JUNK\x00\x00\x00\x00" * 1000, big),
        "elements of no length": Counting(writers.webm(clusters=0) + b"\xec\x80" * 1000, big),
        "clusters without end": Counting(
            writers.webm(duration_ms=None, live=True, clusters=0) + b"\x1f\x43\xb6\x75\xff" * 9999,
            big,
        ),
        "all ones": Counting(b"\xff", big),
        "frames of eight bytes": Counting(writers.adts(1, 1), big),
        "frames and damage": Counting(writers.mp3(2) + bytes(50_000), big),
        "tags after tags": Counting(b"ID3\x04\x00\x00\x00\x00\x00\x00" * 99, big),
        "sync words only": Counting(
            b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x00" * 99, big
        ),
        "pages of another stream": Counting(
            writers.opus(1) + writers.ogg_page(5, 9, bytes(99)) * 9, big
        ),
        "first pages only": Counting(writers.ogg_page(5, 0, b"nothing known", 2), big),
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile_files_are_cheap(name: str) -> None:
    source = hostile()[name]
    duration_ms(source)
    try:
        video_info(source)
    except MediaError:
        pass
    assert source.bytes_read <= 2 * READ_BYTES_MAX
    assert source.reads <= READS_MAX


@pytest.mark.parametrize("name", FILES)
def test_cut_anywhere(name: str) -> None:
    data, _ = FILES[name]
    cuts = {*range(min(len(data), 700)), *range(max(0, len(data) - 300), len(data))}
    for length in cuts:
        source = Counting(data[:length] or b"\x00", length)
        found = duration_ms(source)
        assert found is None or 0 < found <= DURATION_MS_MAX
        # the same bytes by another way: the reader has more, but only so many count
        assert duration_ms(Counting(data), length) == found


@settings(max_examples=600)
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 255)), min_size=1, max_size=5),
    st.booleans(),
)
def test_flipped_bytes(name: str, flips: list[tuple[int, int]], from_end: bool) -> None:
    data = bytearray(FILES[name][0])
    for at, value in flips:
        data[(-1 - at if from_end else at) % len(data)] ^= value
    source = Counting(bytes(data))
    found = duration_ms(source)
    assert found is None or 0 < found <= DURATION_MS_MAX
    assert source.bytes_read <= READ_BYTES_MAX
    try:
        video_info(source)
    except MediaError:
        pass


@settings(max_examples=200)
@given(st.sampled_from(sorted(FILES)), st.binary(max_size=400))
def test_any_bytes_behind_a_known_beginning(name: str, data: bytes) -> None:
    beginning = FILES[name][0][:40]
    for source in (Counting(beginning + data), Counting(beginning + data, 10_000_000)):
        found = duration_ms(source)
        assert found is None or 0 < found <= DURATION_MS_MAX
        assert source.bytes_read <= READ_BYTES_MAX


def test_a_reader_that_gives_less_than_it_has() -> None:
    class Short(BytesReader):
        def read_at(self, offset: int, length: int) -> bytes:
            return super().read_at(offset, length)[:5]

    for data, _ in FILES.values():
        found = duration_ms(Short(data))
        assert found is None or found > 0


def test_recorded_uploads(recorded: Path) -> None:
    """One WAV of a stream, 3.7 s by the providers that say so (xAI, OpenAI)."""
    seen = 0
    for path in sorted(recorded.glob("*.transcription.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            exchange = json.loads(line)
            body = base64.b64decode(exchange["request"].get("body_b64") or "")
            begin = body.find(b"RIFF")
            if begin < 0:
                continue
            end = body.find(b"\r\n--", begin)
            found = duration_ms(BytesReader(body[begin : end if end > 0 else None]))
            said = exchange["response"]["body"].get("duration")
            assert found is not None
            assert abs(found - (said or 3.7) * 1000) < 20
            seen += 1
    assert seen >= 4
