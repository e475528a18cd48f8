"""(pure) How the sandbox sounds: each character is a short tone with the formants of a vowel.

It is a melody with the rhythm of the text, not speech anyone could understand. Two makers draw on
the same description: ``samples`` (16 bit, 24 kHz, for wav, pcm and flac) and ``mp3_frames``.
"""

from __future__ import annotations

import math
import struct
from array import array
from functools import lru_cache

import msgspec

from tokenmarket.sandbox import mp3

RATE = 24_000
CHARACTER_S = 0.07
SECONDS_MAX = 60.0

# OpenAI's names; the pitch is ours.
PITCH_HZ = {
    "alloy": 165,
    "ash": 120,
    "ballad": 140,
    "cedar": 105,
    "coral": 210,
    "echo": 115,
    "fable": 180,
    "marin": 200,
    "nova": 225,
    "onyx": 95,
    "sage": 190,
    "shimmer": 240,
    "verse": 150,
}
# Formants in Hz and loudness. Vowels are vowels; other letters are closed, quieter mouths.
_SHAPES = {
    "a": (730, 1090, 1.0),
    "e": (530, 1840, 0.9),
    "i": (300, 2290, 0.8),
    "o": (570, 840, 1.0),
    "u": (320, 870, 0.9),
    "m": (250, 1200, 0.5),
    "s": (400, 2700, 0.4),
    "t": (450, 1700, 0.45),
}
_OWN_SHAPE = {"y": "i", "n": "m", "l": "m", "r": "m", "w": "u", "z": "s", "f": "s", "c": "s"}
_STEPS = (1.0, 1.07, 0.95)  # the pitch of one word after another
_HIGHEST_HZ = 3_400
_LOUDNESS = 0.16  # of a full scale, as root mean square
_FADE_SAMPLES = 120


class Tone(msgspec.Struct, frozen=True):
    """What one character sounds like."""

    shape: str
    pitch_hz: float


class Speech(msgspec.Struct, frozen=True):
    """A text as tones (None = silence) of ``tone_samples`` each."""

    tones: tuple[Tone | None, ...]
    tone_samples: int

    @property
    def total_samples(self) -> int:
        return len(self.tones) * self.tone_samples


def speech(text: str, voice: str, speed: float) -> Speech:
    """Some 70 ms a character; a text for which SECONDS_MAX is too short is spoken faster."""
    pitch_hz = PITCH_HZ[voice]
    tones: list[Tone | None] = []
    word = 0
    for character in text.lower():
        shape = _shape(character)
        if shape is None:
            word += bool(tones and tones[-1])
            tones.append(None)
        else:
            tones.append(Tone(shape, pitch_hz * _STEPS[word % len(_STEPS)]))
    tone_s = min(CHARACTER_S / speed, SECONDS_MAX / len(tones))
    return Speech(tuple(tones), int(tone_s * RATE))


def samples(tone: Tone | None, count: int) -> bytes:
    """One character as 16 bit little-endian samples, faded in and out."""
    if tone is None:
        return bytes(2 * count)
    return _samples(tone, count)


def mp3_frames(spoken: Speech) -> list[bytes]:
    """The whole speech as MP3 frames, silence at the end so that a decoder's delay cuts nothing."""
    found: list[bytes] = []
    for index in range(-(-spoken.total_samples // mp3.FRAME_SAMPLES)):
        middle = index * mp3.FRAME_SAMPLES + mp3.FRAME_SAMPLES // 2
        position = min(middle // spoken.tone_samples, len(spoken.tones) - 1)
        found.append(_mp3_frame(spoken.tones[position], index % 4))
    return [*found, _mp3_frame(None, 0)]


def _shape(character: str) -> str | None:
    if not character.isalnum():
        return None
    if character in _SHAPES:
        return character
    if character.isascii():
        return _OWN_SHAPE.get(character, "t")
    return "aeiou"[ord(character) % 5]


def _harmonics(tone: Tone) -> list[float]:
    """How loud each multiple of the pitch is; their squares add up to 2."""
    first, second, _ = _SHAPES[tone.shape]
    found: list[float] = []
    for number in range(1, int(_HIGHEST_HZ / tone.pitch_hz) + 1):
        hertz = number * tone.pitch_hz
        near = 1 / (1 + ((hertz - first) / 120) ** 2) + 0.5 / (1 + ((hertz - second) / 160) ** 2)
        found.append((near + 0.04) / math.sqrt(number))
    scale = math.sqrt(2) / math.hypot(*found)
    return [value * scale for value in found]


@lru_cache(maxsize=512)
def _samples(tone: Tone, count: int) -> bytes:
    period = round(RATE / tone.pitch_hz)
    loud = 32_768 * _LOUDNESS * _SHAPES[tone.shape][2]
    cycle = [0.0] * period
    for number, strength in enumerate(_harmonics(tone), 1):
        step = 2 * math.pi * number / period
        start = number * number  # harmonics that do not all peak together
        for at in range(period):
            cycle[at] += loud * strength * math.sin(step * at + start)
    tones = array("h", (max(-32_767, min(32_767, round(value))) for value in cycle))
    wave = (tones * (count // period + 1))[:count]
    fade = min(_FADE_SAMPLES, count // 2)
    for at in range(fade):
        wave[at] = wave[at] * at // fade
        wave[-1 - at] = wave[-1 - at] * at // fade
    return array_bytes(wave)


def array_bytes(values: array[int]) -> bytes:
    """Little-endian, whatever the machine is."""
    return struct.pack(f"<{len(values)}h", *values)


@lru_cache(maxsize=512)
def _mp3_frame(tone: Tone | None, phase: int) -> bytes:
    """``phase``: the number of the frame modulo 4. A steady line keeps the sign for two frames."""
    if tone is None:
        return mp3.frame({}, 0)
    strengths = _harmonics(tone)
    loudest = max(strengths)
    lines: dict[int, int] = {}
    for number, strength in enumerate(strengths, 1):
        line = round(number * tone.pitch_hz / mp3.LINE_HZ - 0.5)
        value = round(mp3.VALUE_MAX * (strength / loudest) ** 0.75)
        lines[line] = value if (phase + number) % 4 < 2 else -value
    power = sum(abs(value) ** (8 / 3) for value in lines.values())
    loud = _LOUDNESS * _SHAPES[tone.shape][2] * math.sqrt(2 / power)
    return mp3.frame(lines, round(210 + 4 * math.log2(loud)))
