"""The usage of one request that was sent upstream in several parts."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tokenmarket.core.usage import UNITS, Usage

_FIELDS = tuple(unit.field for unit in UNITS.values() if unit.field != "requests")


def add_usage(parts: Iterable[Usage | None]) -> Usage | None:
    """Counts added up; None where no part reported any. To the caller it was one request."""
    known: list[Usage] = []
    missing = False
    for part in parts:
        if part is None:
            missing = True
        else:
            known.append(part)
    if not known:
        return None
    flags = [flag for part in known for flag in part.flags]
    if missing:
        flags.append("usage_missing")
    return msgspec.structs.replace(
        known[0],
        **{name: sum(getattr(part, name) for part in known) for name in _FIELDS},
        requests=max(part.requests for part in known),
        estimated=any(part.estimated for part in known),
        flags=tuple(dict.fromkeys(flags)),
    )
