"""The headers of an upstream's answer, read from the bytes of its head when somebody asks.

Most answers have a dozen headers of which the gateway wants one, so they are not taken one by one
from the parser: llhttp has checked the head (strict mode: CR LF only, no folded lines, no NUL, no
space before a colon), and what it let pass is cut here at exactly those places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar, overload

HEAD_BYTES_MAX: Final = 64 * 1024
HEADERS_MAX: Final = 200

_KEEP_ALIVE_S = re.compile(r"timeout=(\d{1,6})", re.ASCII)
_CROWDED_BYTES: Final = 4 * HEADERS_MAX  # fewer cannot hold 200 headers
_NAMES_MAX: Final = 1024
_searched: dict[str, bytes] = {}  # a name -> what to look for; our code asks for few names

_Default = TypeVar("_Default")


class HeaderLines(Mapping[str, str]):
    """Names in lower case, values as latin-1 without outer blanks.

    Of a doubled name the first counts; which one is of no consequence: llhttp refuses doubled
    lengths, and a body that ends elsewhere is no success.
    """

    __slots__ = ("_all", "_head", "lower")

    def __init__(self, head: bytes) -> None:
        """``head``: status line and headers, without the CR LF of the last one and what follows.
        Raises ValueError above the limits: 64 KiB, 200 headers."""
        if len(head) > _CROWDED_BYTES:
            if len(head) > HEAD_BYTES_MAX:
                raise ValueError("the head of the answer is larger than 64 KiB")
            if head.count(b"\r\n") > HEADERS_MAX:
                raise ValueError("the answer has more than 200 headers")
        self._head = head
        self._all: dict[str, str] | None = None
        self.lower = head.lower()  # to search in: b"\\r\\nname:" stands only before a value

    def __getitem__(self, name: str) -> str:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, /, default: str) -> str: ...
    @overload
    def get(self, key: str, /, default: _Default) -> str | _Default: ...
    def get(self, key: str, /, default: object = None) -> object:
        """One value, without reading the others."""
        searched = _searched.get(key) or _learn(key)
        at = self.lower.find(searched)
        if at < 0:
            return default
        at += len(searched)
        end = self._head.find(b"\r", at)
        value = self._head[at:end] if end >= 0 else self._head[at:]
        return value.strip(b" \t").decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return f"HeaderLines({self._read()!r})"

    def _read(self) -> dict[str, str]:
        if self._all is None:
            found: dict[str, str] = {}
            for line in self._head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                found.setdefault(
                    name.lower().decode("latin-1"), value.strip(b" \t").decode("latin-1")
                )
            self._all = found
        return self._all


def promised_idle_s(keep_alive: str, idle_s: float) -> float:
    """How long the connection may stay idle: ``idle_s`` or what ``Keep-Alive: timeout=`` says,
    less a second because the upstream's clock began before ours."""
    timeout = _KEEP_ALIVE_S.search(keep_alive)
    return idle_s if timeout is None else min(idle_s, max(int(timeout[1]) - 1.0, 0.0))


def _learn(name: str) -> bytes:
    searched = b"\r\n%s:" % name.encode("latin-1", "replace")  # "?" is in no name
    if len(_searched) < _NAMES_MAX:
        _searched[name] = searched
    return searched
