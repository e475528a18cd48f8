"""One TOML table, read key by key: every mistake becomes a Fault with file, line and key.

Reading goes on after a mistake with the default value, so that one run shows all of them.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterator
from typing import cast

from tokenmarket.core.catalog_rows import Fault, Place
from tokenmarket.core.toml_positions import Path

PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
HEADER_SAFE = re.compile(r"[\x20-\x7e]*")
INTEGER_MAX = 2**63 - 1


class Faults:
    """Collects what is wrong with one file; ``lines`` tells where its keys are."""

    def __init__(self, file: str, lines: dict[Path, int]) -> None:
        self.file = file
        self.lines = lines
        self.found: list[Fault] = []

    def line(self, path: Path) -> int:
        """The line of a key, or of the nearest table around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def add(self, path: Path, message: str) -> None:
        self.found.append(Fault(self.file, self.line(path), key_text(path), message))


def key_text(path: Path) -> str:
    """``("route", 2, "price", 0)`` -> ``route[3].price[1]``: elements count from 1."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += ("." if text else "") + printable(part)
    return text


def printable(value: object, limit: int = 64) -> str:
    """Shows a value of the file in a message: short, and never more than one line."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(char if PRINTABLE.fullmatch(char) else "?" for char in text[: limit + 1])
    return text if len(text) <= limit else text[:limit] + "…"


def near(name: str, legal: Collection[str]) -> str:
    """A hint for a message: the nearest legal name, or all of them if they are few."""
    found = difflib.get_close_matches(name[:64].lower(), sorted(legal), n=1, cutoff=0.6)
    if found:
        return f"did you mean {found[0]!r}?"
    return "known: " + ", ".join(sorted(legal))


class Table:
    """The values of one table. Each getter reads one key; ``close`` reports the unknown rest."""

    def __init__(self, values: dict[str, object], path: Path, faults: Faults) -> None:
        self.values = values
        self.path = path
        self.faults = faults
        self._legal: set[str] = set()

    @property
    def place(self) -> Place:
        return Place(self.faults.file, self.faults.line(self.path))

    def fault(self, key: str, message: str) -> None:
        self.faults.add((*self.path, key), message)

    def take(self, key: str) -> object | None:
        """The value of a legal key, None if it is not there (TOML has no null)."""
        self._legal.add(key)
        return self.values.get(key)

    def _wrong(self, key: str, value: object, expected: str) -> None:
        self.fault(key, f"expected {expected}, found {_type_name(value)}")

    def text(
        self,
        key: str,
        default: str | None = None,
        pattern: re.Pattern[str] = PRINTABLE,
        rule: str = "printable characters on one line",
        length_max: int = 200,
    ) -> str:
        """A string; required without a default. ``rule`` says in words what ``pattern`` wants."""
        value = self.take(key)
        if value is None:
            if default is None:
                self.fault(key, "is required")
            return default or ""
        if not isinstance(value, str):
            self._wrong(key, value, "a string")
        elif len(value) > length_max:
            self.fault(key, f"is longer than {length_max} characters")
        elif not value and default != "":
            self.fault(key, "is empty")
        elif not pattern.fullmatch(value):
            self.fault(key, f"{printable(value)!r} is not allowed here: {rule}")
        else:
            return value
        return default or ""

    def choice(self, key: str, legal: Collection[str], default: str | None = None) -> str:
        value = self.text(key, default)
        if value and value not in legal:
            self.fault(key, f"{printable(value)!r} is not known; {near(value, legal)}")
        return value

    def integer(self, key: str, default: int = 0, least: int = 0, most: int = INTEGER_MAX) -> int:
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(key, value, "a whole number")
        elif not least <= value <= most:
            self.fault(key, f"must be from {least} to {most}")
        else:
            return value
        return default

    def seconds(self, key: str, default: float) -> float:
        """Seconds above 0, up to a day."""
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._wrong(key, value, "a number of seconds")
        elif not 0 < value <= 86_400:  # refuses nan too
            self.fault(key, "must be above 0 and at most 86400 seconds")
        else:
            return float(value)
        return default

    def flag(self, key: str, default: bool | None) -> bool | None:
        value = self.take(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self._wrong(key, value, "true or false")
        return default

    def strings(self, key: str) -> list[tuple[Path, str]]:
        """A list of strings, each with its path."""
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self._wrong(key, value, "a list of strings")
            return []
        result: list[tuple[Path, str]] = []
        for index, element in enumerate(cast("list[object]", value)):
            path = (*self.path, key, index)
            if isinstance(element, str):
                result.append((path, element))
            else:
                self.faults.add(path, f"expected a string, found {_type_name(element)}")
        return result

    def table(self, key: str) -> Table:
        """A sub-table; an empty one if it is not there."""
        value = self.take(key)
        if value is not None and not isinstance(value, dict):
            self._wrong(key, value, "a table { … }")
            value = None
        return Table(cast("dict[str, object]", value or {}), (*self.path, key), self.faults)

    def tables(self, key: str) -> Iterator[Table]:
        """The tables of a list."""
        value = self.take(key)
        if value is not None and not isinstance(value, list):
            self._wrong(key, value, "a list of tables")
            return
        for index, element in enumerate(cast("list[object]", value or [])):
            path = (*self.path, key, index)
            if isinstance(element, dict):
                yield Table(cast("dict[str, object]", element), path, self.faults)
            else:
                self.faults.add(path, f"expected a table {{ … }}, found {_type_name(element)}")

    def close(self) -> None:
        """Reports every key that nobody asked for."""
        for key in self.values:
            if key not in self._legal:
                self.fault(key, f"unknown key; {near(key, self._legal)}")


def free_value(value: object, path: Path, faults: Faults, depth: int = 0) -> object:
    """A capability's value: what JSON can say. Anything else is a fault and becomes None."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not PRINTABLE.fullmatch(value) or len(value) > 1000:
            faults.add(path, "must be printable, on one line, at most 1000 characters")
        return value
    if isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            faults.add(path, "the number is too large")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            faults.add(path, "the number is not finite")
        return value
    if isinstance(value, list) and depth < 8:
        elements = cast("list[object]", value)
        return [
            free_value(element, (*path, index), faults, depth + 1)
            for index, element in enumerate(elements)
        ]
    if isinstance(value, dict) and depth < 8:
        members = cast("dict[str, object]", value)
        for key in members:
            if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", key):
                faults.add((*path, key), "a name is 1 to 64 letters, digits, '_', '.' or '-'")
        return {
            key: free_value(member, (*path, key), faults, depth + 1)
            for key, member in members.items()
        }
    faults.add(path, f"{_type_name(cast('object', value))} is not allowed here")
    return None


def _type_name(value: object) -> str:
    for kind, name in (
        (bool, "true/false"),
        (str, "a string"),
        (int, "a whole number"),
        (float, "a number with a point"),
        (list, "a list"),
        (dict, "a table"),
    ):
        if isinstance(value, kind):
            return name
    return "a date or time"
