"""URLs from outside: what is refused for its form alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.fetch_url import Target, redirected, target


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://e.example", "e.example", 443, "/"),
        ("HTTPS://E.Example:443/A", "e.example", 443, "/A"),
        ("https://e.example:80/a", "e.example", 80, "/a"),
        ("https://e.example?q=1&r=%2F", "e.example", 443, "/?q=1&r=%2F"),
        ("https://e.example/a|b/ü?x={1}", "e.example", 443, "/a%7Cb/%C3%BC?x=%7B1%7D"),
        ("https://e.example//a/../b", "e.example", 443, "//a/../b"),
        ("https://1.2.3.4/a", "1.2.3.4", 443, "/a"),
        ("https://[2606:4700::0001]/a", "2606:4700::1", 443, "/a"),
        ("https://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example", 443, "/"),
        ("https://a_b.example/", "a_b.example", 443, "/"),
    ],
)
def test_read(url: str, host: str, port: int, path: str) -> None:
    assert target(url) == Target("https", host, port, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "e.example/a",
        "//e.example/a",
        "https:/e.example",
        "https://",
        "https:///a",
        "https://?a",
        "http://e.example/a",
        "ftp://e.example/a",
        "file:///etc/passwd",
        "gopher://e.example/",
        "data:text/plain,a",
        "javascript:alert(1)",
        "https://user@e.example/",
        "https://user:pw@e.example/",
        "https://e.example@127.0.0.1/",
        "https://e.example#@127.0.0.1/",
        "https://e.example/a#b",
        "https://e.example\\@127.0.0.1/",
        "https://e.example/a\\b",
        "https://e.example/a\r\nhost: x",
        "https://e.example/a\nb",
        "https://e.example/\x00",
        "https://e.example/\x7f",
        "https://e.example/a b",
        " https://e.example/",
        "https://e.example/ ",
        "ht\ntps://e.example/",
        "https://e.exa\tmple/",
        "https://e.example:0/",
        "https://e.example:22/",
        "https://e.example:6379/",
        "https://e.example:8443/",
        "https://e.example:99999/",
        "https://e.example:443443/",
        "https://e.example:+443/",
        "https://e.example:/",
        "https://e.example:٤٤٣/",
        "https://e..example/",
        "https://.e.example/",
        "https://e.example./",
        "https://-e.example/",
        "https://e-.example/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 130}example/",
        "https://e%2eexample/",
        "https://münchen.example/",
        "https://e．example/",
        "https://ｅ.example/",
        "https://xn--a.example/",
        "https://xn--.example/",
        "https://xn--abc-.example/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://1.2.3.04/",
        "https://1.2.3.256/",
        "https://1.2.3.4.5/",
        "https://e.0x/",
        "https://[::1/",
        "https://::1/",
        "https://[fe80::1%25eth0]/",
        "https://[1.2.3.4]/",
        "https://[e.example]/",
        "https://" + "e" * 60 + ".example/" + "a" * 2048,
    ],
)
def test_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|host|address"):
        target(url)


def test_http_and_ports_by_setting() -> None:
    assert target("http://e.example/", allow_http=True).port == 80
    assert target("https://e.example:8443/", ports=(443, 8443)).port == 8443
    with pytest.raises(ValueError, match="ports 443, 8443"):
        target("https://e.example:80/", ports=(8443, 443))


def test_an_allowed_origin_is_exactly_that() -> None:
    allowed = ("127.0.0.1:9000", "[::1]:9000")
    assert target("http://127.0.0.1:9000/r/1", allowed=allowed).endpoint == allowed[0]
    assert target("http://[0:0::1]:9000/r/1", allowed=allowed).endpoint == allowed[1]
    for other in ("http://127.0.0.1:9001/", "http://127.0.0.2:9000/", "http://localhost:9000/"):
        with pytest.raises(ValueError, match="begins with https"):
            target(other, allowed=allowed)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b?c", "https://e.example/b?c"),
        ("c", "https://e.example/a/c"),
        ("?q", "https://e.example/a/b?q"),
        ("//other.example/x", "https://other.example/x"),
        ("http://other.example/x", "http://other.example/x"),
        ("https://o.example/\xc3\xbc", "https://o.example/%C3%BC"),
        ("/x#y", "https://e.example/x#y"),
        ("ht\ttps://o.example/", "ht\ttps://o.example/"),
    ],
)
def test_where_a_redirect_leads(location: str, url: str) -> None:
    assert redirected(target("https://e.example/a/b"), location) == url


@given(st.text(max_size=60))
def test_what_is_accepted_can_be_written_and_read_again(text: str) -> None:
    for url in (text, f"https://{text}", f"https://e.example/{text}", f"https://{text}/a"):
        try:
            found = target(url)
        except ValueError:
            continue
        assert found.host.isascii()
        assert found.path.isascii()
        assert not set(found.url) & set(" \r\n\t\x00\\#@" if "@" not in found.path else " \r\n\t")
        assert target(found.url) == found
