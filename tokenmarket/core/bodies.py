"""Bodies of images, speech, transcription, rerank and moderation: the fields we check or act on.

Field names and ranges are OpenAI's (``reference/media``), rerank's the superset of Cohere, Jina
and LiteLLM. A multipart form is made into the same JSON first (``core/forms.py``), so there is one
struct per operation. Unknown members stay in ``Request.members`` for an upstream that knows them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.core.requests import ABSENT, Text

Prompt = Annotated[str, msgspec.Meta(min_length=1, max_length=32_000)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10)]
Models = Annotated[list[Text], msgspec.Meta(max_length=16)]
DOCUMENTS_MAX = 1_000


class ImageReference(msgspec.Struct, frozen=True):
    """A picture in a JSON edit: its address (https or data)."""

    image_url: str | None = None
    file_id: str | None = None


class ImageBody(msgspec.Struct, frozen=True):
    """``POST /images/generations``, ``/images/edits`` and ``/images/variations``."""

    model: Text
    prompt: Prompt | None = None
    n: Count | None = None
    size: str | None = None
    quality: str | None = None
    response_format: Literal["url", "b64_json"] | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    output_format: Literal["png", "jpeg", "webp", "gif", "svg"] | None = None
    output_compression: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    moderation: Literal["low", "auto"] | None = None
    style: str | None = None
    input_fidelity: Literal["high", "low"] | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    stream: bool | None = None
    partial_images: Annotated[int, msgspec.Meta(ge=0, le=3)] | None = None
    images: Annotated[list[ImageReference], msgspec.Meta(max_length=16)] | None = None
    image: msgspec.Raw = ABSENT  # a URL or a list of them, as several providers spell it
    mask: ImageReference | None = None
    provider: msgspec.Raw = ABSENT
    models: Models | None = None
    user: str | None = None


class Voice(msgspec.Struct, frozen=True):
    id: Text


class SpeechBody(msgspec.Struct, frozen=True):
    """``POST /audio/speech``."""

    model: Text
    input: Annotated[str, msgspec.Meta(min_length=1, max_length=100_000)]
    voice: str | Voice | None = None
    instructions: Annotated[str, msgspec.Meta(max_length=4096)] | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = None
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=4.0)] | None = None
    stream_format: Literal["audio", "sse"] | None = None
    language: str | None = None
    provider: msgspec.Raw = ABSENT
    models: Models | None = None
    user: str | None = None


class TranscriptionBody(msgspec.Struct, frozen=True):
    """``POST /audio/transcriptions``, ``/audio/translations``; the file is in ``inputs``."""

    model: Text
    language: str | None = None
    languages: list[str] | None = None
    keywords: list[str] | None = None
    prompt: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    response_format: (
        Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"] | None
    ) = None
    timestamp_granularities: list[Literal["word", "segment"]] | None = None
    include: list[str] | None = None
    stream: bool | None = None
    chunking_strategy: msgspec.Raw = ABSENT
    known_speaker_names: Annotated[list[str], msgspec.Meta(max_length=4)] | None = None
    known_speaker_references: Annotated[list[str], msgspec.Meta(max_length=4)] | None = None
    provider: msgspec.Raw = ABSENT
    models: Models | None = None
    user: str | None = None


Document = str | dict[str, msgspec.Raw]


class RerankBody(msgspec.Struct, frozen=True):
    """``POST /rerank``. ``top_k`` is Voyage's word for ``top_n``."""

    model: Text
    query: str
    documents: list[Document]  # 1 to DOCUMENTS_MAX, see core/parse_rerank.py
    top_n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=1)] | None = None
    return_documents: bool | None = None
    max_tokens_per_doc: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_chunks_per_doc: Annotated[int, msgspec.Meta(ge=1)] | None = None
    rank_fields: list[str] | None = None
    instruction: str | None = None
    truncation: bool | None = None
    truncate: msgspec.Raw = ABSENT
    relevant_spans: dict[str, msgspec.Raw] | None = None
    provider: msgspec.Raw = ABSENT
    models: Models | None = None
    user: str | None = None


class ModerationBody(msgspec.Struct, frozen=True):
    """``POST /moderations``: a text, texts, or parts (text, image_url)."""

    model: Text
    input: str | list[str | dict[str, msgspec.Raw]]
    provider: msgspec.Raw = ABSENT
    models: Models | None = None
    user: str | None = None
