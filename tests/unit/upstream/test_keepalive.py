from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.upstream.fake import cut
from tokenmarket.upstream.keepalive import Waiting

SSE = "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("content_type", "data", "real"),
    [
        (SSE, b": keep-alive\n\n" * 3, False),
        (SSE, b": keep-alive\r\n\r\n:", False),
        (SSE, b":\r:\r", False),
        (SSE, b": a: data\n", False),
        (SSE, b": a\ndata: 1\n", True),
        (SSE, b"event: ping\n", True),
        ("application/json", b"\n\n  \r\n", False),
        ("application/json", b"\n\n{", True),
        ("application/json", b": x", True),
    ],
)
def test_what_is_real(content_type: str, data: bytes, real: bool) -> None:
    @settings(deadline=None)
    @given(st.lists(st.integers(0, 100), max_size=6))
    def check(places: list[int]) -> None:
        waiting = Waiting(content_type)
        found = [waiting.real(piece) for piece in cut(data, places)]
        assert any(found) == real

    check()


def test_a_flood_of_comments_is_read_in_linear_time() -> None:
    assert not Waiting(SSE).real(b":\n" * 200_000)


def test_only_text_can_wait() -> None:
    assert Waiting.possible("application/json")
    assert not Waiting.possible("audio/mpeg")
    assert not Waiting.possible("")
