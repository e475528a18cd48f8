"""A multipart/form-data body for an upstream: fields as text, files as they lie in their spool.

Nothing is copied: the body is a row of bytes and uploads that the client writes one by one. The
boundary is made from the request's id, so the same request has the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from tokenmarket.core.uploads import Body, Upload

_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\]+')

Field = tuple[str, str]
File = tuple[str, Upload]  # name of the field, the file


def form(
    request_id: str, fields: Sequence[Field], files: Sequence[File] = ()
) -> tuple[tuple[tuple[str, str], ...], Body]:
    """(headers, body)."""
    boundary = "tm-" + hashlib.sha256(request_id.encode()).hexdigest()[:40]
    parts: list[bytes | Upload] = []
    text: list[str] = []
    for name, value in fields:
        text.append(
            f'--{boundary}\r\ncontent-disposition: form-data; name="{_clean(name)}"'
            f"\r\n\r\n{value}\r\n"
        )
    for name, upload in files:
        text.append(
            f'--{boundary}\r\ncontent-disposition: form-data; name="{_clean(name)}"; '
            f'filename="{_clean(upload.filename) or "file"}"\r\n'
            f"content-type: {_clean(upload.content_type) or 'application/octet-stream'}\r\n\r\n"
        )
        parts += ["".join(text).encode(), upload]
        text = ["\r\n"]
    text.append(f"--{boundary}--\r\n")
    parts.append("".join(text).encode())
    headers = (("content-type", f"multipart/form-data; boundary={boundary}"),)
    return headers, tuple(parts)


def _clean(text: str) -> str:
    return _UNSAFE.sub("_", text)[:200]
