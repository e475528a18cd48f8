"""As much of S3 as obstore uses, in memory, on 127.0.0.1: objects, ranges, parts, listing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, unquote, urlsplit

OK = "200 OK"


class Bucketful:
    """What the server holds, and what it was asked."""

    def __init__(self) -> None:
        self.port = 0
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}  # by upload id
        self.asked: list[str] = []
        self.unsigned = 0
        self.failing = False

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], span: str, body: bytes
    ) -> tuple[str, dict[str, str], bytes]:
        if self.failing:
            return "403 Forbidden", {}, b"<Error><Code>AccessDenied</Code></Error>"
        if method == "GET" and "list-type" in query:
            prefix = query.get("prefix", [""])[0]
            rows = "".join(
                f'<Contents><Key>{name}</Key><Size>{len(data)}</Size><ETag>"e"</ETag>'
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for name, data in self.objects.items()
                if name.startswith(prefix)
            )
            return OK, {}, f"<ListBucketResult>{rows}</ListBucketResult>".encode()
        if method == "POST" and "uploads" in query:
            upload = f"u{len(self.parts)}"
            self.parts[upload] = {}
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>"
            return OK, {}, (text + "</InitiateMultipartUploadResult>").encode()
        upload = query.get("uploadId", [""])[0]
        if method == "PUT" and upload:
            self.parts[upload][int(query["partNumber"][0])] = body
            return OK, {"etag": f'"{hashlib.sha256(body).hexdigest()}"'}, b""
        if method == "POST" and upload:
            parts = self.parts.pop(upload)
            self.objects[path] = b"".join(parts[number] for number in sorted(parts))
            return (
                OK,
                {},
                b'<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>',
            )
        if method == "DELETE":
            found = self.parts.pop(upload, None) if upload else self.objects.pop(path, None)
            del found
            return "204 No Content", {}, b""
        if method == "PUT":
            self.objects[path] = body
            return OK, {"etag": '"e"'}, b""
        data = self.objects.get(path)
        if data is None:
            return "404 Not Found", {}, b"<Error><Code>NoSuchKey</Code></Error>"
        head = {"etag": '"e"', "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if span:
            first, _, last = span.removeprefix("bytes=").partition("-")
            stop = min(int(last) + 1, len(data))
            head["content-range"] = f"bytes {first}-{stop - 1}/{len(data)}"
            return "206 Partial Content", head, data[int(first) : stop]
        return OK, head, data


@asynccontextmanager
async def s3() -> AsyncIterator[Bucketful]:
    """A bucket named ``results``."""
    held = Bucketful()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                fields = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:])}
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                held.unsigned += "AWS4-HMAC-SHA256" not in fields.get("authorization", "")
                url = urlsplit(target)
                path = unquote(url.path).removeprefix("/results").lstrip("/")
                held.asked.append(f"{method} {path}")
                query = parse_qs(url.query, keep_blank_values=True)
                status, more, data = held.answer(method, path, query, fields.get("range", ""), body)
                lines = "".join(f"{k}: {v}\r\n" for k, v in more.items())
                writer.write(
                    f"HTTP/1.1 {status}\r\n{lines}content-length: {len(data)}\r\n\r\n".encode()
                )
                writer.write(b"" if method == "HEAD" else data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    held.port = server.sockets[0].getsockname()[1]
    try:
        yield held
    finally:
        server.close()
