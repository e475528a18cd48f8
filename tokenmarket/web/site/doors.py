"""Which requests are for people, and the doors to them: pages, and the playground's API.

This module is imported with the server; everything behind it when it is first used.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wire import Client, Inbound

if TYPE_CHECKING:
    from tokenmarket.web.site.parts import Parts
    from tokenmarket.web.site.playground import Playground
    from tokenmarket.web.site.site import Site

PLAYGROUND = "/console-api/"
_EXACT = frozenset({"/", "/en", "/zh", "/robots.txt", "/favicon.ico", "/llms.txt"})
_PREFIXES = ("/en/", "/zh/", "/static/")


def is_page(inbound: Inbound) -> bool:
    """Whether a person asks: a path of ours, or a browser that looks for something not there."""
    path = inbound.path
    if path in _EXACT or path.startswith(_PREFIXES):
        return True
    return (
        inbound.method == "GET"
        and b"text/html" in inbound.headers.get(b"accept", b"")
        and not path.startswith(("/api/", "/files/", "/webhooks/"))
        and path not in ("/healthz", "/readyz", "/metrics")
    )


class Doors:
    """``parts`` is called when somebody comes for the first time."""

    def __init__(self, parts: Callable[[], Parts], *, strict_texts: bool) -> None:
        self._parts = parts
        self._strict_texts = strict_texts
        self._site: Site | None = None
        self._playground: Playground | None = None
        self._building = asyncio.Lock()

    async def page(self, inbound: Inbound, client: Client) -> None:
        """Answer a person."""
        site = self._site or await self._build()
        await site.handle(inbound, client)

    async def playground(self, inbound: Inbound, client: Client) -> None:
        """An API request of the console's playground, by somebody signed in."""
        await self._build()
        if self._playground is not None:
            await self._playground.handle(inbound, client)

    async def admit(self, inbound: Inbound) -> None:
        """Whether an upload of the playground may be taken in. Raises ApiError."""
        await self._build()
        if self._playground is None:
            raise ApiError("REQUEST_004", "There is nothing here.")
        await self._playground.admit(inbound)

    async def _build(self) -> Site:
        async with self._building:
            if self._site is None:
                site = await asyncio.to_thread(self._make)
                module = importlib.import_module("tokenmarket.web.site.playground")
                self._playground = module.Playground(site)
                self._site = site
            return self._site

    def _make(self) -> Site:
        module = importlib.import_module("tokenmarket.web.site.site")
        made: Site = module.Site(self._parts(), strict_texts=self._strict_texts)
        return made

    def close(self) -> None:
        if self._site is not None:
            self._site.close()
