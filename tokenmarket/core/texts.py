"""Marks a sentence that pages show to people, in code that knows nothing of pages."""

from __future__ import annotations


def N_(english: str) -> str:
    """The sentence itself; it is found by this name and must have a translation."""
    return english
