"""Stream chunks that are already OpenAI's own, known by typed decodes as in ``openai_plain.py``.

Without tool calls: what they need is remembered between chunks, by ``ChoiceCleaner``.
"""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit.openai_plain import ABSENT, Finish


class Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    role: msgspec.Raw = ABSENT


class ChunkChoice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    delta: Delta
    finish_reason: Finish | None
    logprobs: msgspec.Raw = ABSENT


class Chunk(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The members of one event; ``choices`` as the bytes they came in."""

    choices: msgspec.Raw
    id: str = ""
    created: int = 0
    service_tier: str | msgspec.UnsetType | None = msgspec.UNSET
    system_fingerprint: msgspec.Raw = ABSENT
    usage: msgspec.Raw = ABSENT
    object: msgspec.Raw = ABSENT  # replaced, as is the model
    model: msgspec.Raw = ABSENT
    obfuscation: msgspec.Raw = ABSENT  # dropped


_decode_chunk = msgspec.json.Decoder(Chunk).decode
_decode_choices = msgspec.json.Decoder(list[ChunkChoice]).decode


def plain_chunk(data: bytes) -> Chunk | None:
    """The chunk if it has no member that OpenAI's have not."""
    try:
        return _decode_chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def plain_choices(chunk: Chunk) -> list[ChunkChoice] | None:
    """Its choices if all may pass as they are."""
    try:
        return _decode_choices(chunk.choices)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def words_of(delta: Delta) -> list[str]:
    """Every text that is output for the caller."""
    return [word for word in (delta.content, delta.reasoning_content, delta.refusal) if word]
