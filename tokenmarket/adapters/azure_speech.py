"""Speech of Azure: SSML to ``/cognitiveservices/v1`` of a region, bytes back.

``reference/media/audio.md`` section 2; facts as of 2026-11-23. The caller's text is text: all that
XML knows is escaped, so nobody writes markup into the order (a second voice, a sound from
another address). Voices of the HD kind cost twice as much, so only models that are priced for them
(capability ``hd_voices``) take them. Characters are counted here; Azure reports none.
"""

from __future__ import annotations

import re
from html import escape
from typing import ClassVar
from urllib.parse import urlsplit

from tokenmarket.adapters.kit.speech import ByteSpeech, speed_within, spoken, unread
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import FailureKind
from tokenmarket.core.parse import refuse
from tokenmarket.core.requests import Request

_PATH = "/cognitiveservices/v1"
_FORMATS = {
    "mp3": "audio-24khz-48kbitrate-mono-mp3",
    "opus": "ogg-24khz-16bit-mono-opus",
    "wav": "riff-24khz-16bit-mono-pcm",
    "pcm": "raw-24khz-16bit-mono-pcm",
}
_HEADERS = {
    form: (
        ("content-type", "application/ssml+xml"),
        ("x-microsoft-outputformat", theirs),
    )
    for form, theirs in _FORMATS.items()
}
# en-US-AvaMultilingualNeural, zh-CN-liaoning-XiaobeiNeural, en-US-Ava:DragonHDLatestNeural
_VOICE = re.compile(r"([a-z]{2,3}-(?:[A-Za-z]{4}-)?[A-Z]{2})-[A-Za-z0-9:-]{1,80}", re.ASCII)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,2}", re.ASCII)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REGIONAL = re.compile(r"([a-z0-9-]+)\.(?:api\.cognitive|stt\.speech)\.(microsoft\.com)")
_SPEED_LEAST, _SPEED_MOST = 0.5, 2.0  # SSML's prosody


class AzureSpeech(ByteSpeech):
    formats: ClassVar[tuple[str, ...]] = tuple(_FORMATS)
    codes: ClassVar[dict[str, FailureKind]] = {}  # a status and an empty body is all there is

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        dropped = unread(request, "speed", "language")
        ssml = self._ssml(request, route, dropped)
        return UpstreamRequest(
            _PATH,
            _HEADERS[request.audio_format],
            ssml.encode(),
            dropped=tuple(dropped),
            from_root=True,
            url=_address(route.provider.base_url),
        )

    def _ssml(self, request: Request, route: Route, dropped: list[str]) -> str:
        typed = spoken(request)
        voice = request.voice
        named = _VOICE.fullmatch(voice)
        if named is None:
            refuse(
                "A voice here has a name like en-US-AvaMultilingualNeural.",
                "voice",
                "unknown_voice",
            )
        if (":" in voice) != (route.model.capabilities.get("hd_voices") is True):
            refuse("This model is not priced for that kind of voice.", "voice", "unknown_voice")
        if _NOT_XML.search(typed.input) is not None:
            refuse(
                "The text has control characters that cannot be spoken.", "input", "bad_character"
            )
        language = typed.language or named[1]
        if _LANGUAGE.fullmatch(language) is None:
            refuse("A language is a code like en-US.", "language")
        spoken_text = escape(typed.input)
        speed = speed_within(request, _SPEED_LEAST, _SPEED_MOST, dropped)
        if speed is not None and speed != 1:
            spoken_text = f'<prosody rate="{round((speed - 1) * 100):+d}%">{spoken_text}</prosody>'
        return (
            '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
            f'xml:lang="{language}"><voice name="{voice}">{spoken_text}</voice></speak>'
        )


def _address(base_url: str) -> str | None:
    """Regions have a host for each service: whichever of them the provider's row names, speech is
    at its own. None: another host, which has the path as it is."""
    parts = urlsplit(base_url)
    region = _REGIONAL.fullmatch((parts.hostname or "").lower())
    if region is None or parts.scheme != "https":
        return None
    return f"https://{region[1]}.tts.speech.{region[2]}{_PATH}"


SPEECH = AzureSpeech()
