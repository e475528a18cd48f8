"""Framing: every cut, every line end, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.adapters.kit.sse import BOM, Events, payload
from tokenmarket.core.errors import UpstreamError


def read(data: bytes, cuts: list[int] | None = None) -> list[bytes]:
    events = Events()
    found: list[bytes] = []
    at = 0
    for cut in [*sorted(cuts or []), len(data)]:
        cut = min(cut, len(data))
        found += events.feed(data[at:cut])
        at = max(at, cut)
    return found + events.close()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b": ping\n\ndata: a\n\n: pong\n\n", [b"a"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (BOM + b"data: a\n\n", [b"a"]),
        (b"\n\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"data\n\n", [b""]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"database: a\n\n", []),
        (b"", []),
    ],
)
def test_forms(data: bytes, expected: list[bytes]) -> None:
    assert read(data) == expected
    assert read(data, list(range(len(data)))) == expected


LINES = st.sampled_from(
    [b"data: {}", b"data:x", b"data", b": c", b"event: e", b"", b"", b"data: \xe4\xbd\xa0", b"junk"]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(
    st.lists(st.tuples(LINES, ENDS), max_size=12),
    st.booleans(),
    st.lists(st.integers(0, 120), max_size=8),
)
def test_any_cut_gives_the_same(
    lines: list[tuple[bytes, bytes]], bom: bool, cuts: list[int]
) -> None:
    data = (BOM if bom else b"") + b"".join(line + end for line, end in lines)
    assert read(data, cuts) == read(data) == read(data, list(range(len(data))))


@given(st.lists(st.binary(max_size=20), max_size=8), st.lists(st.integers(0, 100), max_size=5))
def test_what_is_written_is_read(bodies: list[bytes], cuts: list[int]) -> None:
    """Round trip of any data without line ends in it."""
    bodies = [body.replace(b"\r", b"").replace(b"\n", b"") for body in bodies]
    data = b"".join(b"data: " + body + b"\n\n" for body in bodies)
    assert read(data, cuts) == bodies


@pytest.mark.parametrize(
    "piece", [b"data: " + b"x" * 50, b"data: x\n", b"data\n", b"x" * 60, b"data:\r\n"]
)
def test_bounded(piece: bytes) -> None:
    events = Events(event_bytes_max=1000)

    def drip() -> None:
        for _ in range(1000):
            events.feed(piece)

    with pytest.raises(UpstreamError) as caught:
        drip()
    assert caught.value.kind == "upstream_error"


def test_payload_of_one_event() -> None:
    assert payload(b"data: {}") == b"{}"
    assert payload(b"event: e\ndata: a\ndata: b") == b"a\nb"
    assert payload(b": comment") is None
    assert payload(b"\ndata: a") == b"a"
