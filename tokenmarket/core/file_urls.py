"""Names of stored files, and the signed addresses under which they can be had for a while.

    key  = new_key(org_id, expires_s, randomness, "image/png")   "9f…/692f3a10-…26 characters….png"
    url  = FileUrls(secret, base_url).url(key, expires_s)        "…/files/KEY?e=…&s=…"
    key  = urls.check(path, query, now_s)                        ApiError: REQUEST_004, REQUEST_009

A key says everything that is needed to serve and to sweep a file, so no table is kept of them: the
tenant it belongs to (as a digest: the address shows no organisation), when it may be deleted, and
its type, by an ending from ``TYPES``. The random part cannot be guessed, and the signature
(HMAC-SHA256 under a key of its own, ``core/sealing.py``) is the right to read.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from tokenmarket.core.errors import ApiError

PATH = "/files/"
RANDOM_BYTES = 16
OCTETS = "application/octet-stream"
# What may be served as what it is. Anything else (SVG and HTML first of all) is a row of bytes.
TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "m4a": "audio/mp4",
    "pcm": "audio/pcm",
    "bin": OCTETS,
}
_ENDINGS = {kind: ending for ending, kind in TYPES.items()}
_KEY = re.compile(r"[0-9a-f]{16}/([0-9a-f]{8,10})-[a-z2-7]{26}\.([a-z0-9]{2,4})", re.ASCII)
_QUERY = re.compile(rb"e=([1-9][0-9]{0,11})&s=([A-Za-z0-9_-]{43})")


def new_key(org_id: str, delete_s: int, randomness: bytes, content_type: str) -> str:
    """A name for a new file that may be deleted at ``delete_s`` (unix time); ``randomness`` is
    RANDOM_BYTES fresh bytes."""
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"a key takes {RANDOM_BYTES} random bytes, not {len(randomness)}")
    ending = _ENDINGS.get(content_type.partition(";")[0].strip().lower(), "bin")
    name = base64.b32encode(randomness).decode("ascii").rstrip("=").lower()
    return f"{tenant(org_id)}/{delete_s:08x}-{name}.{ending}"


def tenant(org_id: str) -> str:
    """The first part of all keys of an organisation."""
    return hashlib.sha256(org_id.encode()).hexdigest()[:16]


def is_key(text: str) -> bool:
    """Whether this is a key of ours: then it is harmless as a path."""
    return _KEY.fullmatch(text) is not None


def delete_at_s(key: str) -> int | None:
    """When a file may be deleted; None for a name that is not ours."""
    match = _KEY.fullmatch(key)
    return None if match is None else int(match.group(1), 16)


def content_type_of(key: str) -> str:
    """What it may be served as."""
    match = _KEY.fullmatch(key)
    return OCTETS if match is None else TYPES.get(match.group(2), OCTETS)


class FileUrls:
    """Makes and checks addresses. ``secret`` is ``root.derive(sealing.FILE_URLS)``."""

    def __init__(self, secret: bytes, base_url: str) -> None:
        self._secret = secret
        self.base_url = base_url  # of the gateway as its callers reach it, without a slash

    def url(self, key: str, expires_s: int) -> str:
        """An address that is good until ``expires_s`` (unix time). ValueError: not a key."""
        if not is_key(key):
            raise ValueError("not the key of a stored file")
        return f"{self.base_url}{PATH}{key}?e={expires_s}&s={self._signature(key, expires_s)}"

    def check(self, path: str, query: bytes, now_s: float) -> str:
        """The key of the file that is asked for.

        ApiError: REQUEST_004 unless everything is exactly as ``url`` wrote it (a guess learns
        nothing), REQUEST_009 when its time is over.
        """
        key = path.removeprefix(PATH)
        match = _QUERY.fullmatch(query)
        if match is None or not is_key(key):
            raise _nothing()
        expires_s = int(match.group(1))
        wanted = self._signature(key, expires_s).encode("ascii")
        if not hmac.compare_digest(wanted, match.group(2)):
            raise _nothing()
        if now_s >= expires_s:
            raise gone()
        return key

    def _signature(self, key: str, expires_s: int) -> str:
        digest = hmac.digest(self._secret, f"{key}\n{expires_s}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def gone() -> ApiError:
    """410 for what was there."""
    return ApiError("REQUEST_009", "This file has expired; files are kept for a while only.")


def _nothing() -> ApiError:
    return ApiError("REQUEST_004", "There is no such file.")
