"""``data:`` URLs (RFC 2397): bytes that a caller wrote into the request itself."""

from __future__ import annotations

import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

DEFAULT_TYPE: Final = "text/plain"
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,127}/[a-z0-9!#$&^_.+-]{1,127}", re.ASCII | re.IGNORECASE)
_HEAD_CHARS_MAX: Final = 512
_BLANKS = re.compile(rb"[ \t\r\n]+")


class TooLarge(ValueError):
    """More bytes than the caller of ``decode`` takes."""


def is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def decode(url: str, bytes_max: int) -> tuple[str, bytes]:
    """(media type in lower case without parameters, bytes).

    Raises ValueError with a message for the one who wrote it, and its subclass TooLarge before
    anything of that size was made. Base64 is read strictly: the usual or the URL alphabet, padded
    or not, line ends allowed, nothing else.
    """
    if not is_data_url(url):
        raise ValueError("a data URL begins with data:")
    comma = url.find(",", 5, 5 + _HEAD_CHARS_MAX)
    if comma < 0:
        raise ValueError("a data URL has a comma before its data")
    media_type, *parameters = (part.strip() for part in url[5:comma].split(";"))
    coded = bool(parameters) and parameters[-1].lower() == "base64"
    if media_type and _TYPE.fullmatch(media_type) is None:
        raise ValueError("a data URL begins with its media type, like data:image/png;base64,")
    body_chars = len(url) - comma - 1
    # Neither coding can make fewer bytes than this from so many characters, line ends aside.
    if body_chars > 4 * bytes_max + _HEAD_CHARS_MAX:
        raise TooLarge(f"the data is larger than {bytes_max} bytes")
    try:
        text = url[comma + 1 :].encode("ascii")
    except UnicodeEncodeError:
        raise ValueError("a data URL is plain ASCII") from None
    found = _base64(text, bytes_max) if coded else unquote_to_bytes(text)
    if len(found) > bytes_max:
        raise TooLarge(f"the data is larger than {bytes_max} bytes")
    return media_type.lower() or DEFAULT_TYPE, found


def _base64(text: bytes, bytes_max: int) -> bytes:
    if b"%" in text:  # in a URL, + / = may come percent-encoded
        text = unquote_to_bytes(text)
    text = _BLANKS.sub(b"", text).translate(bytes.maketrans(b"-_", b"+/"))
    bare = text.rstrip(b"=")
    if len(bare) % 4 == 1 or len(text) - len(bare) not in (0, -len(bare) % 4):
        raise ValueError("the base64 of a data URL is cut short or damaged")
    if len(bare) * 3 // 4 > bytes_max:
        raise TooLarge(f"the data is larger than {bytes_max} bytes")
    try:
        return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except binascii.Error:
        raise ValueError("the base64 of a data URL is cut short or damaged") from None
