"""A small world with an organisation in it, and the payments of a server on it."""

from collections.abc import AsyncGenerator

import pytest

from tests.support.money import World, world
from tests.support.paying import Desk


@pytest.fixture
async def w() -> AsyncGenerator[World]:
    async with world() as made:
        await made.add_owner()
        yield made


@pytest.fixture
def desk(w: World) -> Desk:
    return Desk(w)
