"""Names to addresses, for URLs that strangers wrote.

In threads of its own: a name server that answers slowly on purpose holds up other strangers' URLs,
never the event loop's lookups, which providers need.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

Lookup = Callable[[str, int], Awaitable[list[str]]]

THREADS: Final = 4


class Resolver:
    """The system's resolver. Call it: (host name or address, port) -> addresses, best first."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "lookup")

    async def __call__(self, host: str, port: int) -> list[str]:
        """Raises OSError if the name is not known. Cancelled, it lets its thread run out alone."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _look_up, host, port)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str, port: int) -> list[str]:
    flags = socket.AI_ADDRCONFIG | socket.AI_NUMERICSERV
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys(str(where[0]) for _, _, _, _, where in found))
