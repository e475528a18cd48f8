"""Unit tests touch no network: connecting a socket is an error here."""

import socket
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses every connection except over AF_UNIX.

    Event loops wake themselves up through a socket pair, which is AF_UNIX on Linux and never calls
    connect, so asyncio works.
    """

    def refuse(name: str) -> Any:
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, *arguments: Any) -> Any:
            if self.family == socket.AF_UNIX:
                return real(self, *arguments)
            raise AssertionError(f"a unit test called socket.{name}{arguments!r:.100}")

        return guarded

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse(name))

    def no_names(*arguments: Any, **_: Any) -> Any:
        raise AssertionError(f"a unit test resolved a host name: {arguments!r:.100}")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
