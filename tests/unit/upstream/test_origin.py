"""What may become a request head, and what may not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmarket.upstream.origin import COPIED_BODY_BYTES, Origin, render, render_head


@pytest.mark.parametrize(
    ("url", "host", "port", "prefix", "authority", "tls"),
    [
        ("https://api.example.com/v1", "api.example.com", 443, "/v1", "api.example.com", True),
        (
            "https://API.example.com:8443/",
            "api.example.com",
            8443,
            "",
            "api.example.com:8443",
            True,
        ),
        ("http://127.0.0.1:8000/v1/", "127.0.0.1", 8000, "/v1", "127.0.0.1:8000", False),
        ("http://[::1]:80", "::1", 80, "", "[::1]", False),
        ("http://my_vllm/a/b", "my_vllm", 80, "/a/b", "my_vllm", False),
    ],
)
def test_base_urls(url: str, host: str, port: int, prefix: str, authority: str, tls: bool) -> None:
    origin = Origin.parse(url)
    assert (origin.host, origin.port, origin.prefix) == (host, port, prefix)
    assert (origin.authority, origin.tls) == (authority, tls)
    assert Origin.parse(url) is origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sandbox:",
        "ftp://example.com",
        "https://",
        "https://user:pw@example.com",
        "https://example.com@evil.com",
        "https://example.com/v1?key=1",
        "https://example.com/v1?",
        "https://example.com/#x",
        "https://exa mple.com",
        "https://example.com/\r\nx: y",
        "https://example.com\\@evil.com",
        "https://例.com",
        "https://example.com:0",
        "https://example.com:99999",
        "https://example.com:x",
        "https://-example.com",
        "https://a..b",
        "https://[::1",
        "https://[fe80::1%25eth0]",
        "https://" + "a." * 1200 + "com",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Origin.parse(url)


ORIGIN = Origin.parse("https://api.example.com/v1")


def test_a_request() -> None:
    head = render_head(
        ORIGIN,
        "POST",
        "/chat/completions",
        (("Content-Type", "application/json"), ("authorization", "Bearer k")),
        proxy_authorization=None,
    )
    assert render(head, "POST", b"{}") == (
        b"POST /v1/chat/completions HTTP/1.1\r\n"
        b"host: api.example.com\r\n"
        b"content-type: application/json\r\n"
        b"authorization: Bearer k\r\n"
        b"user-agent: tokenmarket\r\n"
        b"accept-encoding: identity\r\n"
        b"content-length: 2\r\n"
        b"\r\n"
        b"{}",
        b"",
    )
    assert render(head, "POST", b"")[0].endswith(b"content-length: 0\r\n\r\n")
    assert render(head, "GET", b"")[0] == head + b"\r\n"
    big = b"x" * (COPIED_BODY_BYTES + 1)
    lead, body = render(head, "POST", big)
    assert body is big
    assert lead.endswith(b"content-length: %d\r\n\r\n" % len(big))


def test_absolute_form_for_a_proxy() -> None:
    origin = Origin.parse("http://h:81/p")
    head = render_head(origin, "GET", "/x", (), proxy_authorization="Basic abc")
    assert head.startswith(b"GET http://h:81/p/x HTTP/1.1\r\nhost: h:81\r\n")
    assert b"proxy-authorization: Basic abc\r\n" in head
    assert b"proxy-auth" not in render_head(origin, "GET", "/x", (), proxy_authorization="")


@pytest.mark.parametrize(
    "header",
    [
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x", " a"),
        ("x", "a "),
        ("x", "a\x7f"),
        ("x", "键"),
        ("x\r\n", "a"),
        ("x:", "a"),
        ("", "a"),
        ("x y", "a"),
        ("Host", "evil"),
        ("Content-Length", "1"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("accept-encoding", "gzip"),
    ],
)
def test_headers_that_are_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="header") as raised:
        render_head(ORIGIN, "POST", "/x", (header,), proxy_authorization=None)
    assert "evil" not in str(raised.value)


def test_a_header_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        render_head(
            ORIGIN, "POST", "/", (("api-key", "a"), ("Api-Key", "b")), proxy_authorization=None
        )


@pytest.mark.parametrize(
    "path", ["x", "/a b", "/a\r\nb", "/a#b", "/a\0", "/ä", "http://evil/", "/a\\b", '/"', "/a\n"]
)
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        render_head(ORIGIN, "POST", path, (), proxy_authorization=None)


@pytest.mark.parametrize("method", ["post", "", "GET /", "A\n", "GET\r\n"])
def test_methods_that_are_refused(method: str) -> None:
    with pytest.raises(ValueError, match="method"):
        render_head(ORIGIN, method, "/", (), proxy_authorization=None)


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_text_never_breaks_the_framing(path: str, name: str, value: str) -> None:
    try:
        head = render_head(ORIGIN, "POST", "/" + path, ((name, value),), proxy_authorization=None)
    except ValueError:
        return
    lines = head.split(b"\r\n")
    assert len(lines) == 6  # request line, host, the header, user-agent, accept-encoding, end
    assert b"\n" not in head.replace(b"\r\n", b"")
    assert b"\r" not in head.replace(b"\r\n", b"")
    assert lines[0].count(b" ") == 2
