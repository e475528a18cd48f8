"""Headers read from the bytes are the headers that llhttp reads."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmarket.upstream.headers import HeaderLines

STATUS = b"HTTP/1.1 200 OK"


class Listener:
    """What httptools hears of one answer, header by header."""

    def __init__(self) -> None:
        self.lines: list[tuple[bytes, bytes]] = []
        self.whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append((name, value))

    def on_headers_complete(self) -> None:
        self.whole = True


def heard(head: bytes) -> dict[str, str] | None:
    """The first value of each name as the parser tells them; None: refused."""
    listener = Listener()
    try:
        httptools.HttpResponseParser(listener).feed_data(head + b"\r\n\r\n")
    except httptools.HttpParserError:
        return None
    if not listener.whole:
        return None
    found: dict[str, str] = {}
    for name, value in listener.lines:
        found.setdefault(name.decode("latin-1").lower(), value.strip(b" \t").decode("latin-1"))
    return found


NAMES = st.sampled_from([b"X-Request-Id", b"x-request-id", b"Date", b"ETAG", b"a", b"x-a:b", b""])
VALUES = st.binary(max_size=12) | st.sampled_from([b"", b" a", b"\t1 \t", b"x-request-id: 7", b":"])
SEPARATORS = st.sampled_from([b":", b": ", b":\t ", b" :"])
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\r\n"])


@settings(deadline=None, max_examples=500)
@given(st.lists(st.tuples(NAMES, SEPARATORS, VALUES, ENDS), max_size=6), st.binary(max_size=3))
def test_same_as_the_parser(lines: list[tuple[bytes, bytes, bytes, bytes]], more: bytes) -> None:
    head = STATUS + b"\r\n" + b"".join(b"".join(line) for line in lines) + b"x:" + more
    head = (head + b"\r\n\r\n").partition(b"\r\n\r\n")[0]  # where the connection cuts
    expected = heard(head)
    if expected is None:
        return  # an answer that llhttp refuses is read by nobody
    read = HeaderLines(head)
    assert dict(read) == expected == read
    for name in [*expected, "date", "absent"]:
        assert read.get(name) == expected.get(name)
        assert (name in read) == (name in expected)


def test_one_value_at_a_time() -> None:
    lines = HeaderLines(STATUS + b"\r\nX-Id:  A b\t\r\nEmpty:\r\nx-id: second\r\nLast: \xe9")
    assert (lines["x-id"], lines["empty"], lines["last"]) == ("A b", "", "\xe9")
    assert (lines.get("X-Id"), lines.get("id"), lines.get("id", "-")) == (None, None, "-")
    assert (lines.get("ok"), lines.get("http/1.1 200 ok"), lines.get("键")) == (None, None, None)
    with pytest.raises(KeyError):
        lines["absent"]
    assert (len(lines), list(lines)) == (3, ["x-id", "empty", "last"])
    assert dict(HeaderLines(STATUS)) == {}


@pytest.mark.parametrize(("count", "bytes_each"), [(200, 8), (201, 0), (20, 4000)])
def test_limits(count: int, bytes_each: int) -> None:
    head = STATUS + b"".join(b"\r\nX-%d: %s" % (i, b"a" * bytes_each) for i in range(count))
    if count == 200:
        assert len(HeaderLines(head)) == 200
        return
    with pytest.raises(ValueError, match="200 headers" if count > 200 else "64 KiB"):
        HeaderLines(head)
