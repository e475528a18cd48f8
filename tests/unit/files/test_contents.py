"""Kept contents on the disk: sealed for their organisation and request, gone by day or by key."""

from __future__ import annotations

import os
import shutil
from datetime import date
from pathlib import Path

import pytest

from tokenmarket.core import ids
from tokenmarket.core.contents import ContentKey
from tokenmarket.files.contents import DELETED, ContentFiles, Unreadable, day_of

SECRET = b"what was asked"
DAY_US = 86_400_000_000
NOW_US = 20_000 * DAY_US + 5
ONE = ContentKey("org_1", 7, bytes(32))
OTHER = ContentKey("org_2", 8, bytes(range(32)))


def request(at_us: int = NOW_US) -> str:
    return ids.new_id("req", at_us, os.urandom(ids.RANDOM_BYTES))


def only_file(directory: Path) -> Path:
    (path,) = (path for path in directory.rglob("*") if path.is_file())
    return path


def test_it_comes_back_and_is_nowhere_in_clear(tmp_path: Path) -> None:
    files, request_id = ContentFiles(tmp_path / "contents"), request()
    files.write(ONE, request_id, SECRET)
    assert files.read(ONE, request_id) == SECRET
    path = only_file(tmp_path)
    assert path.relative_to(tmp_path) == Path(
        "contents", "org_1.7", day_of(request_id).isoformat(), request_id
    )
    assert SECRET not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "contents").stat().st_mode & 0o077 == 0
    assert files.read(ONE, request()) is None
    with pytest.raises(FileExistsError):
        files.write(ONE, request_id, b"something else")


def test_a_changed_torn_or_moved_file_does_not_open(tmp_path: Path) -> None:
    files, one, two = ContentFiles(tmp_path), request(), request()
    files.write(ONE, one, SECRET)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    for broken in (whole[:-1], whole[:5], whole[:-1] + bytes([whole[-1] ^ 1]), whole + b"x"):
        path.write_bytes(broken)
        with pytest.raises(Unreadable):
            files.read(ONE, one)
    path.write_bytes(whole)
    path.rename(path.with_name(two))  # another request's, in the same organisation
    with pytest.raises(Unreadable):
        files.read(ONE, two)


def test_another_organisations_file_does_not_open(tmp_path: Path) -> None:
    """Not even if both had the same key: the organisation is part of what is sealed."""
    files, request_id = ContentFiles(tmp_path), request()
    files.write(ONE, request_id, SECRET)
    shutil.copytree(tmp_path / "org_1.7", tmp_path / "org_2.8")
    for key in (OTHER, ContentKey("org_2", 8, ONE.secret)):
        with pytest.raises(Unreadable):
            files.read(key, request_id)


def test_one_is_deleted(tmp_path: Path) -> None:
    files, request_id = ContentFiles(tmp_path), request()
    assert not files.delete(ONE, request_id)
    files.write(ONE, request_id, SECRET)
    assert files.delete(ONE, request_id)
    assert files.read(ONE, request_id) == DELETED
    assert not files.delete(ONE, request_id)
    with pytest.raises(FileExistsError):  # it does not come back
        files.write(ONE, request_id, SECRET)


def test_whole_days_are_swept_and_what_no_key_opens(tmp_path: Path) -> None:
    files = ContentFiles(tmp_path)
    assert files.folders() == []
    days = [request(NOW_US - back * DAY_US) for back in (0, 1, 2)]
    for request_id in days:
        files.write(ONE, request_id, SECRET)
        files.write(OTHER, request_id, SECRET)
    swept = files.sweep(files.folders(), {ONE.folder: day_of(days[1])})
    assert swept == 2
    assert [files.read(ONE, request_id) for request_id in days] == [SECRET, SECRET, None]
    assert not (tmp_path / OTHER.folder).exists()
    assert files.sweep(files.folders(), {ONE.folder: date.max}) == 2
    assert files.read(ONE, days[0]) is None


def test_a_key_takes_all_with_it(tmp_path: Path) -> None:
    files, request_id = ContentFiles(tmp_path), request()
    files.write(ONE, request_id, SECRET)
    files.destroy(ONE)
    files.destroy(ONE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "req_", "", "req_" + "0" * 33 + "/"])
def test_only_ids_become_paths(tmp_path: Path, name: str) -> None:
    for use in (ContentFiles(tmp_path).read, ContentFiles(tmp_path).delete):
        with pytest.raises(ValueError, match="not the id"):
            use(ONE, name)
