"""Files inside a request: where their bytes lie, without holding them in memory.

A front keeps a multipart body in a ``Spool`` (memory while small, an unlinked file above that) and
a file of the form is a range of it. Adapters put an ``Upload`` into an upstream body as it is; the
upstream client reads it piece by piece. ``Input`` is a file that the caller gave in any of its
forms: uploaded, as a data URL (then it is an upload too), or as an address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

THREAD_BYTES = 8 * 1024 * 1024  # an upload above is read beside the event loop; this takes 5 ms


class Spool(Protocol):
    """Bytes that were received. ``read_at`` gives at most ``length`` bytes, fewer at the end."""

    @property
    def size(self) -> int: ...
    def read_at(self, offset: int, length: int) -> bytes: ...


class Memory:
    """A spool that is just bytes."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class Upload(msgspec.Struct, frozen=True, eq=False):
    """One file: ``size`` bytes of ``spool`` from ``offset``. ``filename`` and ``content_type`` are
    what the caller says; neither is believed (``core/media/sniff.py``)."""

    field: str
    filename: str
    content_type: str
    spool: Spool
    offset: int
    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """At most ``length`` bytes from ``offset`` of the file, none beyond its end."""
        length = min(length, self.size - offset)
        return self.spool.read_at(self.offset + offset, length) if length > 0 else b""

    def data(self) -> bytes:
        """All of it: for pictures and what must be written as base64."""
        return self.read_at(0, self.size)


def memory_upload(data: bytes, *, field: str, filename: str, content_type: str) -> Upload:
    """An upload of bytes that are in memory already (a data URL, a fetched file)."""
    return Upload(field, filename, content_type, Memory(data), 0, len(data))


class Input(msgspec.Struct, frozen=True, eq=False):
    """One file the caller gave: ``upload`` or ``url`` (https), never both.

    ``role``: image | mask | audio | video | first_frame | last_frame | reference_image |
    reference_video | reference_audio. ``param`` is its JSON path, for errors.
    """

    role: str
    param: str
    url: str | None = None
    upload: Upload | None = None


Body = bytes | tuple[bytes | Upload, ...]


def body_bytes_count(body: Body) -> int:
    """What content-length will say."""
    if isinstance(body, bytes):
        return len(body)
    return sum(part.size if isinstance(part, Upload) else len(part) for part in body)


def joined(body: Body) -> bytes:
    """The whole body in memory: for tests, and for the upstream inside this process."""
    if isinstance(body, bytes):
        return body
    return b"".join(part.data() if isinstance(part, Upload) else part for part in body)


def uploads_of(inputs: Sequence[Input], role: str) -> list[Input]:
    """The inputs of one role, in the caller's order."""
    return [item for item in inputs if item.role == role]
