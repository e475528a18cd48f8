"""Lengths of vectors: cut and scaled to length one again, where a model was trained for that."""

from __future__ import annotations

import math

from tokenmarket.core.catalog import Route


def is_matryoshka(route: Route) -> bool:
    """Whether the beginning of the model's vectors is a vector, too (a fact of the catalog)."""
    return route.model.capabilities.get("matryoshka") is True


def shortened(vector: list[float], dimensions: int) -> list[float]:
    """The first ``dimensions`` numbers, of length one."""
    return normalised(vector[:dimensions])


def normalised(vector: list[float]) -> list[float]:
    """Of length one; a vector that already is, or has none, stays as it is."""
    length = math.hypot(*vector)
    if not length or not math.isfinite(length) or abs(length - 1) < 1e-6:
        return vector
    return [number / length for number in vector]
