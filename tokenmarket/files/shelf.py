"""Results on their shelf: kept under a new key, handed out by a signed address, swept in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tokenmarket.core.errors import ApiError
from tokenmarket.core.file_urls import RANDOM_BYTES, FileUrls, delete_at_s, new_key
from tokenmarket.files.local import LocalFiles
from tokenmarket.files.store import Bucket, FileStore, FileWriter, StoreFailed, put

DRAFT_S_MAX = 6 * 3600.0  # a writer that lives longer is dead
SWEEP_S = 3600.0


def open_store(directory: Path, bucket: Bucket | None) -> FileStore:
    """The store that the settings name. Raises ValueError for a bucket that cannot be used."""
    if bucket is None:
        return LocalFiles(directory)
    from tokenmarket.files.s3 import S3Files  # noqa: PLC0415 (loads a library that few need)

    return S3Files(bucket)


class Shelf:
    """``now_s`` is the wall clock, ``randomness`` as ``os.urandom``."""

    def __init__(
        self,
        store: FileStore,
        urls: FileUrls,
        *,
        ttl_s: int,
        now_s: Callable[[], float],
        randomness: Callable[[int], bytes],
    ) -> None:
        self.store = store
        self.urls = urls
        self._ttl_s = ttl_s
        self._now_s = now_s
        self._randomness = randomness

    async def keep(self, org_id: str, request_id: str, data: bytes, content_type: str) -> str:
        """The address under which these bytes can be had for ``ttl_s``. Raises ApiError
        PLATFORM_001 when the store fails."""
        del request_id  # the receipt names the request; the address shall not
        key, expires_s = self._new(org_id, content_type, self._ttl_s)
        try:
            await put(self.store, key, data)
        except StoreFailed as error:
            raise ApiError("PLATFORM_001", "The result cannot be kept at the moment.") from error
        return self.urls.url(key, expires_s)

    async def open(
        self, org_id: str, content_type: str, ttl_s: int | None = None
    ) -> tuple[str, FileWriter]:
        """A new key and its writer, for results that are too large for memory:
        ``await response.save(writer.write, bytes_max)``, then ``await writer.commit()``."""
        key, _ = self._new(org_id, content_type, self._ttl_s if ttl_s is None else ttl_s)
        return key, await self.store.open(key)

    def address(self, key: str, ttl_s: int | None = None) -> tuple[str, int]:
        """(URL, when it ends as unix time): at most until the file may be deleted."""
        last_s = delete_at_s(key) or 0
        wanted_s = int(self._now_s()) + (self._ttl_s if ttl_s is None else ttl_s)
        return self.urls.url(key, min(wanted_s, last_s)), min(wanted_s, last_s)

    async def sweep(self) -> int:
        """Delete what may be deleted, and what dead writers left; returns how many. For the start
        and every hour; several processes may do it at once. Raises StoreFailed."""
        now_s = self._now_s()
        count = await self.store.sweep_drafts(DRAFT_S_MAX)
        over: list[str] = []
        async for key in self.store.every_key():
            end_s = delete_at_s(key)
            if end_s is not None and end_s <= now_s:  # what is not ours stays
                over.append(key)
        for key in over:
            await self.store.delete(key)
        return count + len(over)

    async def sweep_forever(self, log: Callable[..., object]) -> None:
        """At the start and every hour; ``log`` (level, event, facts) is told."""
        while True:
            try:
                count = await self.sweep()
                if count:
                    log("info", "files_swept", count=count)
            except Exception as error:
                log("error", "files_sweep", error=repr(error)[:300])
            await asyncio.sleep(SWEEP_S)

    def _new(self, org_id: str, content_type: str, ttl_s: int) -> tuple[str, int]:
        expires_s = int(self._now_s()) + ttl_s
        return new_key(org_id, expires_s, self._randomness(RANDOM_BYTES), content_type), expires_s
