"""One server per module, on the event loop that the program uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
import uvloop

from tests.gateway.site import LANES, Site, running
from tests.gateway.wire import OPENED


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    lanes = getattr(request.module, "LANES", LANES)
    catalog = getattr(request.module, "CATALOG", None)
    folder = tmp_path_factory.mktemp("site")
    async with running(folder, lanes=lanes, catalog=catalog) as found:
        yield found


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def closed_wires() -> AsyncIterator[None]:
    """A failing test leaves no open socket to the next."""
    yield
    while OPENED:
        await OPENED.pop().close()
