"""Spools: memory, then a file without a name, and one limit for all of them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tokenmarket.core.errors import ApiError
from tokenmarket.files.spool import Spools


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 5000])
def test_what_is_written_is_read_at_any_place(tmp_path: Path, size: int) -> None:
    spools = Spools(tmp_path / "spool", memory_bytes=100)
    before = descriptors()
    spool = spools.open()
    content = random.Random(size).randbytes(size)
    for start in range(0, size, 33):
        spool.write(content[start : start + 33])
    assert spool.size == size
    assert spool.on_disk is (size > 100)
    for offset, length in ((0, size), (0, 10), (size - 5, 10), (size, 10), (size // 2, 7)):
        if offset >= 0:
            assert spool.read_at(offset, length) == content[offset : offset + length]
    assert spools.used_bytes == size
    assert list(tmp_path.rglob("*.upload")) == []
    spool.close()
    spool.close()
    assert (spools.used_bytes, spools.open_count, descriptors()) == (0, 0, before)
    with pytest.raises(ValueError, match="closed"):
        spool.read_at(0, 1)


def test_the_directory_is_private_and_empty_even_while_in_use(tmp_path: Path) -> None:
    spools = Spools(tmp_path / "a" / "spool", memory_bytes=0)
    spool = spools.open()
    spool.write(b"x")
    assert (tmp_path / "a" / "spool").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "a" / "spool").iterdir()) == []
    spool.close()


def test_all_spools_share_one_limit(tmp_path: Path) -> None:
    spools = Spools(tmp_path, bytes_max=100, memory_bytes=10)
    first, second = spools.open(), spools.open()
    first.write(b"x" * 60)
    with pytest.raises(ApiError) as caught:
        second.write(b"y" * 41)
    assert (caught.value.code, caught.value.status) == ("PLATFORM_001", 503)
    second.write(b"y" * 40)
    first.close()
    second.write(b"y" * 60)
    assert second.read_at(0, 200) == b"y" * 100
    second.close()


def test_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_EXCL)  # refused for writing
    spool = Spools(tmp_path, memory_bytes=0).open()
    spool.write(b"content")
    assert spool.read_at(3, 9) == b"tent"
    assert list(tmp_path.iterdir()) == []
    spool.close()


def test_a_full_disk_is_an_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spools = Spools(tmp_path, memory_bytes=4)
    spool = spools.open()
    spool.write(b"1234")

    def full(descriptor: int, data: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ApiError) as caught:
        spool.write(b"5")
    assert caught.value.code == "PLATFORM_001"
    monkeypatch.undo()
    spool.close()
    assert spools.used_bytes == 0
    blocked = Spools(tmp_path / "file", memory_bytes=0)
    (tmp_path / "file").write_bytes(b"")
    spool = blocked.open()
    with pytest.raises(ApiError):
        spool.write(b"x")
    spool.close()
