"""One request as an operation of the desk sees it, whichever front took it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_NONE: Mapping[str, str] = {}


class Call(msgspec.Struct, frozen=True):
    """``path`` is without ``/v1`` and query. ``asked``: the ``x-sandbox-`` headers, without prefix.
    ``host``: where the server was called, "" inside the gateway's process. ``now_s`` is the wall
    clock."""

    method: str
    path: str
    query: str = ""
    asked: Mapping[str, str] = _NONE
    body: bytes = b""
    content_type: str = ""
    host: str = ""
    byte_range: str = ""
    now_s: float = 0.0
