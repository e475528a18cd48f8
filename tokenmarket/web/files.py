"""Stored files over HTTP: ``GET /files/…``, where the signature in the address is the right.

``send_file`` streams any stored file to any client, with Range, in pieces that wait for a slow
reader: a file is never in memory. The headers make a browser download it and run nothing in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import aclosing

from tokenmarket.core.errors import ApiError
from tokenmarket.core.file_urls import OCTETS, PATH, FileUrls, content_type_of, gone
from tokenmarket.core.forms import safe_filename
from tokenmarket.core.wire import Client, ClientGone, Inbound, header_value
from tokenmarket.core.wording import say
from tokenmarket.files.store import FileStore, StoreFailed

_RANGE = re.compile(rb"bytes\s*=\s*(\d{0,15})\s*-\s*(\d{0,15})")
_SAFE = (
    b"x-content-type-options: nosniff\r\n"
    b"content-security-policy: default-src 'none'; sandbox\r\n"
    b"cross-origin-resource-policy: cross-origin\r\n"
    b"accept-ranges: bytes\r\n"
)
# request id, error -> head block, body
RefusalTo = Callable[[Inbound, ApiError], tuple[bytes, bytes]]


class Files:
    """The pages below ``/files/``."""

    def __init__(
        self, store: FileStore, urls: FileUrls, refusal: RefusalTo, now_s: Callable[[], float]
    ) -> None:
        self._store = store
        self._urls = urls
        self._refusal = refusal
        self._now_s = now_s

    @staticmethod
    def owns(path: str) -> bool:
        return path.startswith(PATH)

    async def handle(self, inbound: Inbound, client: Client) -> None:
        """Answer one request; raises nothing."""
        try:
            if inbound.method not in ("GET", "HEAD"):
                message = say(
                    "{method} is not answered here; use GET, HEAD.", method=inbound.method
                )
                raise ApiError("REQUEST_005", message, allow="GET, HEAD")
            key = self._urls.check(inbound.path, inbound.query, self._now_s())
            head = b"x-request-id: %b\r\ncache-control: private, max-age=3600\r\n" % (
                inbound.request_id.encode("ascii")
            )
            head_only = inbound.method == "HEAD"
            await send_file(
                client, self._store, key, inbound.headers, head=head, head_only=head_only
            )
        except ApiError as error:
            client.respond(error.status, *self._refusal(inbound, error))
        except (ClientGone, StoreFailed):
            return  # without an end: the front cuts the connection

    async def send(
        self,
        client: Client,
        key: str,
        headers: dict[bytes, bytes],
        *,
        head: bytes,
        content_type: str | None,
        filename: str | None,
        head_only: bool,
    ) -> None:
        """``send_file`` for callers whose right to the file was checked elsewhere."""
        await send_file(
            client,
            self._store,
            key,
            headers,
            head=head,
            content_type=content_type,
            filename=filename,
            head_only=head_only,
        )


async def send_file(
    client: Client,
    store: FileStore,
    key: str,
    headers: dict[bytes, bytes],
    *,
    head: bytes = b"",
    content_type: str | None = None,
    filename: str | None = None,
    head_only: bool = False,
) -> None:
    """Answer with a stored file: 200, 206 or 416 by the ``range`` of ``headers``, 304 by its
    ``if-none-match``. ``head_only`` for HEAD.

    ``head`` are further header lines, ``content_type`` defaults to what the key says. Raises, as
    long as nothing has been sent, ApiError: REQUEST_009 when the file is gone, PLATFORM_001 when
    the store fails; later StoreFailed and ClientGone, after which the connection must be cut (the
    front does it when ``end`` was not called): the length was promised.
    """
    try:
        size = await store.size(key)
    except StoreFailed as error:
        raise ApiError("PLATFORM_001", "The file cannot be read at the moment.") from error
    if size is None:
        raise gone()
    name = safe_filename(filename or key)
    kind = content_type or content_type_of(key)
    etag = b'"%b"' % key.rpartition("/")[2].encode("ascii")
    lines = b"%b%betag: %b\r\ncontent-type: %b\r\ncontent-disposition: attachment; %b\r\n" % (
        head,
        _SAFE,
        etag,
        header_value(kind if kind.isascii() else OCTETS),
        b'filename="%b"' % header_value(name).replace(b" ", b"_"),
    )
    if etag in headers.get(b"if-none-match", b""):
        client.begin(304, lines, length=size)
        client.end(b"")
        return
    wanted = headers.get(b"range")
    if wanted is not None and headers.get(b"if-range", etag) != etag:
        wanted = None
    piece = None if wanted is None else _piece(wanted, size)
    if piece is not None and piece[1] <= 0:
        client.respond(416, lines + b"content-range: bytes */%d\r\n" % size, b"")
        return
    start, length = piece or (0, size)
    if piece is not None:
        lines += b"content-range: bytes %d-%d/%d\r\n" % (start, start + length - 1, size)
    client.begin(200 if piece is None else 206, lines, length=length)
    if not head_only:
        await _copy(client, store, key, start, length)
    client.end(b"")


async def _copy(client: Client, store: FileStore, key: str, start: int, length: int) -> None:
    """Raises StoreFailed if the file is shorter: ``end`` would say that it was whole."""
    try:
        async with aclosing(store.read(key, start, length)) as chunks:
            async for chunk in chunks:
                length -= len(chunk)
                if client.write(chunk):
                    await client.drained()
    except KeyError:
        raise StoreFailed("the file was deleted while it was read") from None
    if length:
        raise StoreFailed("the file is shorter than it was")


def _piece(wanted: bytes, size: int) -> tuple[int, int] | None:
    """(start, length) of the one range that is asked for, with a length of 0 or less when it lies
    beyond the end; None to send everything: several ranges, or nonsense."""
    match = _RANGE.fullmatch(wanted)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return size - length, length
    if last and int(last) < int(first):
        return None
    end = min(int(last), size - 1) if last else size - 1
    return int(first), end - int(first) + 1
