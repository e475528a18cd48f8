"""Audio on its way from an upstream to the caller: as it comes, converted, or inside events.

The upstream's bytes go through the adapter's decoder (raw audio of ``request.audio_format``), then
through ffmpeg where the caller wants another format, then as they are or as ``speech.audio.delta``
events. Nothing is gathered: a slow caller slows the upstream down.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenmarket.adapters.protocol import SpeechDecoder
from tokenmarket.core.bodies import SpeechBody
from tokenmarket.core.media.speech import FORMATS, delta_event
from tokenmarket.core.media_answers import speech_done_event
from tokenmarket.core.requests import Request
from tokenmarket.core.wire import Client
from tokenmarket.transcode import Transcoder
from tokenmarket.upstream.outbound import Answer

EVENT_STREAM = "text/event-stream; charset=utf-8"


def asked_format(request: Request) -> str:
    """OpenAI's name of the format; mp3 is their default."""
    typed = request.typed
    asked = typed.response_format if isinstance(typed, SpeechBody) else None
    return asked or "mp3"


class Speech:
    """One answer. ``begin`` is called before its first byte."""

    def __init__(self, request: Request, client: Client, begin: Callable[[], None]) -> None:
        self._events = request.stream
        self._client = client
        self._begin = begin
        self._made = request.audio_format
        self._asked = asked_format(request)
        self._transcoder: Transcoder | None = None
        self.content_type = EVENT_STREAM if self._events else FORMATS[self._asked]

    async def relay(self, response: Answer, decoder: SpeechDecoder) -> None:
        """Until the upstream's answer has ended well. UpstreamError, ClientGone."""
        if self._made != self._asked:
            await self._convert(response, decoder)
            return

        def take(data: bytes) -> bool:
            audio = decoder.feed(data)
            return self._write(audio) if audio else False

        while await response.relay(take):
            await self._client.drained()
        rest = decoder.finish()
        if rest:
            self._write(rest)
        self._begun()

    async def _convert(self, response: Answer, decoder: SpeechDecoder) -> None:
        async def deliver(audio: bytes) -> None:
            if self._write(audio):
                await self._client.drained()

        self._transcoder = transcoder = await Transcoder.start(self._made, self._asked, deliver)
        waiting: list[bytes] = []

        def take(data: bytes) -> bool:
            audio = decoder.feed(data)
            if audio:
                waiting.append(audio)
            return bool(audio)

        while await response.relay(take):
            audio = b"".join(waiting)
            waiting.clear()
            await transcoder.write(audio)
        waiting.append(decoder.finish())
        await transcoder.write(b"".join(waiting))
        await transcoder.finish()
        self._begun()

    def tail(self, usage_json: bytes | None) -> bytes:
        """What follows the audio: the last event, or nothing."""
        return speech_done_event(usage_json) if self._events else b""

    async def close(self) -> None:
        """In a finally."""
        if self._transcoder is not None:
            await self._transcoder.close()

    def _begun(self) -> None:
        if not self._client.begun:
            self._begin()

    def _write(self, audio: bytes) -> bool:
        self._begun()
        return self._client.write(delta_event(audio) if self._events else audio)


async def converted(audio: bytes, made: str, asked: str) -> bytes:
    """Audio that is here already, in another format. UpstreamError: it is not what it claims."""
    if made == asked:
        return audio
    pieces: list[bytes] = []

    async def deliver(piece: bytes) -> None:
        pieces.append(piece)

    transcoder = await Transcoder.start(made, asked, deliver)
    try:
        await transcoder.write(audio)
        await transcoder.finish()
    finally:
        await transcoder.close()
    return b"".join(pieces)
