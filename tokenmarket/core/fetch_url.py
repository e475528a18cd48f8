"""A URL from outside, read strictly: what ``upstream/fetch.py`` may even try to download.

Only form is judged here; where the name leads is judged when it is resolved. Strict, because two
readers of an unclear URL may disagree about its host: no user info, no fragment, no backslash, no
control characters or spaces, no host that is a number in disguise (``0x7f.1``, ``2130706433``), and
international names only in their ASCII form.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, urljoin

import msgspec

from tokenmarket.core.addresses import public
from tokenmarket.core.wording import say

URL_CHARS_MAX: Final = 2048
HTTPS: Final = 443
HTTP: Final = 80
_PARTS = re.compile(r"(https?)://([^/?]*)((?:[/?].*)?)", re.IGNORECASE)
_WHERE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_QUAD = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}", re.ASCII)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)
_UNCLEAR = re.compile(r"[\x00-\x20\x7f\\#]")
_KEPT: Final = "!$%&'()*+,-./:;=?@[]_~"  # stays as written; all else is percent-encoded


class Target(msgspec.Struct, frozen=True):
    """Where to ask for what. ``path`` begins with a slash and has the query."""

    scheme: str
    host: str  # lower case; an IPv6 address without brackets
    port: int
    path: str

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def endpoint(self) -> str:
        """As ``core/addresses.endpoint`` writes it."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"{shown}:{self.port}"

    @property
    def url(self) -> str:
        default = self.port == (HTTPS if self.tls else HTTP)
        place = self.endpoint.rpartition(":")[0] if default else self.endpoint
        return f"{self.scheme}://{place}{self.path}"


def target(
    url: str,
    *,
    allowed: tuple[str, ...] = (),
    allow_http: bool = False,
    ports: Collection[int] = (HTTPS, HTTP),
) -> Target:
    """Raises ValueError with a message for the one who wrote the URL.

    ``allowed``: ``host:port`` of origins that the operator chose; there http and any port are fine.
    A tuple and never one text, in which a part would be found.
    """
    if len(url) > URL_CHARS_MAX:
        raise ValueError(say("a URL has at most {chars_max} characters", chars_max=URL_CHARS_MAX))
    if _UNCLEAR.search(url) is not None:
        raise ValueError(say("a URL has no spaces, control characters, backslashes or fragment"))
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise ValueError(say("a URL begins with https://"))
    scheme = parts[1].lower()
    if "@" in parts[2]:
        raise ValueError(say("a URL has no user name or password"))
    where = _WHERE.fullmatch(parts[2])
    if where is None:
        raise ValueError(say("a URL has a host, and a port only as a number"))
    host = _host(where[1])
    port = int(where[2]) if where[2] else HTTPS if scheme == "https" else HTTP
    path = parts[3] if parts[3].startswith("/") else "/" + parts[3]
    found = Target(scheme, host, port, quote(path, safe=_KEPT))
    if found.endpoint in allowed:
        return found
    if scheme != "https" and not allow_http:
        raise ValueError(say("a URL begins with https://"))
    if port not in ports:
        known = ", ".join(map(str, sorted(ports)))
        raise ValueError(say("a URL has one of the ports {ports}", ports=known))
    return found


def public_target(url: str, *, allowed: tuple[str, ...] = ()) -> Target:
    """As ``target``, for a URL that is kept for later: an address in it that can never be fetched
    is refused at once. A name is judged when it is looked up."""
    found = target(url, allowed=allowed)
    literal = ":" in found.host or _QUAD.fullmatch(found.host) is not None
    local = found.host == "localhost" or found.host.endswith(".localhost")
    if found.endpoint not in allowed and (local or (literal and not public(found.host))):
        raise ValueError(say("its address is not public"))
    return found


def redirected(current: Target, location: str) -> str:
    """The URL that a ``Location`` header means, still to be checked by ``target``.

    The header was read as latin-1; raw bytes above ASCII in it are percent-encoded as they are.
    """
    plain = (
        location if location.isascii() else quote(location, safe=_KEPT + "#", encoding="latin-1")
    )
    if (
        _UNCLEAR.search(plain.replace("#", "")) is not None
    ):  # urljoin would drop tabs and line ends silently
        return plain
    return urljoin(current.url, plain)


def _host(text: str) -> str:
    host = text.lower()
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(say("not an IPv6 address")) from None
    if not host.isascii():
        raise ValueError(say("an international host name is written in its ASCII form, xn--…"))
    if _QUAD.fullmatch(host) is not None:
        return host
    labels = host.split(".")
    if len(host) > 253 or any(_LABEL.fullmatch(label) is None for label in labels):
        raise ValueError(say("not a host name"))
    if _NUMBER.fullmatch(labels[-1]) is not None:
        raise ValueError(say("an IPv4 address is written as four decimal numbers"))
    if any(label.startswith("xn--") and not _is_punycode(label) for label in labels):
        raise ValueError(say("not an international host name: its xn-- part does not decode"))
    return host


def _is_punycode(label: str) -> bool:
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
        again = decoded.encode("punycode").decode("ascii")
    except (UnicodeError, ValueError):
        return False
    return (
        not decoded.isascii()
        and decoded.isprintable()
        and decoded == decoded.lower()
        and again == label[4:]
    )
