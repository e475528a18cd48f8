"""Embeddings: unit vectors from a hash of each input.

The same input and dimensions give the same vector everywhere; different inputs give directions
without meaning. Values have six decimals, so that JSON stays short and float and base64 agree.
"""

from __future__ import annotations

import base64
import hashlib
import math
import sys
from array import array
from collections.abc import Mapping

import msgspec

from tokenmarket.sandbox import tokens
from tokenmarket.sandbox.behaviour import Script, behaviour, early, shape
from tokenmarket.sandbox.bodies import INPUTS_MAX, EmbeddingBody, Refused, inputs, read

DIMENSIONS = 256
DIMENSIONS_MAX = 4096
VALUES_MAX = INPUTS_MAX * DIMENSIONS  # one request must not stop the others for long

_BODY = msgspec.json.Decoder(EmbeddingBody)
_MIDDLE = 32767.5


def vector(seed: bytes, dimensions: int) -> list[float]:
    """A unit vector (up to rounding) that depends on ``seed`` alone."""
    drawn = array("H", hashlib.shake_128(seed).digest(2 * dimensions))
    if sys.byteorder == "big":
        drawn.byteswap()
    centred = [value - _MIDDLE for value in drawn]
    scale = 1e6 / math.hypot(*centred)
    return [int(value * scale) / 1e6 for value in centred]


def embeddings(raw: bytes, headers: Mapping[str, str], created_s: int) -> Script:
    """``POST /embeddings``. Raises Refused."""
    body = read(_BODY, raw)
    asked = behaviour(body.model, "embeddings", headers, body.metadata)
    failed = early(asked)
    if failed is not None:
        return failed
    dimensions = DIMENSIONS if body.dimensions is None else body.dimensions
    if not 1 <= dimensions <= DIMENSIONS_MAX:
        raise Refused(f"'dimensions' must be between 1 and {DIMENSIONS_MAX}.", param="dimensions")
    if body.encoding_format not in (None, "float", "base64"):
        raise Refused("'encoding_format' must be float or base64.", param="encoding_format")
    found = inputs(body.input, "input")
    if not all(found):
        raise Refused("No entry of 'input' may be empty.", param="input")
    if len(found) * dimensions > VALUES_MAX:
        raise Refused(f"More than {VALUES_MAX} values in all.", param="input")
    rows: list[dict[str, object]] = []
    for index, entry in enumerate(found):
        values = vector(msgspec.json.encode(entry), dimensions)
        shown = _base64(values) if body.encoding_format == "base64" else values
        rows.append({"object": "embedding", "index": index, "embedding": shown})
    document: dict[str, object] = {"object": "list", "data": rows, "model": body.model}
    count = tokens.count_all(entry for entry in found if isinstance(entry, str))
    count += sum(len(entry) for entry in found if not isinstance(entry, str))
    usage = msgspec.json.encode({"prompt_tokens": count, "total_tokens": count})
    reported = usage if asked.usage is None else asked.usage
    if reported:
        document["usage"] = msgspec.Raw(reported)
    return shape(asked, [msgspec.json.encode(document)], stream=False)


def _base64(values: list[float]) -> str:
    """Little-endian 32-bit floats, as OpenAI sends them."""
    packed = array("f", values)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()
