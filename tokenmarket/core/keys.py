"""API keys as text: how one is made, checked and shown (``design/security.md`` A1-A3).

``tm_live_`` + 32 base62 characters (190 random bits) + 6 base62 characters of CRC-32 over all that
stands before. The check sum lets garbage be refused without a look-up and lets secret scanners find
keys with hardly a false hit. Only a keyed digest of a key is ever stored.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from zlib import crc32

KINDS = ("live", "test", "adm", "whk")
# For secret scanners and for the redactor of log lines.
KEY_PATTERN = r"tm_(?:live|test|adm|whk)_[0-9A-Za-z]{38}"
RANDOM_BYTES = 32

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(KEY_PATTERN, re.ASCII)
_CHECK_CHARS = 6  # 62**6 > 2**32


def generate(kind: str, randomness: bytes) -> str:
    """A key of ``kind`` from RANDOM_BYTES fresh random bytes; the bias of the modulus is 2**-65."""
    if kind not in KINDS:
        raise ValueError(f"a key is one of {', '.join(KINDS)}, not {kind!r}")
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"a key takes {RANDOM_BYTES} random bytes, not {len(randomness)}")
    body = f"tm_{kind}_{_base62(int.from_bytes(randomness, 'big'), 32)}"
    return body + _check(body)


def is_wellformed(token: str) -> bool:
    """Shape and check sum; says nothing about whether the key exists. Takes any text."""
    if len(token) > 64 or _SHAPE.fullmatch(token) is None:
        return False
    return _check(token[:-_CHECK_CHARS]) == token[-_CHECK_CHARS:]


def digest(token: str, pepper: bytes) -> bytes:
    """What is stored and looked up: 32 bytes of BLAKE2b under the pepper (at most 64 bytes)."""
    return blake2b(token.encode(), key=pepper, digest_size=32).digest()


def prefix(token: str) -> str:
    """The part that may be shown: kind and four characters."""
    return token[: token.rindex("_") + 5]


def hint(prefix_text: str, last4: str) -> str:
    """How a key is shown after its creation: ``tm_live_Ab3d…x9Qz``."""
    return f"{prefix_text}…{last4}"


def _check(body: str) -> str:
    return _base62(crc32(body.encode()), _CHECK_CHARS)


def _base62(number: int, length: int) -> str:
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
