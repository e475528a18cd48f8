"""What a store of files is; ``local.py`` keeps them in a directory, ``s3.py`` in a bucket.

Keys are ``core.file_urls`` keys. A file is there whole or not at all, and never changes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Protocol

import msgspec

CHUNK_BYTES = 256 * 1024


class StoreFailed(Exception):
    """The store did not do what was asked (disk, network, rights); nothing was half done."""


class Stored(msgspec.Struct, frozen=True):
    """A file that is there now."""

    key: str
    size_bytes: int
    sha256: str  # of its bytes, hexadecimal


class Bucket(msgspec.Struct, frozen=True):
    """Where S3 is: ``url`` is "s3://bucket/prefix". What is None is the library's default."""

    url: str
    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None

    def __repr__(self) -> str:
        return f"Bucket({self.url!r})"  # and no keys


class FileWriter(Protocol):
    """A file in the making. Exactly one of ``commit`` and ``abort`` ends it; ``abort`` after
    ``commit`` does nothing, so that it may stand in a ``finally``. All raise StoreFailed."""

    async def write(self, data: bytes) -> None: ...
    async def commit(self) -> Stored:
        """On its medium when this returns; only then can it be read."""
        ...

    async def abort(self) -> None: ...


class FileStore(Protocol):
    """All raise StoreFailed. ``read`` raises KeyError for a file that is not there."""

    async def open(self, key: str) -> FileWriter: ...
    async def size(self, key: str) -> int | None:
        """None: not there."""
        ...

    def read(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """``length`` bytes from ``start`` (None: to the end), in chunks. Close it
        (``contextlib.aclosing``) if you stop early."""
        ...

    async def delete(self, key: str) -> None:
        """Not being there is no error."""
        ...

    def every_key(self) -> AsyncIterator[str]:
        """Everything that is there, in any order; for the sweep."""
        ...

    async def sweep_drafts(self, older_than_s: float) -> int:
        """Remove what writers of dead processes left; returns how many."""
        ...

    async def close(self) -> None: ...


async def put(store: FileStore, key: str, data: bytes) -> Stored:
    """Store bytes that are in memory."""
    writer = await store.open(key)
    try:
        for start in range(0, len(data), CHUNK_BYTES):
            await writer.write(data[start : start + CHUNK_BYTES])
        return await writer.commit()
    finally:
        await writer.abort()
