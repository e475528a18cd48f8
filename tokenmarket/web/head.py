"""The head of a request as a front takes it: limits of a connection, headers, what is refused."""

from __future__ import annotations

import msgspec

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wording import say

_SINGLE = frozenset(
    {b"host", b"content-type", b"content-length", b"transfer-encoding", b"idempotency-key"}
)


class FrontLimits(msgspec.Struct, frozen=True):
    """What one connection may cost us."""

    body_bytes_max: int = 32 * 1024 * 1024
    multipart_bytes_max: int = 200 * 1024 * 1024
    header_bytes_max: int = 16 * 1024
    headers_max: int = 100
    header_s: float = 10.0  # from the first byte of a request to the end of its head
    body_stall_s: float = 30.0  # without a byte of the body
    body_bytes_s_min: int = 1024  # slower than this on average, after a first stall_s, is too slow
    idle_s: float = 75.0  # between requests
    write_stall_s: float = 60.0  # a reader that takes nothing
    pipeline_max: int = 16


def headers_of(
    lines: list[tuple[bytes, bytes]], url_bytes: int, limits: FrontLimits
) -> dict[bytes, bytes]:
    """Headers by lower-case names; repeated ones joined by ", ", but those that may come once."""
    headers = {name.lower(): value for name, value in lines}
    if len(headers) != len(lines):
        headers.clear()
        for name, value in lines:
            name = name.lower()
            if name in headers:
                if name in _SINGLE:
                    text = name.decode("latin-1")
                    raise ApiError(
                        "REQUEST_001", say("The header {text} is given twice.", text=text)
                    )
                value = headers[name] + b", " + value
            headers[name] = value
    size = url_bytes + sum(map(len, headers)) + sum(map(len, headers.values()))
    if size > limits.header_bytes_max or len(lines) > limits.headers_max:
        raise head_too_large()
    return headers


def head_too_large() -> ApiError:
    """413 for too long or too many headers."""
    return ApiError("REQUEST_006", "The head of the request is too large.", reason="headers")


def body_too_large(bytes_max: int) -> ApiError:
    """413 for a body above the limit of its kind."""
    return ApiError(
        "REQUEST_006",
        say("The body is larger than {bytes_max} bytes.", bytes_max=bytes_max),
        reason="body",
    )
