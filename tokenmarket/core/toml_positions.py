"""Which line a key of a TOML document is on: the standard library's parser does not tell.

``positions`` reads text that ``tomllib`` has already accepted, so it only has to find things, not
to check them. It knows tables, arrays of tables, dotted and quoted keys, arrays and inline tables.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

Path = tuple[str | int, ...]

# Strings first (three-quoted before one-quoted), comments, punctuation, newlines, bare words.
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}|\'\'\'(?:[^\']|\'{1,2}(?!\'))*\'{3,5}'
    r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|\n|[\[\]{}=,.]|[^\s\[\]{}=,."\'#]+',
    re.DOTALL,
)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._tokens = self._tokenize(text)
        self.token, self.line = "", 0
        self.advance()

    @staticmethod
    def _tokenize(text: str) -> Iterator[tuple[str, int]]:
        line, at = 1, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", at, match.start())
            at = match.start()
            if not match.group().startswith("#"):
                yield match.group(), line

    def advance(self) -> str:
        """Moves to the next token ("" at the end) and returns the one that was current."""
        token = self.token
        self.token, self.line = next(self._tokens, ("", self.line))
        return token

    def accept(self, token: str) -> bool:
        """Moves on if the current token is this one."""
        if self.token != token:
            return False
        self.advance()
        return True

    def skip_newlines(self) -> None:
        while self.accept("\n"):
            pass

    def key(self) -> tuple[str, ...]:
        """A key, dotted or not; the scanner stands behind it."""
        parts = [_plain(self.advance())]
        while self.accept("."):
            parts.append(_plain(self.advance()))
        return tuple(parts)

    def pair(self, path: Path) -> None:
        line = self.line
        full = path
        for part in self.key():
            full = (*full, part)
            self.lines.setdefault(full, line)
        self.advance()  # =
        self.value(full)

    def value(self, path: Path) -> None:
        if self.token == "[":
            self.members("]", path)
        elif self.token == "{":
            self.members("}", path)
        else:
            while self.token not in ("", "\n", ",", "]", "}"):
                self.advance()

    def members(self, end: str, path: Path) -> None:
        self.advance()
        self.skip_newlines()
        index = 0
        while self.token not in ("", end):
            if end == "]":
                self.lines[(*path, index)] = self.line
                self.value((*path, index))
                index += 1
            else:
                self.pair(path)
            self.skip_newlines()
            if self.accept(","):
                self.skip_newlines()
        self.advance()


def positions(text: str) -> dict[Path, int]:
    """Line (from 1) of every table, key and array element: ``("route", 3, "price", 1, "usd")``."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    table: Path = ()
    counts: dict[Path, int] = {}  # elements of each array of tables so far
    while scanner.token:
        line = scanner.line
        if scanner.accept("\n"):
            continue
        if scanner.accept("["):
            is_element = scanner.accept("[")
            table = ()
            names = scanner.key()
            for position, name in enumerate(names):
                table = (*table, name)
                if is_element and position == len(names) - 1:
                    counts[table] = counts.get(table, 0) + 1
                if table in counts:
                    table = (*table, counts[table] - 1)
            scanner.lines.setdefault(table, line)
            while scanner.accept("]"):
                pass
        else:
            scanner.pair(table)
    return scanner.lines


def _plain(token: str) -> str:
    if token[:1] not in ('"', "'"):
        return token
    return str(next(iter(tomllib.loads(f"{token} = 0"))))
