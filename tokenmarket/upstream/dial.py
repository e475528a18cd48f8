"""Opens connections: direct or through a proxy, with TLS verified always.

With a ``vet`` function, names are not resolved by the event loop or by a proxy: ``vet`` gives the
addresses, a connection goes to exactly one of them, and the name is only what TLS asks for. So an
address that was checked is the address that is used (``design/security.md`` F3). A proxy is then
asked for a tunnel to that address; plain http through a proxy is refused, because the proxy would
look the name up again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Final, cast

from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.connection import Connection, Home
from tokenmarket.upstream.origin import Origin
from tokenmarket.upstream.proxy import Proxies, Proxy, Tunnel

# The addresses that may be connected to, best first. May raise anything: it goes to the caller.
Vet = Callable[[Origin], Awaitable[Sequence[str]]]

ADDRESSES_TRIED_MAX: Final = 4


def tls_context() -> ssl.SSLContext:
    """The system's trust store (or SSL_CERT_FILE), host name checks, TLS 1.2 or newer."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialer:
    """Makes ``Connection`` objects that are ready for a request."""

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None,
        proxies: Proxies,
        clock: Callable[[], float],
        idle_s: float,
        vet: Vet | None = None,
    ) -> None:
        context = tls_context() if ssl_context is None else ssl_context
        if context.verify_mode != ssl.CERT_REQUIRED or not context.check_hostname:
            raise ValueError("upstream certificates are verified always")
        self._tls = context
        self._proxies = proxies
        self._clock = clock
        self._idle_s = idle_s
        self._vet = vet

    def proxy(self, origin: Origin) -> Proxy | None:
        return self._proxies.choose(origin)

    async def open(self, origin: Origin, home: Home, connect_s: float) -> Connection:
        """Raises UpstreamError: timeout (stage connect) or connect."""
        connection = Connection(home, self._clock, self._idle_s)
        try:
            # The only timers per await in this package: they are paid once per connection.
            async with asyncio.timeout(connect_s):
                await self._open(connection, origin, connect_s)
        except TimeoutError:
            message = f"no connection within {connect_s:g} s"
            raise UpstreamError("timeout", message, stage="connect") from None
        except ssl.SSLCertVerificationError as error:
            message = f"the certificate is not trusted: {error.verify_message}"
            raise UpstreamError("connect", message) from error
        except OSError as error:
            raise UpstreamError("connect", f"no connection: {_why(error)}") from error
        return connection

    async def _open(self, connection: Connection, origin: Origin, connect_s: float) -> None:
        loop = asyncio.get_running_loop()
        proxy = self._proxies.choose(origin)
        if self._vet is not None:
            addresses = (await self._vet(origin))[:ADDRESSES_TRIED_MAX]
            await self._open_vetted(connection, origin, proxy, addresses, connect_s)
        elif proxy is None:
            context = self._tls if origin.tls else None
            await loop.create_connection(lambda: connection, origin.host, origin.port, ssl=context)
        elif not origin.tls:
            await loop.create_connection(lambda: connection, proxy.host, proxy.port)
        else:
            await self._tunnel(connection, origin, proxy, origin.host)

    async def _open_vetted(
        self,
        connection: Connection,
        origin: Origin,
        proxy: Proxy | None,
        addresses: Sequence[str],
        connect_s: float,
    ) -> None:
        """One after the other, each for its share of the time: one that swallows packets must not
        keep the next from being tried."""
        if proxy is not None and not origin.tls:
            message = "plain http is not asked through a proxy, which would look the name up itself"
            raise UpstreamError("connect", message)
        failure = OSError("no address")
        for address in addresses:
            try:
                async with asyncio.timeout(connect_s / len(addresses)):
                    if proxy is None:
                        await self._connect(connection, origin, address)
                    else:
                        await self._tunnel(connection, origin, proxy, address)
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
            else:
                return
        raise failure

    async def _connect(self, connection: Connection, origin: Origin, address: str) -> None:
        """To this address, with the name for TLS; the peer is looked at again afterwards."""
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: connection,
            address,
            origin.port,
            ssl=self._tls if origin.tls else None,
            server_hostname=origin.host if origin.tls else None,
        )
        peer = cast("tuple[str, int] | None", transport.get_extra_info("peername"))
        if peer is None or ip_address(peer[0]) != ip_address(address):
            transport.abort()
            raise UpstreamError("connect", "connected to an address that was not checked")

    async def _tunnel(
        self, connection: Connection, origin: Origin, proxy: Proxy, host: str
    ) -> None:
        loop = asyncio.get_running_loop()
        tunnel = Tunnel(proxy, host, origin.port)
        plain, _ = await loop.create_connection(lambda: tunnel, proxy.host, proxy.port)
        try:
            opened = await tunnel.opened
            secure = await loop.start_tls(
                opened, connection, self._tls, server_hostname=origin.host
            )
        except BaseException:
            plain.abort()
            raise
        if secure is None:
            raise ConnectionResetError("the proxy closed the tunnel")
        connection.connection_made(secure)


def _why(error: OSError) -> str:
    """The cause in words, without the addresses that some loops put into the message."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'})"
    if isinstance(error, socket.gaierror):
        return "the host name is not known"
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return type(error).__name__
