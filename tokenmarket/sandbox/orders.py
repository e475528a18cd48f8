"""(pure) What was ordered of a video, inside the id of its task.

Everything that a task is later asked for follows from its id and the time, so a restarted sandbox
(or another process) still answers for it. Only cancelling, deleting and the prompt's text are
remembered, see ``videos``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import cast

import msgspec

from tokenmarket.sandbox.filming import Film

PREFIX = "video_"
MODELS = (
    "sandbox-video",
    "sandbox-video-fail",
    "sandbox-video-slow",
    "sandbox-video-lost",
    "sandbox-cut",
    "sandbox-slow",
    "sandbox-badjson",
    "sandbox-nousage",
)
_PACKED = struct.Struct(">BBBHHQIQ8s")
_CHECK_BYTES = 4


class Order(msgspec.Struct, frozen=True):
    """``delay_ms``: from the creation to the end. ``number`` makes ids differ."""

    model: str
    film: Film
    created_ms: int
    delay_ms: int
    number: int

    def task_id(self) -> str:
        film = self.film
        packed = _PACKED.pack(
            MODELS.index(self.model),
            film.seconds,
            film.fps,
            film.width,
            film.height,
            self.created_ms,
            self.delay_ms,
            self.number,
            film.seed,
        )
        return PREFIX + base64.urlsafe_b64encode(packed + _check(packed)).decode().rstrip("=")


def ordered(task_id: str) -> Order | None:
    """The order of an id; None for any other text."""
    if not task_id.startswith(PREFIX):
        return None
    text = task_id.removeprefix(PREFIX)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    packed, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    if len(packed) != _PACKED.size or check != _check(packed):
        return None
    told = cast("tuple[int, int, int, int, int, int, int, int, bytes]", _PACKED.unpack(packed))
    model, seconds, fps, width, height, created_ms, delay_ms, number, seed = told
    film = Film(seed, width, height, seconds, fps)
    return Order(MODELS[model], film, created_ms, delay_ms, number)


def _check(packed: bytes) -> bytes:
    return hashlib.blake2b(b"video" + packed, digest_size=_CHECK_BYTES).digest()
