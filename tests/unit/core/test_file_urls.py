"""Names and signed addresses of stored files."""

from __future__ import annotations

import pytest

from tokenmarket.core.errors import ApiError
from tokenmarket.core.file_urls import (
    FileUrls,
    content_type_of,
    delete_at_s,
    is_key,
    new_key,
    tenant,
)

KEY = new_key("org_1", 1_800_000_000, bytes(range(16)), "image/png; charset=x")
URLS = FileUrls(b"k" * 32, "https://gw.example")


def parts(url: str) -> tuple[str, bytes]:
    path, _, query = url.removeprefix("https://gw.example").partition("?")
    return path, query.encode()


def code(path: str, query: bytes, now_s: float = 1_700_000_000) -> str:
    with pytest.raises(ApiError) as caught:
        URLS.check(path, query, now_s)
    return caught.value.code


def test_a_key_says_tenant_end_and_type() -> None:
    assert is_key(KEY)
    assert KEY.startswith(tenant("org_1") + "/")
    assert "org_1" not in KEY
    assert delete_at_s(KEY) == 1_800_000_000
    assert content_type_of(KEY) == "image/png"
    svg = new_key("org_1", 5, bytes(16), "image/svg+xml")
    assert content_type_of(svg) == "application/octet-stream"
    assert content_type_of("what/ever.html") == "application/octet-stream"
    assert new_key("org_1", 5, bytes(16), "x") != new_key("org_2", 5, bytes(16), "x")
    with pytest.raises(ValueError, match="random"):
        new_key("org_1", 5, b"short", "image/png")


@pytest.mark.parametrize("bad", ["", "a/b.png", "../" + KEY, KEY + "/x", KEY.upper(), KEY + "\n"])
def test_what_is_no_key(bad: str) -> None:
    assert not is_key(bad)
    assert delete_at_s(bad) is None
    assert code("/files/" + bad, b"e=1&s=" + b"a" * 43) == "REQUEST_004"
    with pytest.raises(ValueError, match="key"):
        URLS.url(bad, 1)


def test_an_address_is_good_until_its_end_and_exactly_as_written() -> None:
    path, query = parts(URLS.url(KEY, 1_700_000_100))
    assert URLS.check(path, query, 1_700_000_099.9) == KEY
    assert code(path, query, 1_700_000_100) == "REQUEST_009"
    other = new_key("org_1", 1_800_000_000, bytes(16), "image/png")
    assert code("/files/" + other, query) == "REQUEST_004"
    for wrong in (
        query.replace(b"e=17", b"e=18"),
        query[:-1] + (b"A" if query[-1:] != b"A" else b"E"),
        query + b"&x=1",
        query + b"=",
        b"",
        b"e=1&s=",
        query.replace(b"e=1", b"e=01"),
    ):
        assert code(path, wrong) == "REQUEST_004"
    strangers = FileUrls(b"l" * 32, "https://gw.example")
    assert code(*parts(strangers.url(KEY, 1_700_000_100))) == "REQUEST_004"
