"""The directory store and the shelf: whole or not at all, private, swept by name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tokenmarket.core.file_urls import FileUrls, new_key
from tokenmarket.files.local import LocalFiles
from tokenmarket.files.shelf import Shelf, open_store
from tokenmarket.files.store import FileStore, StoreFailed, put

KEY = new_key("org_1", 2_000_000_000, bytes(16), "video/mp4")
BIG = os.urandom(1_000_000)


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def taken(store: FileStore, key: str, start: int = 0, length: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, start, length)])


async def test_put_read_delete(tmp_path: Path) -> None:
    store = LocalFiles(tmp_path / "files")
    stored = await put(store, KEY, BIG)
    assert (stored.size_bytes, stored.sha256) == (len(BIG), hashlib.sha256(BIG).hexdigest())
    assert await taken(store, KEY) == BIG
    assert await taken(store, KEY, 300_000, 300_001) == BIG[300_000:600_001]
    assert await taken(store, KEY, len(BIG) - 5, 100) == BIG[-5:]
    assert await store.size(KEY) == len(BIG)
    assert (tmp_path / "files" / KEY).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "files").stat().st_mode & 0o077 == 0
    assert [key async for key in store.every_key()] == [KEY]
    await store.delete(KEY)
    await store.delete(KEY)
    assert await store.size(KEY) is None
    with pytest.raises(KeyError):
        await taken(store, KEY)


async def test_nothing_is_there_before_commit_or_after_abort(tmp_path: Path) -> None:
    store = LocalFiles(tmp_path)
    writer = await store.open(KEY)
    await writer.write(b"half")
    assert await store.size(KEY) is None
    assert [key async for key in store.every_key()] == []
    await writer.abort()
    await writer.abort()
    assert files_in(tmp_path) == []
    writer = await store.open(KEY)
    await writer.write(b"whole")
    await writer.commit()
    await writer.abort()
    assert await taken(store, KEY) == b"whole"


@pytest.mark.parametrize("bad", ["../../etc/passwd", "", "a/b", KEY + "/../x", "/etc/passwd"])
async def test_only_keys_become_paths(tmp_path: Path, bad: str) -> None:
    store = LocalFiles(tmp_path)
    with pytest.raises(ValueError, match="key"):
        await store.open(bad)
    with pytest.raises(ValueError, match="key"):
        await store.size(bad)
    with pytest.raises(ValueError, match="key"):
        await store.delete(bad)
    with pytest.raises(ValueError, match="key"):
        await taken(store, bad)


async def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalFiles(tmp_path)

    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StoreFailed, match="space"):
            await put(store, KEY, b"x")
    assert files_in(tmp_path) == []
    (tmp_path / "plain").write_bytes(b"")
    with pytest.raises(StoreFailed):
        await put(LocalFiles(tmp_path / "plain"), KEY, b"x")


async def test_the_shelf_hands_out_addresses_and_sweeps(tmp_path: Path) -> None:
    now_s = [1_700_000_000.0]
    store = open_store(tmp_path, None)
    urls = FileUrls(b"k" * 32, "http://gw")
    shelf = Shelf(store, urls, ttl_s=100, now_s=lambda: now_s[0], randomness=os.urandom)
    address = await shelf.keep("org_1", "req_1", b"picture", "image/png")
    path, _, query = address.removeprefix("http://gw").partition("?")
    key = urls.check(path, query.encode(), now_s[0])
    assert await taken(store, key) == b"picture"
    long_key, writer = await shelf.open("org_1", "video/mp4", ttl_s=1000)
    await writer.write(b"video")
    await writer.commit()
    assert shelf.address(long_key)[1] == 1_700_000_100
    assert shelf.address(long_key, 9999)[1] == 1_700_001_000  # not longer than it lives
    (tmp_path / "tenant").mkdir()
    (tmp_path / "tenant" / "not-ours.txt").write_bytes(b"")
    _, dead = await shelf.open("org_1", "video/mp4")
    (draft,) = (tmp_path / ".drafts").iterdir()
    assert await shelf.sweep() == 0
    os.utime(draft, (0, 0))
    now_s[0] += 100
    assert await shelf.sweep() == 2
    left = {key async for key in store.every_key()}
    assert left == {long_key, "tenant/not-ours.txt"}
    await dead.abort()
