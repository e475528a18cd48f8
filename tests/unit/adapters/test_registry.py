"""The table of adapters."""

from __future__ import annotations

from tokenmarket.adapters.registry import ADAPTERS, find
from tokenmarket.core.catalog import OPERATIONS


def test_every_row_is_complete() -> None:
    for name, operations in ADAPTERS.items():
        assert operations, name
        assert operations.keys() <= set(OPERATIONS), name


def test_find() -> None:
    assert find("openai", "chat") is ADAPTERS["openai"]["chat"]
    assert find("openai", "video") is None
    assert find("nobody", "chat") is None


def test_paths_differ_by_operation() -> None:
    paths = {
        "chat": "/chat/completions",
        "completions": "/completions",
        "embeddings": "/embeddings",
    }
    for name, operations in ADAPTERS.items():
        for operation in paths.keys() & operations.keys():
            one = operations[operation]
            assert one.quirks.path == paths[operation], (name, operation)
