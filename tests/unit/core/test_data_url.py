"""Bytes written into a request as a ``data:`` URL."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.data_url import TooLarge, decode, is_data_url


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("data:,a", ("text/plain", b"a")),
        ("data:,", ("text/plain", b"")),
        ("DATA:Image/PNG;BASE64,AAE=", ("image/png", b"\x00\x01")),
        ("data:image/png;base64,AAE", ("image/png", b"\x00\x01")),
        ("data:image/png;base64,_-8=", ("image/png", b"\xff\xef")),
        ("data:image/png;base64,AA\r\nE=", ("image/png", b"\x00\x01")),
        ("data:image/png;base64,%2F%2B8%3D", ("image/png", b"\xff\xef")),
        ("data:audio/wav;codecs=1;base64,AAE=", ("audio/wav", b"\x00\x01")),
        ("data:;base64,AAE=", ("text/plain", b"\x00\x01")),
        ("data:text/plain;charset=utf-8,%C3%BC,b", ("text/plain", b"\xc3\xbc,b")),
    ],
)
def test_read(url: str, found: tuple[str, bytes]) -> None:
    assert is_data_url(url)
    assert decode(url, 100) == found


@pytest.mark.parametrize(
    "url",
    [
        "https://e.example/",
        "data:",
        "data:image/png;base64",
        "data:image;base64,AAE=",
        "data:image/png\r\nx: y;base64,AAE=",
        "data:image/png;base64,A",
        "data:image/png;base64,AAAAA",
        "data:image/png;base64,AA=E",
        "data:image/png;base64,AAE==",
        "data:image/png;base64,A===",
        "data:image/png;base64,AA*=",
        "data:image/png;base64,ä",
        "data:" + "a" * 600 + "/b,x",
    ],
)
def test_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"data"):
        decode(url, 100)


@pytest.mark.parametrize("url", ["data:,aaaaa", "data:;base64,AAAAAAA=", "data:," + "%41" * 5000])
def test_too_large(url: str) -> None:
    with pytest.raises(TooLarge):
        decode(url, 4)


@given(st.binary(max_size=200))
def test_any_bytes_come_back(data: bytes) -> None:
    url = f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"
    assert decode(url, len(data)) == ("application/octet-stream", data)
    if data:
        with pytest.raises(TooLarge):
            decode(url, len(data) - 1)
