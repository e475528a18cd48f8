"""Width and height of a PNG, JPEG, WebP or GIF from its headers, without decoding a pixel.

``data`` is the whole file or its beginning. The limit on pixels is the caller's to apply
(``PIXELS_MAX``, ``design/security.md`` F5) before anything is decoded or sent on; a file whose
headers contradict each other is refused here, since two decoders would see two pictures.
"""

from __future__ import annotations

import zlib

import msgspec

from tokenmarket.core.media.reader import MediaError

PIXELS_MAX = 64_000_000
SIDE_MAX = 65_535
CHUNKS_MAX = 10_000

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_JPEG_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = {0x01, *range(0xD0, 0xD8)}  # markers without a length


class ImageInfo(msgspec.Struct, frozen=True):
    """``has_alpha``: whether pixels can be transparent; None where the beginning does not tell."""

    content_type: str
    width: int
    height: int
    has_alpha: bool | None


def image_size(data: bytes) -> ImageInfo:
    """What the headers say. MediaError (a ValueError) for anything that is not such a picture."""
    if data.startswith(_PNG_MAGIC):
        found = _png(data)
    elif data.startswith(b"\xff\xd8"):
        found = _jpeg(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        found = _webp(data)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        found = _gif(data)
    else:
        raise MediaError("not a PNG, JPEG, WebP or GIF image")
    if not (0 < found.width <= SIDE_MAX and 0 < found.height <= SIDE_MAX):
        raise MediaError(
            f"{found.content_type}: {found.width}x{found.height} pixels is no size of a picture"
        )
    return found


def _part(data: bytes, at: int, length: int, kind: str) -> bytes:
    if at + length > len(data):
        raise MediaError(f"{kind}: the file ends inside its headers")
    return data[at : at + length]


def _png(data: bytes) -> ImageInfo:
    header = _part(data, 8, 25, "image/png")
    if header[:8] != b"\x00\x00\x00\x0dIHDR":
        raise MediaError("image/png: does not begin with IHDR")
    if zlib.crc32(header[4:21]) != int.from_bytes(header[21:25], "big"):
        raise MediaError("image/png: the checksum of IHDR is wrong")
    colour, depth = header[17], header[16]
    if depth not in _PNG_DEPTHS.get(colour, ()) or header[18:20] != b"\x00\x00" or header[20] > 1:
        raise MediaError("image/png: IHDR names a format that does not exist")
    return ImageInfo(
        "image/png",
        int.from_bytes(header[8:12], "big"),
        int.from_bytes(header[12:16], "big"),
        True if colour in (4, 6) else _png_transparency(data),
    )


def _png_transparency(data: bytes) -> bool | None:
    """Whether a tRNS chunk stands before the pixels."""
    at = 33
    for _ in range(CHUNKS_MAX):
        if at + 8 > len(data):
            return None
        kind = data[at + 4 : at + 8]
        if kind in (b"IDAT", b"IEND"):
            return False
        if kind == b"tRNS":
            return True
        if kind == b"IHDR":
            raise MediaError("image/png: has two IHDR chunks")
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return None


def _jpeg(data: bytes) -> ImageInfo:
    """Walks the segments up to the first scan; a second frame header before it is a lie."""
    at, size = 2, None
    for _ in range(CHUNKS_MAX):
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if size is not None and at + 4 > len(data):
            break  # the beginning of a file is enough
        marker = _part(data, at, 2, "image/jpeg")
        code = marker[1]
        if marker[0] != 0xFF or code == 0:
            raise MediaError("image/jpeg: no marker where one must be")
        if code in _JPEG_BARE:
            at += 2
            continue
        if code in (0xD9, 0xDA):  # the end, or the pixels
            break
        length = int.from_bytes(_part(data, at + 2, 2, "image/jpeg"), "big")
        if length < 2 or code == 0xD8:
            raise MediaError("image/jpeg: a segment is malformed")
        if code in _JPEG_SOF:
            if size is not None:
                raise MediaError("image/jpeg: has two frame headers")
            frame = _part(data, at + 4, 6, "image/jpeg")
            if length != 8 + 3 * frame[5]:
                raise MediaError("image/jpeg: the frame header has a wrong length")
            size = (int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big"))
        at += 2 + length
    if size is None:
        raise MediaError("image/jpeg: no frame header before the pixels")
    return ImageInfo("image/jpeg", size[0], size[1], False)


def _webp(data: bytes) -> ImageInfo:
    kind = _part(data, 12, 4, "image/webp")
    riff_bytes = int.from_bytes(data[4:8], "little")
    chunk_bytes = int.from_bytes(_part(data, 16, 4, "image/webp"), "little")
    if riff_bytes < 12 or chunk_bytes > riff_bytes - 12:
        raise MediaError("image/webp: a chunk is longer than the file says to be")
    if kind != b"VP8X":
        width, height, alpha = _webp_frame(kind, data, 20)
        return ImageInfo("image/webp", width, height, alpha)
    canvas = _part(data, 20, 10, "image/webp")
    if chunk_bytes < 10:
        raise MediaError("image/webp: VP8X is too short")
    width = 1 + int.from_bytes(canvas[4:7], "little")
    height = 1 + int.from_bytes(canvas[7:10], "little")
    if not canvas[0] & 0x02:  # not animated: one frame, as large as the canvas
        _check_webp_still(data, 20 + chunk_bytes + (chunk_bytes & 1), (width, height))
    return ImageInfo("image/webp", width, height, bool(canvas[0] & 0x10))


def _check_webp_still(data: bytes, at: int, canvas: tuple[int, int]) -> None:
    for _ in range(CHUNKS_MAX):
        kind = data[at : at + 4]
        if len(data) < at + 30:  # only the beginning is here
            return
        if kind in (b"VP8 ", b"VP8L"):
            if _webp_frame(kind, data, at + 8)[:2] != canvas:
                raise MediaError("image/webp: frame and canvas have different sizes")
            return
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + (length & 1)


def _webp_frame(kind: bytes, data: bytes, at: int) -> tuple[int, int, bool]:
    if kind == b"VP8 ":
        frame = _part(data, at, 10, "image/webp")
        if frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
            raise MediaError("image/webp: VP8 does not begin with a key frame")
        width = int.from_bytes(frame[6:8], "little") & 0x3FFF  # the upper two bits are scaling
        return width, int.from_bytes(frame[8:10], "little") & 0x3FFF, False
    if kind == b"VP8L":
        frame = _part(data, at, 5, "image/webp")
        bits = int.from_bytes(frame[1:5], "little")
        if frame[0] != 0x2F or bits >> 29:
            raise MediaError("image/webp: VP8L has a wrong signature")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
    raise MediaError("image/webp: neither VP8, VP8L nor VP8X")


def _gif(data: bytes) -> ImageInfo:
    screen = _part(data, 6, 7, "image/gif")
    width, height = int.from_bytes(screen[:2], "little"), int.from_bytes(screen[2:4], "little")
    at = 13 + (3 << (screen[4] & 7) + 1 if screen[4] & 0x80 else 0)
    alpha: bool | None = False
    for _ in range(CHUNKS_MAX):
        kind = data[at : at + 1]
        if kind == b",":  # the first frame must lie on the screen
            if len(data) >= at + 9:
                left, top, wide, high = (
                    int.from_bytes(data[at + i : at + i + 2], "little") for i in (1, 3, 5, 7)
                )
                if left + wide > width or top + high > height:
                    raise MediaError("image/gif: the first frame is larger than the screen")
            return ImageInfo("image/gif", width, height, alpha)
        if kind != b"!" or at + 4 > len(data):
            break
        if data[at + 1] == 0xF9 and data[at + 3] & 1:
            alpha = True
        at += 2
        while at < len(data) and data[at]:  # sub-blocks; each step moves on
            at += 1 + data[at]
        at += 1
    if at < len(data) and data[at : at + 1] not in (b"!", b","):
        raise MediaError("image/gif: no frame where one must be")
    return ImageInfo("image/gif", width, height, alpha or None)
