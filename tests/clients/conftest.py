"""One running server per module, and the official SDK pointed at it, unmodified."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI

from tests.support.server import Sandbox, Server

TIMEOUT_S = 30.0


@pytest.fixture(scope="session", autouse=True)
def no_proxy() -> Iterator[None]:
    """The SDK and curl obey proxy variables; the server here is local."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Starts servers, each with its own empty data directory; all end with the module."""
    started: list[Server] = []

    def begin(**environment: str) -> Server:
        folder: Path = tmp_path_factory.mktemp("server")
        server = Server(folder / "data", **environment)
        started.append(server)
        return server

    yield begin
    for server in started:
        server.running.end()


@pytest.fixture(scope="module")
def server(start: Callable[..., Server]) -> Server:
    return start()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The sandbox as a server of its own: an upstream over real HTTP that wants a key."""
    running = Sandbox(tmp_path_factory.mktemp("sandbox"), key="sandbox-secret-key")
    yield running
    running.end()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., OpenAI]]:
    """SDK clients of this server; without retries unless asked for."""
    opened: list[OpenAI] = []

    def make(key: str = "", **options: Any) -> OpenAI:
        options = {"max_retries": 0, "timeout": TIMEOUT_S, **options}
        client = OpenAI(base_url=server.base_url, api_key=key or server.key, **options)
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def client(connect: Callable[..., OpenAI]) -> OpenAI:
    return connect()


@pytest_asyncio.fixture
async def aclient(server: Server) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(
        base_url=server.base_url, api_key=server.key, max_retries=0, timeout=TIMEOUT_S
    ) as client:
        yield client
