"""Lanes of media models over the scripted upstream, bodies for them, and good answers.

As a ``Lane`` of ``site.py``, a ``MediaLane`` has providers that no other test uses. A module that
wants some says ``CATALOG = media_lanes(40)`` and takes them with ``media_lane(site)``.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gateway.site import SHORT, Site, eventually
from tests.gateway.upstream import Act, Link, Seen, Upstream, answers, events, http
from tests.unit.adapters.pictures import PNG_B64
from tests.unit.core.media import writers

IMAGES = "/api/v1/images/generations"
EDITS = "/api/v1/images/edits"
VARIATIONS = "/api/v1/images/variations"
SPEECH = "/api/v1/audio/speech"
TRANSCRIPTIONS = "/api/v1/audio/transcriptions"
TRANSLATIONS = "/api/v1/audio/translations"
RERANK = "/api/v1/rerank"
MODERATIONS = "/api/v1/moderations"
EMBED = "/api/v2/embed"
WAV = writers.wav(1)
MP3 = writers.mp3(100)
BOUNDARY = "bb-0"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}

_PROVIDER = """
[[provider]]
name = "m{n}{letter}"
adapter = "{adapter}"
base_url = "http://127.0.0.1:{port}/m{n}{letter}/v1"
timeout_s = {short}
api_keys = ["media-key-{n}-{letter}"]
"""
_MODEL = """
[[model]]
id = "m{n}-{name}"
operation = "{operation}"
name = {{ en = "Media lane {n} {name}" }}
vendor = "tests"
default_provider = "m{n}{default}"
capabilities = {{ {capabilities} }}
"""
_ROUTE = """
[[route]]
model = "m{n}-{name}"
provider = "m{n}{letter}"
upstream_model = "{name}-at-{letter}"
priority = {priority}
price = [{price}]
"""
ADAPTERS = {"a": "openai", "b": "openai", "s": "siliconflow", "c": "cohere", "v": "vllm"}
_PICTURES = (
    'edits = true, masks = true, inputs_max = 4, sizes = ["256x256", "512x512"], '
    'default_size = "256x256", qualities = ["low", "high"], default_quality = "low", n_max = 10'
)
_IMAGE = '{ unit = "image", usd = "0.01" }'
_VOICES = 'voices = ["alloy", "echo"], default_voice = "alloy", voice_aliases = { male = "echo" }'
_CHARACTER = '{ unit = "character", usd = "10" }'
_SECOND = '{ unit = "audio_second", usd = "0.001" }'
_TOKENS = '{ unit = "input_token", usd = "1" }, { unit = "output_token", usd = "2" }'
_DRAWN = f"""{_TOKENS}, {{ unit = "image_output_token", usd = "8" }},
  {{ unit = "image_input_token", usd = "4" }}"""
# name -> operation, capabilities, (provider's letter, price) in order of priority
MODELS: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "picture": ("images", _PICTURES, (("a", _IMAGE),)),
    "picture2": ("images", _PICTURES, (("a", _IMAGE), ("b", '{ unit = "image", usd = "0.02" }'))),
    "pictures": ("images", _PICTURES, (("s", _IMAGE),)),
    "anysize": ("images", "edits = true", (("s", _IMAGE),)),
    "drawn": ("images", _PICTURES + ", image_tokens_max = 5_000", (("a", _DRAWN),)),
    "speech": ("speech", _VOICES, (("a", _CHARACTER),)),
    "speech2": (
        "speech",
        _VOICES,
        (("a", _CHARACTER), ("b", '{ unit = "character", usd = "20" }')),
    ),
    "spoken": (
        "speech",
        _VOICES + ', speech_usage = "events"',
        (("a", '{ unit = "input_token", usd = "1" }, { unit = "audio_output_token", usd = "2" }'),),
    ),
    "heard": ("transcription", "", (("a", _SECOND),)),
    "heard2": ("transcription", "", (("a", _SECOND), ("b", _SECOND))),
    "counted": ("transcription", "", (("a", _TOKENS),)),
    "translated": ("translation", "", (("a", _SECOND),)),
    "ranked": ("rerank", "", (("c", '{ unit = "search", usd = "0.002" }'),)),
    "ranked2": (
        "rerank",
        "",
        (("c", '{ unit = "search", usd = "0.002" }'), ("v", '{ unit = "request", usd = "0.001" }')),
    ),
    "judged": ("moderation", "", (("a", '{ unit = "request", usd = "0.0005" }'),)),
    "vectors": ("embeddings", "", (("a", '{ unit = "input_token", usd = "0.02" }'),)),
}


def media_lanes(lanes: int) -> Callable[[Upstream], str]:
    """The catalog of so many media lanes, for ``CATALOG`` of a module."""

    def catalog(upstream: Upstream) -> str:
        upstream.usual |= USUAL
        return "".join(_lane_toml(n, upstream.port) for n in range(lanes))

    return catalog


def _lane_toml(n: int, port: int) -> str:
    text = ""
    for letter, adapter in ADAPTERS.items():
        text += _PROVIDER.format(n=n, letter=letter, adapter=adapter, port=port, short=SHORT)
    for name, (operation, capabilities, routes) in MODELS.items():
        text += _MODEL.format(
            n=n, name=name, operation=operation, default=routes[0][0], capabilities=capabilities
        )
        for priority, (letter, price) in enumerate(routes):
            text += _ROUTE.format(n=n, name=name, letter=letter, priority=priority, price=price)
    return text


@dataclass
class MediaLane:
    """``will("a", …)`` scripts one of its providers, ``seen("a")`` is what that one got."""

    n: int
    upstream: Upstream

    def model(self, name: str) -> str:
        return f"m{self.n}-{name}"

    def provider(self, letter: str) -> str:
        return f"m{self.n}{letter}"

    def will(self, letter: str, *acts: Act) -> None:
        self.upstream.will(self.provider(letter), *acts)

    def seen(self, letter: str) -> list[Seen]:
        return self.upstream.of(self.provider(letter))

    def ask(self, name: str, **more: Any) -> tuple[str, Any, Mapping[str, str]]:
        """(path, body, headers) of a good request to the model."""
        return good(MODELS[name][0], self.model(name), **more)


_TAKEN: dict[int, int] = {}


def media_lane(site: Site) -> MediaLane:
    """A lane of its own."""
    n = _TAKEN[id(site)] = _TAKEN.get(id(site), -1) + 1
    return MediaLane(n, site.upstream)


# --- what is asked -------------------------------------------------------------------------------

PATHS = {
    "images": IMAGES,
    "speech": SPEECH,
    "transcription": TRANSCRIPTIONS,
    "translation": TRANSLATIONS,
    "rerank": RERANK,
    "moderation": MODERATIONS,
    "embeddings": EMBED,
}
BODIES: dict[str, dict[str, Any]] = {
    "images": {"prompt": "a lake"},
    "speech": {"input": "Hello", "voice": "alloy"},
    "rerank": {"query": "lake", "documents": ["a lake", "a hill"]},
    "moderation": {"input": "Hello"},
    "embeddings": {"texts": ["Hello"], "input_type": "search_query"},
}


def good(operation: str, model: str, **more: Any) -> tuple[str, Any, Mapping[str, str]]:
    """A request that works; ``more`` is changed in its body, ``...`` takes a member away. A form
    for transcription and translation."""
    path = PATHS[operation]
    if operation in ("transcription", "translation"):
        fields = {
            name: value for name, value in ({"model": model} | more).items() if value is not ...
        }
        return path, form([*fields.items()], [("file", "a.wav", WAV)]), FORM
    body = {"model": model} | BODIES[operation] | more
    return path, {name: value for name, value in body.items() if value is not ...}, {}


def part(name: str, value: bytes, filename: str | None = None, *more: str) -> bytes:
    """One part of a form, written as it is."""
    named = "" if filename is None else f'; filename="{filename}"'
    lines = "".join(f"{line}\r\n" for line in more)
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"{named}\r\n{lines}\r\n'
    return head.encode() + value + b"\r\n"


def form(
    fields: Sequence[tuple[str, str]] | dict[str, str],
    files: Sequence[tuple[str, str, bytes]] = (),
) -> bytes:
    """A whole form with the boundary of ``FORM``."""
    pairs = fields.items() if isinstance(fields, dict) else fields
    parts = [part(name, value.encode()) for name, value in pairs]
    parts += [part(name, data, filename) for name, filename, data in files]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


# --- good answers --------------------------------------------------------------------------------


def pictures(count: int = 1, **more: Any) -> Act:
    return answers(document={"created": 1, "data": [{"b64_json": PNG_B64}] * count, **more})


async def painted(link: Link, seen: Seen) -> None:
    """As many pictures as were asked for."""
    kind = seen.headers["content-type"]
    count = seen.json.get("n", 1) if kind == "application/json" else 1
    await pictures(count)(link, seen)


def addresses(*urls: str) -> Act:
    """Pictures of siliconflow: addresses."""
    return answers(document={"images": [{"url": url} for url in urls]})


def audio(data: bytes = MP3, content_type: str = "audio/mpeg") -> Act:
    async def act(link: Link, _: Seen) -> None:
        await link.send(http(200, data, content_type=content_type))

    return act


def delta(data: bytes) -> bytes:
    """An event of speech."""
    event = {"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def done(**usage: Any) -> bytes:
    """The last event of speech."""
    return b"data: " + json.dumps({"type": "speech.audio.done", "usage": usage}).encode() + b"\n\n"


async def speaking(link: Link, seen: Seen) -> None:
    """Bare audio, or events with 10 and 100 tokens."""
    if seen.json.get("stream_format") == "sse":
        await link.send(events(delta(MP3), done(input_tokens=10, output_tokens=100)))
    else:
        await audio()(link, seen)


def transcript(text: str = "Hello.", **more: Any) -> Act:
    return answers(document={"text": text, **more})


def ranking(*scores: float, searches: Any = 1, **more: Any) -> Act:
    results = [{"index": i, "relevance_score": score} for i, score in enumerate(scores)]
    meta = {"billed_units": {"search_units": searches}}
    return answers(document={"id": "r", "results": results, "meta": meta, **more})


async def ranked(link: Link, seen: Seen) -> None:
    await ranking(*([0.5] * len(seen.json["documents"])))(link, seen)


def judged(**more: Any) -> Act:
    row = {"flagged": False, "categories": {"hate": False}, "category_scores": {"hate": 0.1}}
    return answers(document={"id": "modr-1", "model": "m", "results": [row], **more})


USUAL: dict[str, Act] = {
    "/images/generations": painted,
    "/images/edits": painted,
    "/audio/speech": speaking,
    "/audio/transcriptions": transcript(),
    "/audio/translations": transcript(),
    "/rerank": ranked,
    "/moderations": judged(),
}


# --- what must be so afterwards ------------------------------------------------------------------


def files_of(directory: Path) -> list[str]:
    """Files in it, and nameless ones of it that are still open."""
    named = [path.name for path in directory.iterdir()] if directory.exists() else []
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if link.is_symlink()]
    return named + [target for target in targets if str(directory) in target]


async def nothing_left(site: Site) -> None:
    """No spool, no temporary file, no descriptor of one, no upload counted."""
    spools = site.server.spools
    await eventually(lambda: spools.open_count == 0, "the spools are closed")
    assert spools.used_bytes == 0
    assert files_of(site.server.config.data_dir / "spool") == []


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()
