"""What a film is by its headers."""

from __future__ import annotations

import struct

import pytest

from tests.unit.core.media import writers
from tokenmarket.core.media.reader import BytesReader, MediaError
from tokenmarket.core.media.video import VideoInfo, video_info


def info(data: bytes) -> VideoInfo:
    return video_info(BytesReader(data))


def test_mp4_either_way_round() -> None:
    expected = VideoInfo("video/mp4", 640, 360, 4010, 25_000, True)
    assert info(writers.mp4()) == info(writers.mp4(moov_first=False)) == expected


def test_a_turned_picture() -> None:
    found = info(writers.mp4(matrix=writers.QUARTER_TURN))
    assert (found.width, found.height) == (360, 640)


def test_an_edit_list_shortens() -> None:
    movie = writers.moov(
        writers.trak(b"vide", 600, 100, 20, size=(16, 9), edit=1500), duration=1500
    )
    found = info(writers.ftyp(b"qt  ") + movie)
    assert found == VideoInfo("video/quicktime", 16, 9, 1500, 30_000, False)


def test_frames_per_second_need_not_be_whole() -> None:
    movie = writers.moov(writers.trak(b"vide", 30_000, 60, 1001, size=(16, 9)))
    assert info(writers.ftyp() + movie).fps_milli == 29_970


def test_size_from_the_sample_entry() -> None:
    entry = (
        struct.pack(">I4s", 86, b"avc1") + bytes(24) + struct.pack(">HH", 1920, 1080) + bytes(50)
    )
    track = writers.trak(b"vide", 1000, 10, 100)
    old = writers.box(b"stsd", struct.pack(">II", 0, 0))
    new = writers.box(b"stsd", struct.pack(">II", 0, 1), entry)
    grown = len(new) - len(old)
    data = bytearray(writers.ftyp() + writers.moov(track).replace(old, new))
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):  # all around it grow with it
        at = data.index(kind) - 4
        data[at : at + 4] = struct.pack(">I", struct.unpack(">I", data[at : at + 4])[0] + grown)
    found = info(bytes(data))
    assert (found.width, found.height) == (1920, 1080)


def test_webm() -> None:
    assert info(writers.webm()) == VideoInfo("video/webm", 854, 480, 3000, 25_000, True)
    live = info(writers.webm(duration_ms=None, live=True))
    assert live == VideoInfo("video/webm", 854, 480, 2940, 25_000, True)
    assert info(writers.webm(doc_type=b"matroska")).content_type == "video/x-matroska"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "something else"),
        (writers.png(3, 2), "image/png"),
        (writers.m4a(3), "no picture track"),
        (writers.webm(video=False), "no picture track"),
        (writers.ftyp(), "no moov"),
        (writers.mp4(width=0), "no size"),
        (writers.mp4()[:300], "ends inside"),
    ],
)
def test_no_film(data: bytes, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        info(data)


@pytest.mark.parametrize("data", [writers.mp4(), writers.webm(), writers.fragmented(2)])
def test_cut_at_every_byte(data: bytes) -> None:
    for length in range(min(len(data), 2000)):
        try:
            found = info(data[:length])
        except MediaError:
            continue
        assert (found.width, found.height) in ((640, 360), (854, 480))
