"""Tests of the upstream client run on both event loops; others choose their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from tests.fault.fetch_site import MakeSite, Site, sites


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories = {"asyncio": asyncio.new_event_loop}
    if item.path.name.startswith("test_upstream_"):
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
async def make_site() -> AsyncIterator[MakeSite]:
    async with sites() as make:
        yield make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    return make_site()
