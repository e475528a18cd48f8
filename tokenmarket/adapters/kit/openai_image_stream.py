"""OpenAI's events of images: partial pictures pass, completed ones wait for the charge."""

from __future__ import annotations

import msgspec

from tokenmarket.adapters.kit.media_usage import added, image_usage
from tokenmarket.adapters.kit.openai_errors import inside_200
from tokenmarket.adapters.kit.shape import mapping
from tokenmarket.adapters.kit.sse import Events
from tokenmarket.core.errors import FailureKind, UpstreamError
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.usage import Usage

EVENT_BYTES_MAX = 64 * 1024 * 1024  # a picture is one event

_decode = msgspec.json.Decoder(dict[str, object]).decode
_encode = msgspec.json.Encoder().encode


class ImageEvents:
    """Decoder of ``image_generation.*`` and ``image_edit.*`` events."""

    def __init__(self, codes: dict[str, FailureKind], prices: PriceSheet) -> None:
        self._codes = codes
        self._prices = prices
        self._events = Events(EVENT_BYTES_MAX)
        self._completed: list[dict[str, object]] = []
        self._usages: list[object] = []
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.upstream_id: str | None = None
        self.delivered_output = False

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._take(event) for event in self._events.feed(data)])

    def finish(self) -> bytes:
        rest = b"".join([self._take(event) for event in self._events.close()])
        if not self._completed:
            raise UpstreamError("stream_broken", "the stream ended before a picture was complete")
        self.usage = self._summed()
        return rest

    def tail(self, usage_json: bytes | None) -> bytes:
        """The completed pictures; usage and cost are on the last one."""
        if self._completed and usage_json is not None:
            self._completed[-1]["usage"] = msgspec.Raw(usage_json)
        return b"".join([_event(event) for event in self._completed])

    def _take(self, data: bytes) -> bytes:
        if data == b"[DONE]":
            return b""
        try:
            event = _decode(data)
        except msgspec.DecodeError:
            raise UpstreamError("upstream_error", "an event of the stream is no JSON") from None
        kind = event.get("type")
        if not isinstance(kind, str) or kind == "error" or "error" in event:
            raise inside_200(event, self._codes)
        if kind.endswith(".completed"):
            self._usages.append(event.pop("usage", None))
            self._completed.append(event)
            return b""
        self.delivered_output = True
        return _event(event)

    def _summed(self) -> Usage | None:
        """Each picture has usage of its own, or one event has that of all."""
        told = [usage for usage in self._usages if mapping(usage)]
        if len(told) == len(self._usages):
            return added([image_usage(usage, images=1, prices=self._prices) for usage in told])
        whole = told[0] if len(told) == 1 else None
        return image_usage(whole, images=len(self._completed), prices=self._prices)


def _event(event: dict[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (str(event.get("type")).encode(), _encode(event))
