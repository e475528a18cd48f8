"""The table of adapters."""

from __future__ import annotations

from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.registry import ADAPTERS, find
from tokenmarket.core.catalog import OPERATIONS


def test_every_row_is_complete() -> None:
    for name, operations in ADAPTERS.items():
        assert operations, name
        assert operations.keys() <= set(OPERATIONS), name


def test_find() -> None:
    assert find("openai", "chat") is ADAPTERS["openai"]["chat"]
    assert find("openai", "rerank") is None
    assert find("nobody", "chat") is None


def test_paths_differ_by_operation() -> None:
    paths = {
        "chat": "/chat/completions",
        "completions": "/completions",
        "embeddings": "/embeddings",
    }
    for name, operations in ADAPTERS.items():
        for operation, one in operations.items():
            quirks = getattr(one, "quirks", None)
            if operation in paths and isinstance(quirks, Quirks):
                assert quirks.path == paths[operation], (name, operation)
