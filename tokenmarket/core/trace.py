"""W3C trace context (https://www.w3.org/TR/trace-context/): kept, and continued upstream."""

from __future__ import annotations

import re

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_NO_TRACE = b"0" * 32


def trace_id(traceparent: bytes | None) -> str | None:
    """The trace id of a traceparent header, or None if it is not one."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    if match is None or match.group(1) == _NO_TRACE:
        return None
    return match.group(1).decode("ascii")


def continued(traceparent: bytes, request_id: str) -> str:
    """The header for the upstream: the caller's trace, this gateway's request as parent span.

    ``traceparent`` is a valid one (``trace_id`` gave an id).
    """
    _, trace, _, flags = traceparent.split(b"-")[:4]
    return f"00-{trace.decode('ascii')}-{request_id[-16:]}-{flags.decode('ascii')}"
