"""A client that remembers what it was sent: the front's sees no difference."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tokenmarket.core.contents import TAKEN_BYTES_MAX, ContentKey
from tokenmarket.core.uploads import Upload
from tokenmarket.core.wire import Client, Inbound, Passing

_CONTENT_TYPE = re.compile(rb"(?:^|\r\n)content-type: *([^\r\n]*)", re.I)


class Copy(Passing):
    """One request and, as it is sent, its answer. Only bodies, and of heads the content type: keys
    are in other headers. Bounded: of each body the first bytes and its size."""

    __slots__ = (
        "answer",
        "answer_size",
        "answer_type",
        "fields",
        "files",
        "inbound",
        "key",
        "status",
    )

    def __init__(self, key: ContentKey, inbound: Inbound, client: Client) -> None:
        super().__init__(client)
        self.key = key
        self.inbound = inbound
        self.fields: bytes | None = None  # of a form, as JSON
        self.files: tuple[str, ...] = ()
        self.status: int | None = None
        self.answer_type = ""
        self.answer = bytearray()
        self.answer_size = 0

    def read_form(self, fields: bytes, uploads: Sequence[Upload | None]) -> None:
        """The request was a form, and this is in it."""
        self.fields = fields
        self.files = tuple(
            f"{upload.field}: {upload.filename}, {upload.content_type}, {upload.size} bytes"
            for upload in uploads
            if upload is not None
        )

    def _begun(self, status: int, head: bytes) -> None:
        self.status = status
        found = _CONTENT_TYPE.search(head)
        self.answer_type = "" if found is None else found[1].decode("latin-1")

    def _take(self, data: bytes) -> None:
        self.answer_size += len(data)
        room = TAKEN_BYTES_MAX - len(self.answer)
        if room > 0:
            self.answer += data if len(data) <= room else data[:room]

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        self._begun(status, head)
        self._take(body)
        super().respond(status, head, body)

    def begin(self, status: int, head: bytes, length: int | None = None) -> None:
        self._begun(status, head)
        super().begin(status, head, length)

    def write(self, data: bytes) -> bool:
        self._take(data)
        return super().write(data)

    def end(self, data: bytes) -> None:
        self._take(data)
        super().end(data)
