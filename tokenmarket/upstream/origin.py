"""Where an upstream lives, and the head of a request to it as bytes.

Everything that reaches the wire as text passes through here, so this is the place where CR, LF,
NUL and other ways to smuggle a second header or a second request are refused
(``design/security.md`` N2): a model name or a key may have come from a person.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import urlsplit

Headers = tuple[tuple[str, str], ...]

URL_CHARS_MAX = 2048
COPIED_BODY_BYTES = 64 * 1024
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.(?!-)[a-z0-9_-]{1,63})*\.?", re.ASCII)
_PATH = re.compile(r"(?:/[!$-;=?-Z\[\]_a-z~%@&]*)?", re.ASCII)  # no space, control, #, quote, \
_METHOD = re.compile(r"[A-Z]{1,16}", re.ASCII)
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}", re.ASCII)
_VALUE_BAD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]|^\s|\s$")
# Framing, routing and coding are this client's: an adapter that sets them has a bug.
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_BODYLESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


class Origin:
    """Scheme, host, port and path prefix of a base URL. Get it from ``Origin.parse``.

    Parsing the same URL gives the same object, so pools and rendered heads are found by identity.
    ``authority`` is what goes into ``Host``; ``prefix`` has no trailing slash.
    """

    __slots__ = ("authority", "host", "port", "prefix", "tls")

    def __init__(self, host: str, port: int, prefix: str, *, tls: bool) -> None:
        self.host = host
        self.port = port
        self.prefix = prefix
        self.tls = tls
        shown = f"[{host}]" if ":" in host else host
        self.authority = shown if port == (443 if tls else 80) else f"{shown}:{port}"

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(base_url: str) -> Origin:
        """Raises ValueError for anything but ``http(s)://host[:port][/path]``.

        User info, query, fragment, backslashes and non-ASCII hosts are refused rather than
        guessed at: two readers of such a URL may disagree about where the key is sent.
        """
        if len(base_url) > URL_CHARS_MAX or not base_url.isascii() or "\\" in base_url:
            raise ValueError("a base URL is plain ASCII of at most 2048 characters")
        if re.search(r"[\x00-\x20\x7f]", base_url):
            raise ValueError("a base URL has no spaces or control characters")
        parts = urlsplit(base_url)
        if parts.scheme not in _PORTS:
            raise ValueError("a base URL begins with https:// or http://")
        if "@" in parts.netloc or "?" in base_url or "#" in base_url:
            raise ValueError("a base URL has no user, query or fragment")
        host = (parts.hostname or "").lower()
        if not _is_host(host):
            raise ValueError(f"not a host name: {host!r}")
        if _PATH.fullmatch(parts.path) is None:
            raise ValueError("a character that cannot be in a path")
        port = parts.port if parts.port is not None else _PORTS[parts.scheme]
        if not 0 < port < 65536:
            raise ValueError("a port is 1 to 65535")
        return Origin(host, port, parts.path.rstrip("/"), tls=parts.scheme == "https")

    def __repr__(self) -> str:
        return f"Origin({'https' if self.tls else 'http'}://{self.authority}{self.prefix})"


def _is_host(host: str) -> bool:
    if ":" not in host:
        return len(host) <= 253 and _HOST.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return "%" not in host


def render_head(
    origin: Origin, method: str, path: str, headers: Headers, *, proxy_authorization: str | None
) -> bytes:
    """The request head up to, not including, ``content-length`` and the empty line.

    ``headers`` already contain the credential. ``proxy_authorization`` None: straight to the
    origin; a string (may be empty): the absolute form that a plain HTTP proxy wants. Raises
    ValueError for everything that could break the framing of the request.
    """
    if _METHOD.fullmatch(method) is None:
        raise ValueError(f"not a method: {method!r}")
    if _PATH.fullmatch(path) is None:
        raise ValueError("a character in the path that could break the request line")
    target = origin.prefix + path or "/"
    if proxy_authorization is not None:
        target = f"http://{origin.authority}{target}"
    lines = [f"{method} {target} HTTP/1.1", f"host: {origin.authority}"]
    seen: set[str] = set()
    for name, value in headers:
        lower = checked_name(name).lower()
        if lower in _OURS:
            raise ValueError(f"header {lower} is set by the client")
        if lower in seen:
            raise ValueError(f"header {lower} is given twice")
        seen.add(lower)
        lines.append(f"{lower}: {checked_value(value)}")
    if "user-agent" not in seen:
        lines.append("user-agent: tokenmarket")
    lines.append("accept-encoding: identity")
    if proxy_authorization:
        lines.append(f"proxy-authorization: {checked_value(proxy_authorization)}")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


def render(head: bytes, method: str, body: bytes) -> tuple[bytes, bytes]:
    """What to write: ``head`` of ``render_head`` with length, empty line and a small body; and a
    large body on its own, because copying it would cost more than a second write."""
    if not body and method in _BODYLESS:
        return head + b"\r\n", b""
    if len(body) <= COPIED_BODY_BYTES:
        return b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body), b""
    return b"%scontent-length: %d\r\n\r\n" % (head, len(body)), body


def checked_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"not a header name: {name!r}")
    return name


def checked_value(value: str) -> str:
    """``value`` if it can stand in a header line. The error does not show it: it may be a key."""
    if _VALUE_BAD.search(value) is not None:
        raise ValueError("a header value with a control character, a line end or outer spaces")
    return value
