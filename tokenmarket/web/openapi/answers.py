"""Answers of the public API as types, for their description only: nothing is made from these.

``tests/gateway/test_openapi.py`` holds the answers of a running server to them. Members that only
some providers send are not named; readers must take unknown members as they come.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Text = str
Names = list[str]


class Struct(msgspec.Struct, kw_only=True):
    """Members may stand in any order."""


# ------------------------------------------------------------------------------------------ errors


class ProviderErrorPart(Struct):
    """The provider's own words, without secrets."""

    name: Text
    status: int | None = None
    code: Text | None = None
    message: Text | None = None


class ErrorObject(Struct):
    """What went wrong, whose fault it is, and whether to try again."""

    type: Text
    code: Text
    message: Text
    param: Text | None
    request_id: Text
    fault: Literal["caller", "platform", "provider"]
    retryable: bool
    docs_url: Text
    reason: Text | None = None
    provider: ProviderErrorPart | None = None


class Error(Struct):
    """The envelope of every error."""

    error: ErrorObject


# ------------------------------------------------------------------------------------- usage, cost


class CostDetails(Struct):
    """The charge by kind, decimal strings in USD; ``total`` is what was charged."""

    input: Text
    output: Text
    cached: Text
    cache_write: Text
    reasoning: Text
    audio: Text
    image: Text
    video: Text
    search: Text
    request: Text
    total: Text


class Cost(Struct):
    """What a request cost. ``cost`` is a number for people; ``cost_details.total`` is exact."""

    cost: float
    cost_details: CostDetails
    is_byok: bool


class TokenUsage(Cost):
    """OpenAI's counts of tokens, and the cost."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class EmbeddingUsage(Cost):
    """Tokens read, and the cost."""

    prompt_tokens: int
    total_tokens: int


# -------------------------------------------------------------------------------------------- chat


class CalledFunction(Struct):
    """Name and arguments, the arguments as JSON in a text."""

    name: Text
    arguments: Text


class AnsweredToolCall(Struct):
    """A function that the model wants called."""

    id: Text
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(Struct):
    """What the model said."""

    role: Literal["assistant"]
    content: Text | None = None
    refusal: Text | None = None
    reasoning_content: Text | None = None
    tool_calls: list[AnsweredToolCall] | None = None


class ChatChoice(Struct):
    """One of ``n`` answers."""

    index: int
    message: AssistantMessage
    finish_reason: Text | None
    logprobs: dict[str, Any] | None = None


class ChatCompletion(Struct):
    """A whole answer."""

    id: Text
    object: Literal["chat.completion"]
    created: int
    model: Text
    choices: list[ChatChoice]
    usage: TokenUsage | None = None


class ChunkChoice(Struct):
    """A piece of one answer; ``delta`` holds what is new."""

    index: int
    delta: dict[str, Any]
    finish_reason: Text | None = None
    logprobs: dict[str, Any] | None = None


class ChatCompletionChunk(Struct):
    """One event of a stream. The last one before ``[DONE]`` has ``usage`` and no choices, if
    ``stream_options.include_usage`` asked for it."""

    id: Text
    object: Literal["chat.completion.chunk"]
    created: int
    model: Text
    choices: list[ChunkChoice]
    usage: TokenUsage | None = None


class CompletionChoice(Struct):
    """One continuation."""

    index: int
    text: Text
    finish_reason: Text | None = None
    logprobs: dict[str, Any] | None = None


class Completion(Struct):
    """Continuations of a prompt; a stream sends many with pieces of the text."""

    id: Text
    object: Literal["text_completion"]
    created: int
    model: Text
    choices: list[CompletionChoice]
    usage: TokenUsage | None = None


# ----------------------------------------------------------------- embeddings, rerank, moderation


class Embedding(Struct):
    """One vector; base64 of little-endian floats where that was asked for."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(Struct):
    """One vector per input, in its order."""

    object: Literal["list"]
    data: list[Embedding]
    model: Text
    usage: EmbeddingUsage | None = None


class CohereEmbeddings(Struct):
    """Vectors by type, as Cohere's clients read them."""

    id: Text
    embeddings: dict[str, Any] | list[list[float]]
    texts: Names
    meta: dict[str, Any]


class RankedDocument(Struct):
    """``index`` counts in the documents that were sent."""

    index: int
    relevance_score: float
    document: dict[str, Any] | str | None = None


class Rerank(Struct):
    """The best documents first."""

    id: Text
    model: Text
    results: list[RankedDocument]
    usage: dict[str, Any] | None = None
    meta: dict[str, Any] | None = None


class ModerationResult(Struct):
    """What was found in one input."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]] | None = None


class Moderation(Struct):
    """One result per input."""

    id: Text
    model: Text
    results: list[ModerationResult]


# ----------------------------------------------------------------------------------- images, audio


class Image(Struct):
    """One picture: an address that ends, or base64."""

    url: Text | None = None
    b64_json: Text | None = None
    revised_prompt: Text | None = None


class Images(Struct):
    """The pictures that were made."""

    created: int
    data: list[Image]
    usage: dict[str, Any] | None = None


class ImageEvent(Struct):
    """One event of a stream of pictures: partial ones, then the whole."""

    type: Text
    b64_json: Text
    usage: dict[str, Any] | None = None


class SpeechEvent(Struct):
    """One event of spoken text: sound as base64, then usage and cost."""

    type: Literal["speech.audio.delta", "speech.audio.done"]
    audio: Text | None = None
    usage: dict[str, Any] | None = None


class Transcript(Struct):
    """What was said. ``response_format`` verbose_json adds segments, words, language, duration;
    text, srt and vtt are plain text instead."""

    text: Text
    task: Text | None = None
    language: Text | None = None
    duration: float | None = None
    segments: list[dict[str, Any]] | None = None
    words: list[dict[str, Any]] | None = None
    usage: dict[str, Any] | None = None


class TranscriptEvent(Struct):
    """One event of a transcript as it grows."""

    type: Text
    delta: Text | None = None
    text: Text | None = None
    usage: dict[str, Any] | None = None
