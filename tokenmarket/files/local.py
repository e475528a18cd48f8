"""Stored files in a directory: DATA/files/TENANT/NAME, private to the user that runs the gateway.

A file is written in ``.drafts`` beside the tenants, flushed to the disk, and linked to its name in
one step. Reads and flushes run in threads, because a disk may make them wait; writes go to the page
cache at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from tokenmarket.core.file_urls import is_key
from tokenmarket.files.store import CHUNK_BYTES, Stored, StoreFailed

_DRAFTS = ".drafts"


class LocalFiles:
    """A ``FileStore`` over one directory, which is made when it is first needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, key: str) -> Path:
        if not is_key(key):  # before anything else: a key becomes a path here
            raise ValueError("not the key of a stored file")
        return self._directory / key

    async def open(self, key: str) -> LocalWriter:
        path = self._path(key)
        draft = self._directory / _DRAFTS / secrets.token_hex(16)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.parent.mkdir(mode=0o700, exist_ok=True)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            return LocalWriter(key, path, draft, os.open(draft, flags, 0o600))
        except OSError as error:
            raise StoreFailed(f"cannot make a file: {error.strerror}") from error

    async def size(self, key: str) -> int | None:
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreFailed(f"cannot look at a file: {error.strerror}") from error

    async def read(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise KeyError(key) from None
        except OSError as error:
            raise StoreFailed(f"cannot open a file: {error.strerror}") from error
        try:
            left = os.fstat(descriptor).st_size - start if length is None else length
            while left > 0:
                data = await asyncio.to_thread(os.pread, descriptor, min(left, CHUNK_BYTES), start)
                if not data:
                    return
                yield data
                start += len(data)
                left -= len(data)
        except OSError as error:
            raise StoreFailed(f"cannot read a file: {error.strerror}") from error
        finally:
            os.close(descriptor)

    async def delete(self, key: str) -> None:
        try:
            await asyncio.to_thread(self._path(key).unlink, missing_ok=True)
        except OSError as error:
            raise StoreFailed(f"cannot delete a file: {error.strerror}") from error

    async def every_key(self) -> AsyncGenerator[str, None]:
        for key in await asyncio.to_thread(self._listed):
            yield key

    def _listed(self) -> list[str]:
        try:
            return [
                f"{path.parent.name}/{path.name}"
                for path in self._directory.glob("*/*")
                if path.parent.name != _DRAFTS
            ]
        except OSError as error:
            raise StoreFailed(f"cannot list files: {error.strerror}") from error

    async def sweep_drafts(self, older_than_s: float) -> int:
        return await asyncio.to_thread(self._sweep_drafts, older_than_s)

    def _sweep_drafts(self, older_than_s: float) -> int:
        count = 0
        for path in (self._directory / _DRAFTS).glob("*"):
            try:
                if time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()
                    count += 1
            except OSError:  # another process was quicker
                continue
        return count

    async def close(self) -> None:
        """Nothing is held open."""


class LocalWriter:
    """A ``FileWriter``."""

    def __init__(self, key: str, path: Path, draft: Path, descriptor: int) -> None:
        self._key = key
        self._path = path
        self._draft = draft
        self._descriptor = descriptor
        self._size = 0
        self._digest = hashlib.sha256()

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:  # a full disk
            raise StoreFailed(f"cannot write a file: {error.strerror}") from error
        self._digest.update(data)
        self._size += len(data)

    async def commit(self) -> Stored:
        try:
            await asyncio.to_thread(self._settle)
        except OSError as error:
            raise StoreFailed(f"cannot finish a file: {error.strerror}") from error
        return Stored(self._key, self._size, self._digest.hexdigest())

    def _settle(self) -> None:
        os.fsync(self._descriptor)
        os.rename(self._draft, self._path)
        self._close()
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    async def abort(self) -> None:
        if self._descriptor >= 0:
            self._close()
            self._draft.unlink(missing_ok=True)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)
