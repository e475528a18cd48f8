"""Stored files in a bucket of S3 or of something that speaks like it, through obstore.

Importing this module loads obstore's library (some 15 MiB), so ``open_store`` does it only for a
``files_url`` that begins with s3://. Large files go up in parts of 8 MiB, two at a time; what is
never finished is aborted, and what a dead process left unfinished is for the bucket's own lifecycle
rule (AbortIncompleteMultipartUpload). Reads are ranges of 2 MiB, each a request of its own, so that
a slow reader holds no request open.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tokenmarket.core.file_urls import is_key
from tokenmarket.files.store import Bucket, Stored, StoreFailed

if TYPE_CHECKING:  # exists in its stubs only
    from obstore.store import S3Config

PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 2
PIECE_BYTES = 2 * 1024 * 1024
WAITING_MAX = 8  # chunks between the writer and the upload
_FAILURES = (BaseError, OSError, ValueError)  # obstore's, and what it maps to built-in ones


class S3Files:
    """A ``FileStore`` over one bucket and prefix."""

    def __init__(self, bucket: Bucket) -> None:
        """Raises ValueError for an address or an endpoint that cannot be used."""
        parts = urlsplit(bucket.url)
        try:
            self._store = S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                config=_settings(bucket),
                client_options={
                    "allow_http": (bucket.endpoint or "").startswith("http://"),
                    "connect_timeout": "10s",
                    "timeout": "120s",
                },
            )
        except BaseError as error:
            raise ValueError(f"the store of files cannot be used: {error}") from error

    async def open(self, key: str) -> S3Writer:
        return S3Writer(self._store, _checked(key))

    async def size(self, key: str) -> int | None:
        _checked(key)
        try:
            return (await obstore.head_async(self._store, key))["size"]
        except FileNotFoundError:
            return None
        except _FAILURES as error:
            raise _failed("look at", error) from error

    async def read(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        size = await self.size(key)
        if size is None:
            raise KeyError(key)
        end = size if length is None else min(size, start + length)
        while start < end:
            stop = min(start + PIECE_BYTES, end)
            try:
                piece = await obstore.get_range_async(self._store, key, start=start, end=stop)
            except FileNotFoundError:
                raise KeyError(key) from None
            except _FAILURES as error:
                raise _failed("read", error) from error
            data = piece.to_bytes()
            if not data:
                return
            yield data
            start += len(data)

    async def delete(self, key: str) -> None:
        _checked(key)
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return
        except _FAILURES as error:
            raise _failed("delete", error) from error

    async def every_key(self) -> AsyncGenerator[str, None]:
        try:
            # its other overloads name a type of a library that is not installed
            listing = obstore.list(self._store)  # pyright: ignore[reportUnknownMemberType]
            async for rows in listing:
                for row in rows:
                    yield row["path"]
        except _FAILURES as error:
            raise _failed("list", error) from error

    async def sweep_drafts(self, older_than_s: float) -> int:
        """The bucket's lifecycle rule does it."""
        del older_than_s
        return 0

    async def close(self) -> None:
        """Nothing is held open."""


class S3Writer:
    """A ``FileWriter``: a queue, and a task that uploads what comes out of it."""

    def __init__(self, store: S3Store, key: str) -> None:
        self._key = key
        self._size = 0
        self._digest = hashlib.sha256()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING_MAX)
        self._given_up = False
        self._over = False
        upload = obstore.put_async(
            store,
            key,
            self._chunks(),
            use_multipart=True,
            chunk_size=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
        )
        self._task = asyncio.ensure_future(upload)

    async def _chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._queue.get()) is not None:
            yield chunk
        if self._given_up:
            raise OSError("given up")  # obstore aborts the upload

    async def write(self, data: bytes) -> None:
        if not data:
            return
        await self._give(data)
        self._digest.update(data)
        self._size += len(data)

    async def commit(self) -> Stored:
        await self._give(None)
        try:
            await self._task
        except _FAILURES as error:
            raise _failed("write", error) from error
        finally:
            self._over = True
        return Stored(self._key, self._size, self._digest.hexdigest())

    async def abort(self) -> None:
        if self._over:
            return
        self._over = self._given_up = True
        if not self._task.done():
            await self._put(None)
        await asyncio.gather(self._task, return_exceptions=True)

    async def _give(self, chunk: bytes | None) -> None:
        """Into the queue, unless the upload has failed meanwhile."""
        await self._put(chunk)
        if self._task.done() and self._task.exception() is not None:
            self._over = True
            error = self._task.exception()
            raise _failed("write", error) from error

    async def _put(self, chunk: bytes | None) -> None:
        put = asyncio.ensure_future(self._queue.put(chunk))
        await asyncio.wait({put, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not put.done():
            put.cancel()


def _settings(bucket: Bucket) -> S3Config:
    settings: S3Config = {"region": bucket.region or "us-east-1"}
    settings["disable_bulk_delete"] = True  # a request that not every store knows
    if bucket.endpoint is not None:
        settings["endpoint"] = bucket.endpoint
    if bucket.access_key_id is not None and bucket.secret_access_key is not None:
        settings["access_key_id"] = bucket.access_key_id
        settings["secret_access_key"] = bucket.secret_access_key
    if bucket.session_token is not None:
        settings["session_token"] = bucket.session_token
    return settings


def _checked(key: str) -> str:
    if not is_key(key):
        raise ValueError("not the key of a stored file")
    return key


def _failed(what: str, error: BaseException | None) -> StoreFailed:
    text = str(error).strip().splitlines()
    return StoreFailed(f"cannot {what} a file: {text[0][:300] if text else 'no reason given'}")
