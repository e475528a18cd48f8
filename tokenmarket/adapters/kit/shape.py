"""Reading decoded JSON of unknown shape without trusting it."""

from __future__ import annotations

from typing import cast

COUNT_MAX = 10**15  # larger numbers are nonsense and would only overflow something later


def mapping(value: object) -> dict[str, object]:
    """The value if it is an object, else an empty one."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def sequence(value: object) -> list[object]:
    """The value if it is an array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def text(value: object) -> str | None:
    """The value if it is a string with something in it."""
    return value if isinstance(value, str) and value else None


def count(value: object) -> int:
    """A token count: whole numbers only (also written 12.0), else 0. May be negative: whoever
    bills repairs that and says so."""
    if type(value) is int:
        if -COUNT_MAX < value < COUNT_MAX:
            return value
        return COUNT_MAX if value > 0 else -COUNT_MAX
    if type(value) is float and value.is_integer():
        return int(max(-COUNT_MAX, min(COUNT_MAX, value)))
    return 0
