"""What every transcription adapter needs: the file, what was asked, what is billed, errors.

The caller's response_format is made by the gateway (``core/media/transcript_formats.py``); an
adapter only sees to it that the transcript has what that format needs (``needs``), and refuses
before anything is paid what its model never tells (``refuse_format``).
"""

from __future__ import annotations

from collections.abc import Container
from typing import ClassVar, NoReturn

import msgspec

from tokenmarket.adapters.kit.openai_errors import explain, inside_200
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS, HONOURED_HERE
from tokenmarket.adapters.kit.shape import mapping
from tokenmarket.adapters.protocol import Head, InputMode, MediaAdapter
from tokenmarket.core.bodies import TranscriptionBody
from tokenmarket.core.errors import ApiError, FailureKind, UpstreamError
from tokenmarket.core.parse import refuse
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import Upload
from tokenmarket.core.usage import Usage
from tokenmarket.core.wording import say

YEAR_S = 31_536_000

# Members that the gateway or every adapter acts on: not forwarding them drops nothing.
_READ = frozenset(
    {
        *("model", "file", "response_format", "timestamp_granularities", "stream"),
        *GATEWAY_FIELDS,
        *HONOURED_HERE,
    }
)
_TIMED = frozenset({"srt", "vtt", "verbose_json"})

_decode = msgspec.json.Decoder(dict[str, object]).decode
_encode = msgspec.json.Encoder().encode


class Transcription(MediaAdapter):
    """Base of the adapters whose wire is not OpenAI's. ``codes``: the provider's error codes;
    ``error_of`` finds message and code where they are under names of its own."""

    inputs: ClassVar[InputMode] = "bytes"
    wait_s_max: ClassVar[float] = 600.0  # audio.md section 3: an hour of speech takes minutes
    codes: ClassVar[dict[str, FailureKind]] = {}

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        try:
            found = self.error_of(mapping(_decode(body)))
        except (msgspec.DecodeError, RecursionError):
            found = None
        return explain(head, body if found is None else _encode({"error": found}), self.codes)

    def error_of(self, document: dict[str, object]) -> dict[str, object] | None:
        """``{"message", "code"}``; None where the body is one of those that everybody sends."""
        return None

    def failed(self, document: dict[str, object]) -> UpstreamError:
        """A 200 that holds no transcript."""
        found = self.error_of(document)
        return inside_200(document if found is None else {"error": found}, self.codes)


def audio_of(request: Request) -> tuple[TranscriptionBody, Upload]:
    """What was asked, and the file, which the gateway has fetched or received."""
    typed = request.typed
    upload = request.inputs[0].upload if request.inputs else None
    if not isinstance(typed, TranscriptionBody) or upload is None:
        raise TypeError(f"a transcription adapter was given {request.operation}")
    return typed, upload


def asked_of(request: Request) -> TranscriptionBody:
    """What was asked, for adapters that take the file's address."""
    typed = request.typed
    if not isinstance(typed, TranscriptionBody):
        raise TypeError(f"a transcription adapter was given {request.operation}")
    return typed


def needs(typed: TranscriptionBody) -> str:
    """What the format asked for cannot be made without: "speakers", "words", "times" or ""."""
    if typed.response_format == "diarized_json":
        return "speakers"
    if typed.response_format not in _TIMED:
        return ""
    return "words" if "word" in (typed.timestamp_granularities or ()) else "times"


def dropped(request: Request, taken: Container[str]) -> tuple[str, ...]:
    """The caller's parameters that do not go upstream, also those that nobody here knows."""
    return tuple(
        name
        for name, value in request.members.items()
        if name not in taken and name not in _READ and bytes(value) != b"null"
    )


def refuse_format(asked: str, lacking: str, legal: tuple[str, ...]) -> NoReturn:
    """The upstream tells no times, no speakers, no words: ApiError(REQUEST_001)."""
    if lacking == "words":
        refuse(
            "This model tells no times of words; use segment.",
            "timestamp_granularities",
            "unsupported_timestamp_granularities",
        )
    raise ApiError(
        "REQUEST_001",
        say(
            "This model tells no {lacking}, so {asked} cannot be made; use one of: {legal}.",
            lacking=lacking,
            asked=asked,
            legal=", ".join(legal),
        ),
        param="response_format",
        reason="unsupported_response_format",
        details={"legal": list(legal)},
    )


def document_of(body: bytes) -> dict[str, object]:
    """An answer that must be a JSON object."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise UpstreamError("upstream_error", "the upstream's answer is no JSON") from None


def milliseconds(seconds: object) -> int | None:
    """Seconds as a number, within a year; None for anything else."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return round(seconds * 1000) if 0 <= seconds < YEAR_S else None


def whole_ms(value: object) -> int | None:
    """The same of milliseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value) if 0 <= value < YEAR_S * 1000 else None


def confidence(value: object) -> float | None:
    """A probability; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        return None
    return float(value)


def label(value: object) -> str | None:
    """A speaker: the upstream's word or number for one."""
    if type(value) is int and 0 <= value < 10_000:
        return f"speaker_{value}"
    return value[:100] or None if isinstance(value, str) else None


def billed(
    reported: Usage | None, length_ms: int | None, request: Request, prices: PriceSheet
) -> Usage | None:
    """The usage in the unit that the route is priced by.

    Seconds: those the upstream bills, else the length it says, else the one we measured. Tokens:
    only as reported. Of a route priced by the second, reported tokens are no second charge.
    """
    if prices.has("audio_second"):
        if reported is not None and reported.audio_ms:
            return Usage(audio_ms=reported.audio_ms)
        for length in (length_ms, request.audio_ms):
            if length is not None:
                return Usage(audio_ms=length)
        return None
    if reported is not None and (reported.prompt_tokens or reported.completion_tokens):
        return msgspec.structs.replace(reported, audio_ms=0)
    return Usage() if prices.has("request") else None
