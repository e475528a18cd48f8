"""Files of our own under ``/static/``: read once, compressed once, cached by browsers for ever.

The address carries a digest of the bytes (``/static/css/app.css?v=1a2b3c``), so that a change is a
new address. Nothing is loaded from another host.
"""

from __future__ import annotations

import gzip
import mimetypes
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

PREFIX = "/static/"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
_COMPRESSED = (".js", ".css", ".svg", ".txt")


class Asset(NamedTuple):
    """``packed`` is the gzip form, where it is smaller."""

    content_type: str
    body: bytes
    packed: bytes | None
    version: str


class Assets:
    """Every file below ``web/static``, by its path there."""

    def __init__(self) -> None:
        self._files = dict(_read(files("tokenmarket.web") / "static", ""))

    def url(self, path: str) -> str:
        """The address of a file; KeyError for one that is not there."""
        return f"{PREFIX}{path}?v={self._files[path].version}"

    def find(self, path: str) -> Asset | None:
        return self._files.get(path)


def _read(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _read(entry, f"{prefix}{entry.name}/")
            continue
        body = entry.read_bytes()
        ending = entry.name[entry.name.rfind(".") :]
        kind = _TYPES.get(ending) or mimetypes.guess_type(entry.name)[0]
        packed = gzip.compress(body, mtime=0) if ending in _COMPRESSED else None
        version = blake2b(body, digest_size=6).hexdigest()
        found.append(
            (
                f"{prefix}{entry.name}",
                Asset(kind or "application/octet-stream", body, packed, version),
            )
        )
    return found
