"""A fetcher whose names and public addresses are made up, for tests of downloads.

The servers listen on 127.0.0.1, which stands for the public internet here; 127.0.0.2 and all else
is private. Names are looked up in a table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import pytest

from tests.fault.upstream_server import Handler, Link, Upstream
from tokenmarket.core.catalog import Timeouts
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.dial import tls_context
from tokenmarket.upstream.fetch import Fetcher, FetchRefused

OK = b"HTTP/1.1 200 OK\r\ncontent-type: Image/PNG; x=y\r\ncontent-length: 2\r\n\r\nok"
SHORT = Timeouts(connect=0.1, first_byte=0.1, idle=0.1, total=5.0)


class Names:
    """A name server: each name has a list of answers, the last one for ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        answers = self.answers.get(host.removesuffix(".example"), [[host]])
        return answers.pop(0) if len(answers) > 1 else answers[0]


class Site:
    """A fetcher for the names of the test, and shorthands."""

    def __init__(self, fetcher: Fetcher, names: Names) -> None:
        self.fetcher = fetcher
        self.names = names

    async def read(self, url: str, **more: Any) -> tuple[str, bytes]:
        return await self.fetcher.read(url, **{"bytes_max": 1000, **more})

    async def refused(self, url: str, **more: Any) -> FetchRefused:
        with pytest.raises(FetchRefused) as raised:
            await self.read(url, **more)
        return raised.value


class AnyPort(frozenset[int]):
    def __contains__(self, port: object) -> bool:
        return True


MakeSite = Callable[..., Site]
one_context = cache(tls_context)  # making one takes longer than a test


@asynccontextmanager
async def sites() -> AsyncIterator[MakeSite]:
    """Gives a function that makes a Site; takes what ``Fetcher`` takes, and ``names``."""
    made: list[Fetcher] = []
    usual = UpstreamClient(sweep_s=0.01, ssl_context=one_context())

    def make(**options: Any) -> Site:
        names = options.pop("names", None) or Names(good=[["127.0.0.1"]], bad=[["127.0.0.2"]])
        options = {"allow_http": True, "sweep_s": 0.01, "ssl_context": one_context(), **options}
        fetcher = Fetcher(usual, lookup=names, is_public=lambda a: a == "127.0.0.1", **options)
        fetcher._ports = AnyPort()  # the servers of a test cannot have port 80
        made.append(fetcher)
        return Site(fetcher, names)

    yield make
    for fetcher in made:
        await fetcher.close()
    await usual.close()


def url_of(upstream: Upstream, host: str = "good.example", scheme: str = "http") -> str:
    return f"{scheme}://{host}:{upstream.port}/a?b=c"


def saying(*pieces: bytes, stay: bool = False) -> Handler:
    async def handler(link: Link) -> None:
        await link.request()
        for piece in pieces:
            link.writer.write(piece)
            await link.writer.drain()
        if stay:
            await link.gone()

    return handler


def moved(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} x\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()
