"""The headers of an upstream's answer, as a dict with lower-case names; limits included."""

from __future__ import annotations

import re
from typing import Final

HEAD_BYTES_MAX: Final = 64 * 1024
HEADERS_MAX: Final = 200

_KEEP_ALIVE_S = re.compile(r"timeout=(\d{1,6})", re.ASCII)
_names: dict[bytes, str] = {}  # as they came -> lower case; upstreams use few, so it is bounded
_NAMES_MAX: Final = 1024


def collect(raw: dict[bytes, bytes], bytes_read: int) -> dict[str, str]:
    """Names in lower case, values as latin-1. Raises ValueError above the limits.

    ``bytes_read`` is what came since the head began, body included: only if that is much, the
    exact size is counted.

    ``raw`` has the first value of a name; which one of a doubled header counts is of no
    consequence: llhttp refuses doubled lengths, and a body that ends elsewhere is no success.
    """
    if len(raw) > HEADERS_MAX:
        raise ValueError("the answer has more than 200 headers")
    if bytes_read > HEAD_BYTES_MAX and _size(raw) > HEAD_BYTES_MAX:
        raise ValueError("the head of the answer is larger than 64 KiB")
    try:
        return {_names[name]: value.decode("latin-1") for name, value in raw.items()}
    except KeyError:
        return {_learn(name): value.decode("latin-1") for name, value in raw.items()}


def promised_idle_s(keep_alive: str, idle_s: float) -> float:
    """How long the connection may stay idle: ``idle_s`` or what ``Keep-Alive: timeout=`` says,
    less a second because the upstream's clock began before ours."""
    timeout = _KEEP_ALIVE_S.search(keep_alive)
    return idle_s if timeout is None else min(idle_s, max(int(timeout[1]) - 1.0, 0.0))


def _size(raw: dict[bytes, bytes]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in raw.items())


def _learn(raw_name: bytes) -> str:
    name = raw_name.decode("latin-1").lower()
    if len(_names) < _NAMES_MAX and len(raw_name) < 64:
        _names[raw_name] = name
    return name
