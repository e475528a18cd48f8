"""What a film is, from its headers: size, length, frames per second, whether it has sound."""

from __future__ import annotations

import msgspec

from tokenmarket.core.media.matroska import read_segment
from tokenmarket.core.media.mp4 import read_movie
from tokenmarket.core.media.reader import Bounded, MediaError, Reader
from tokenmarket.core.media.sniff import SNIFF_BYTES, sniff

_ISO = {"video/mp4", "video/quicktime", "video/3gpp", "audio/mp4"}
_MATROSKA = {"video/webm", "video/x-matroska"}
_FPS_MILLI_MAX = 1_000_000


class VideoInfo(msgspec.Struct, frozen=True):
    """``fps_milli`` is frames per 1000 s (29.97 is 29970). None is unknown."""

    content_type: str
    width: int
    height: int
    duration_ms: int | None
    fps_milli: int | None
    has_audio: bool


def video_info(source: Reader, size: int | None = None) -> VideoInfo:
    """What an MP4, MOV or WebM says of itself; reads at most 4 MiB.

    MediaError (a ValueError): it is none, its headers are malformed, or it has no picture track.
    """
    bounded = Bounded(source, size)
    content_type = sniff(bounded.some(0, SNIFF_BYTES))
    if content_type in _ISO:
        found = _iso(bounded, content_type)
    elif content_type in _MATROSKA:
        found = _matroska(bounded, content_type)
    else:
        raise MediaError(f"not an MP4, MOV or WebM film but {content_type or 'something else'}")
    if not found.width or not found.height:
        raise MediaError(f"{content_type}: the picture has no size")
    return found


def _fps_milli(frames: int, per: int, ticks: int) -> int | None:
    if not ticks:
        return None
    fps_milli = (frames * 1000 * per + ticks // 2) // ticks
    return fps_milli if 0 < fps_milli <= _FPS_MILLI_MAX else None


def _iso(source: Bounded, content_type: str) -> VideoInfo:
    movie = read_movie(source)
    picture = next((track for track in movie.tracks if track.kind == b"vide"), None)
    if picture is None:
        raise MediaError(f"{content_type}: no picture track")
    return VideoInfo(
        content_type,
        picture.width,
        picture.height,
        movie.duration_ms,
        _fps_milli(picture.samples, picture.timescale, picture.samples_ticks),
        any(track.kind == b"soun" for track in movie.tracks),
    )


def _matroska(source: Bounded, content_type: str) -> VideoInfo:
    segment = read_segment(source)
    picture = next((track for track in segment.tracks if track.kind == "video"), None)
    if picture is None:
        raise MediaError(f"{content_type}: no picture track")
    return VideoInfo(
        content_type,
        picture.width,
        picture.height,
        segment.duration_ms,
        _fps_milli(1, 1_000_000_000, picture.frame_ns),
        any(track.kind == "audio" for track in segment.tracks),
    )
