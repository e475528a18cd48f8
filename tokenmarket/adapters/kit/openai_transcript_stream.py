"""OpenAI's events of a transcription: deltas pass, the last event waits for the charge."""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit.media_usage import audio_usage
from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.sse import Events
from tokenmarket.adapters.kit.transcribe import billed
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.media.transcript_events import DONE
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

_decode = msgspec.json.Decoder(dict[str, object]).decode
_encode = msgspec.json.Encoder().encode


class TranscriptEvents:
    """Decoder of ``transcript.text.*`` events."""

    def __init__(self, request: Request, prices: PriceSheet, codes: dict[str, FailureKind]) -> None:
        self._codes = codes
        self._request = request
        self._prices = prices
        self._events = Events()
        self._done: dict[str, object] | None = None
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.upstream_id: str | None = None
        self.delivered_output = False

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._take(event) for event in self._events.feed(data)])

    def finish(self) -> bytes:
        rest = b"".join([self._take(event) for event in self._events.close()])
        if self._done is None:
            raise UpstreamError("stream_broken", "the transcript ended without its last event")
        reported = audio_usage(self._done.pop("usage", None))
        self.usage = billed(reported, None, self._request, self._prices)
        return rest

    def tail(self, usage_json: bytes | None) -> bytes:
        if self._done is None:
            return b""
        if usage_json is not None:
            self._done["usage"] = msgspec.Raw(usage_json)
        return b"data: " + _encode(self._done) + b"\n\n" + DONE

    def _take(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            return b""
        try:
            event = _decode(data)
        except msgspec.DecodeError:
            raise UpstreamError("upstream_error", "an event of the stream is no JSON") from None
        kind = event.get("type")
        if kind == "transcript.text.done":
            self._done = event
            return b""
        if kind is None or kind == "error" or "error" in event:
            raise inside_200(event, self._codes)
        self.delivered_output = True
        return b"data: " + data + b"\n\n"
