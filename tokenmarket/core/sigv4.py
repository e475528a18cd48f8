"""AWS Signature Version 4: a request signed so that AWS knows who sent exactly these bytes.

Source: docs.aws.amazon.com, "Create a signed AWS API request", 2026-11. For every service but S3,
whose paths are not encoded twice. What is signed is what leaves: method, path and query as they
stand in the request line, host, content-type, every x-amz-* header, and the hash of the body.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote

import msgspec

Headers = tuple[tuple[str, str], ...]

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_UNRESERVED: Final = "-_.~"


class Keys(msgspec.Struct, frozen=True):
    """One AWS identity; ``session_token`` of temporary ones, else empty."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""

    def __repr__(self) -> str:
        return "Keys(***)"


def sign(
    keys: Keys,
    *,
    region: str,
    service: str,
    method: str,
    host: str,
    target: str,
    headers: Iterable[tuple[str, str]],
    body_sha256: str,
    now_s: int,
) -> Headers:
    """The headers to add. ``host`` as in Host, ``target`` as in the request line, ``headers`` all
    others of the request; ``body_sha256`` in hex.

    Raises ValueError for a path with empty or dot segments, which AWS would read differently.
    """
    now = datetime.fromtimestamp(now_s, UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    added = [("x-amz-date", stamp)]
    if keys.session_token:
        added.append(("x-amz-security-token", keys.session_token))
    signed = {"host": host}
    for name, value in (*headers, *added):
        lower = name.lower()
        if lower == "content-type" or lower.startswith("x-amz-"):
            signed[lower] = " ".join(value.split())
    path, _, query = target.partition("?")
    names = sorted(signed)
    canonical = "\n".join(
        (
            method,
            _path(path),
            _query(query),
            *(f"{name}:{signed[name]}" for name in names),
            "",
            ";".join(names),
            body_sha256,
        )
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    canonical_sha256 = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{keys.secret_access_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _mac(key, part)
    signature = _mac(key, f"{ALGORITHM}\n{stamp}\n{scope}\n{canonical_sha256}").hex()
    authorization = (
        f"{ALGORITHM} Credential={keys.access_key_id}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return (*added, ("authorization", authorization))


def _path(path: str) -> str:
    """The path, which is encoded already, encoded once more."""
    segments = path.split("/")[1:]
    if any(segment in ("", ".", "..") for segment in segments[:-1]) or segments[-1:] in (
        ["."],
        [".."],
    ):
        raise ValueError("a path with empty or dot segments cannot be signed")
    return quote(path or "/", safe="/" + _UNRESERVED)


def _query(query: str) -> str:
    """Names and values encoded in the one way that AWS wants, in order."""
    pairs: list[tuple[str, str]] = []
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        pairs.append((_again(name), _again(value)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _again(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), _UNRESERVED, errors="surrogateescape")


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
