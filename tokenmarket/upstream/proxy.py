"""Outbound proxies: which origin goes through which, and the CONNECT tunnel.

``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` are read by ``config.py`` and handed in. A plain
HTTP origin is asked for in absolute form; an HTTPS origin gets a tunnel, and TLS runs inside it
end to end, so the proxy sees neither key nor prompt. The proxy itself is spoken to in plain HTTP
(``http://[user:password@]host[:port]``), which is what those variables hold in practice.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
from typing import cast
from urllib.parse import unquote, urlsplit

from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.origin import Origin, checked_value

ANSWER_BYTES_MAX = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n")


class Proxy:
    """One proxy; ``authorization`` is the value of Proxy-Authorization, or empty."""

    __slots__ = ("authorization", "host", "port")

    def __init__(self, url: str) -> None:
        """Raises ValueError; the message never shows the password."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http":
            raise ValueError("a proxy is given as http://[user:password@]host[:port]")
        address = parts.netloc.rpartition("@")[2]
        where = Origin.parse(f"http://{address}")
        self.host, self.port = where.host, where.port
        self.authorization = ""
        if parts.username is not None:
            account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.authorization = "Basic " + base64.b64encode(account.encode()).decode()

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


class Proxies:
    """The rule: ``choose(origin)`` gives the proxy or None for a direct connection."""

    def __init__(
        self, *, http: str | None = None, https: str | None = None, no_proxy: str | None = None
    ) -> None:
        """The three environment variables as they are (empty = absent). Raises ValueError."""
        self._http = Proxy(http) if http else None
        self._https = Proxy(https) if https else None
        self._direct = [item.strip().lower() for item in (no_proxy or "").split(",")]

    def choose(self, origin: Origin) -> Proxy | None:
        proxy = self._https if origin.tls else self._http
        if proxy is None or any(_covers(item, origin) for item in self._direct):
            return None
        return proxy


def _covers(item: str, origin: Origin) -> bool:
    """One entry of NO_PROXY: ``*``, a name (its subdomains too), address or network, ``:port``."""
    if not item or item == "*":
        return item == "*"
    try:
        network = ipaddress.ip_network(item.strip("[]"), strict=False)
        return ipaddress.ip_address(origin.host) in network
    except ValueError:
        pass  # the entry or the host is a name
    name, colon, port = item.rpartition(":")
    if colon and port.isdecimal():
        if int(port) != origin.port:
            return False
        item = name.strip("[]")
    item = item.removeprefix("*").removeprefix(".")
    host = origin.host.rstrip(".")
    return host == item or host.endswith(f".{item}")


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel; ``opened`` resolves to the transport, ready for TLS."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        target = f"{shown}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}"]
        if proxy.authorization:
            lines.append(f"proxy-authorization: {checked_value(proxy.authorization)}")
        self._ask = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self._heard = b""
        self._transport: asyncio.Transport | None = None
        self.opened: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._ask)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, rest = self._heard.partition(b"\r\n\r\n")
        if not end:
            if len(self._heard) > ANSWER_BYTES_MAX:
                self._fail("the proxy answered with too much")
            return
        status = _STATUS.match(head + b"\r\n")
        if status is None:
            self._fail("the proxy did not answer with HTTP")
        elif status[1][:1] != b"2":
            self._fail(f"the proxy refused the tunnel with status {int(status[1])}")
        elif rest:  # the server speaks second in TLS: these bytes are the proxy's
            self._fail("the proxy sent bytes into the tunnel")
        elif self._transport is not None and not self.opened.done():
            self.opened.set_result(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the proxy closed the connection")

    def _fail(self, message: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(UpstreamError("connect", message))
            # Also when nobody waits any more: an unread exception would be logged at exit.
            self.opened.exception()
        if self._transport is not None:
            self._transport.abort()
