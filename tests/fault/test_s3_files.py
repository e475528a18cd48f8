"""The bucket store against a server that speaks S3's wire."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fault.s3_server import Bucketful, s3
from tokenmarket.core.file_urls import new_key
from tokenmarket.files.shelf import open_store
from tokenmarket.files.store import Bucket, FileStore, StoreFailed, put

KEY = new_key("org_1", 2_000_000_000, bytes(16), "video/mp4")
BIG = os.urandom(20 * 1024 * 1024)


@pytest.fixture
async def held() -> AsyncIterator[Bucketful]:
    async with s3() as found:
        yield found


@pytest.fixture
def store(held: Bucketful, tmp_path: Path) -> FileStore:
    bucket = Bucket(
        "s3://results/kept/here",
        endpoint=f"http://127.0.0.1:{held.port}",
        region="eu-test-1",
        access_key_id="id",
        secret_access_key="secret",
    )
    assert "secret" not in repr(bucket)
    return open_store(tmp_path, bucket)


async def taken(store: FileStore, key: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, start, length)])


@pytest.mark.parametrize("data", [b"", b"small", BIG], ids=["empty", "small", "parts"])
async def test_put_read_delete(store: FileStore, held: Bucketful, data: bytes) -> None:
    stored = await put(store, KEY, data)
    assert stored.size_bytes == len(data)
    assert held.objects == {f"kept/here/{KEY}": data}
    assert held.parts == {}
    assert await store.size(KEY) == len(data)
    assert await taken(store, KEY) == data
    assert await taken(store, KEY, 1, 3) == data[1:4]
    assert await taken(store, KEY, max(len(data) - 2, 0), 50) == data[-2:]
    assert [key async for key in store.every_key()] == [KEY]
    assert await store.sweep_drafts(0) == 0
    await store.delete(KEY)
    assert await store.size(KEY) is None
    with pytest.raises(KeyError):
        await taken(store, KEY)
    assert held.unsigned == 0


async def test_an_aborted_file_is_never_there(store: FileStore, held: Bucketful) -> None:
    for size in (10, len(BIG)):
        writer = await store.open(KEY)
        for start in range(0, size, 1 << 20):
            await writer.write(BIG[start : min(start + (1 << 20), size)])
        await writer.abort()
        await writer.abort()
        assert held.objects == {}
        assert held.parts == {}


async def test_a_bucket_that_refuses(store: FileStore, held: Bucketful) -> None:
    held.failing = True
    with pytest.raises(StoreFailed):
        await put(store, KEY, BIG)
    with pytest.raises(StoreFailed):
        await store.size(KEY)
    with pytest.raises(StoreFailed):
        await store.delete(KEY)
    with pytest.raises(StoreFailed):
        _ = [key async for key in store.every_key()]


async def test_only_keys(store: FileStore, held: Bucketful) -> None:
    with pytest.raises(ValueError, match="key"):
        await store.open("../x")
    with pytest.raises(ValueError, match="key"):
        await store.size("x")
    assert held.asked == []
