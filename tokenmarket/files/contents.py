"""Kept contents of requests: DATA/contents/ORG.MADE/DAY/REQUEST, each a file of its own, encrypted.

What a reader must know:

* AES-256-GCM under a key of the day, derived from the organisation's key, which is in the database,
  sealed. The associated data
  names organisation and request: a file that was moved or changed does not open, and one that was
  torn by a crash does not either (``Unreadable``). Nothing is flushed to the disk.
* MADE is when the key was made, DAY the request's UTC day, which its id tells. A key's directory is
  all that was ever written under it.
* A content that somebody deleted leaves an empty file, so that this can be said.
* All functions block: they are called in threads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tokenmarket.core import ids
from tokenmarket.core.contents import ContentKey
from tokenmarket.core.sealing import DATA_KEY_BYTES, NONCE_BYTES

DELETED = b""  # what ``read`` gives for it


class Unreadable(Exception):
    """The file is not whole, was changed or moved, or belongs to another key."""


class ContentFiles:
    """All of them, in one directory, which is made when it is first needed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, key: ContentKey, request_id: str, content: bytes) -> None:
        """Keep it. A second write of one request is refused. Raises OSError."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = _cipher(key, request_id).encrypt(nonce, content, _bound_to(key, request_id))
        path = self._path(key, request_id)
        try:
            descriptor = _new_file(path)
        except FileNotFoundError:
            self._made()
            for folder in (path.parent.parent, path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = _new_file(path)
        try:
            view = memoryview(nonce + sealed)
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def read(self, key: ContentKey, request_id: str) -> bytes | None:
        """The content, ``DELETED``, or None if there never was one. Raises Unreadable, OSError."""
        try:
            data = self._path(key, request_id).read_bytes()
        except FileNotFoundError:
            return None
        if not data:
            return DELETED
        try:
            return _cipher(key, request_id).decrypt(
                data[:NONCE_BYTES], data[NONCE_BYTES:], _bound_to(key, request_id)
            )
        except (InvalidTag, ValueError) as error:
            raise Unreadable(request_id) from error

    def delete(self, key: ContentKey, request_id: str) -> bool:
        """Whether there was anything to delete. Raises OSError."""
        path = self._path(key, request_id)
        try:
            if not path.stat().st_size:
                return False
            os.truncate(path, 0)
        except FileNotFoundError:
            return False
        return True

    def destroy(self, key: ContentKey) -> None:
        """All that was written under this key. Raises OSError."""
        with _missing_is_fine():
            shutil.rmtree(self._directory / key.folder)

    def folders(self) -> list[str]:
        """Of all keys under which there is something. Raises OSError."""
        return [path.name for path in _folders(self._directory)]

    def sweep(self, folders: Iterable[str], oldest: Mapping[str, date]) -> int:
        """Of these delete the days before the key's oldest one, and whole what belongs to no key.
        How many directories; raises OSError."""
        count = 0
        for name in folders:
            folder, first = self._directory / name, oldest.get(name)
            for old in [folder] if first is None else _folders(folder):
                if first is None or old.name < first.isoformat():
                    with _missing_is_fine():
                        shutil.rmtree(old)
                        count += 1
        return count

    def free_bytes(self) -> int:
        """Of the disk. Raises OSError."""
        self._made()
        return shutil.disk_usage(self._directory).free

    def _made(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _path(self, key: ContentKey, request_id: str) -> Path:
        if not ids.is_id(request_id, "req"):  # before anything else: it becomes a path here
            raise ValueError("not the id of a request")
        return self._directory / key.folder / day_of(request_id).isoformat() / request_id


def day_of(request_id: str) -> date:
    """The UTC day of a request."""
    return datetime.fromtimestamp(ids.id_time_us(request_id) // 1_000_000, UTC).date()


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _folders(directory: Path) -> list[Path]:
    with _missing_is_fine():
        return [path for path in directory.iterdir() if path.is_dir()]
    return []


@contextmanager
def _missing_is_fine() -> Generator[None]:
    """Another process may delete the same at the same time."""
    try:
        yield
    except FileNotFoundError:
        pass


def _cipher(key: ContentKey, request_id: str) -> AESGCM:
    """Of one day: random nonces are safe for so many files, not for all that will ever be."""
    day = day_of(request_id).isoformat().encode()
    return AESGCM(HKDFExpand(SHA256(), DATA_KEY_BYTES, day).derive(key.secret))


def _bound_to(key: ContentKey, request_id: str) -> bytes:
    return f"content:{key.org_id}:{request_id}".encode()
