"""From body bytes to a typed, validated Request; nothing in here is upstream-specific.

Only the fields that we act on are decoded; the raw body keeps everything else for the upstream.
Every refusal is ApiError(REQUEST_001) with ``param`` as the JSON path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from tokenmarket.core.pricing import Bound
from tokenmarket.core.uploads import Input

if TYPE_CHECKING:
    from tokenmarket.core.bodies import (
        ImageBody,
        ModerationBody,
        RerankBody,
        SpeechBody,
        TranscriptionBody,
    )
    from tokenmarket.core.video.body import VideoBody
    from tokenmarket.core.video.request import ResolvedVideo

# A member that was not given; msgspec cannot decode `Raw | None`.
ABSENT = msgspec.Raw(b"")

Text = Annotated[str, msgspec.Meta(min_length=1)]


class ProviderChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The object form of ``provider`` (OpenRouter's fields). The string form ``"x"`` is
    ``{"only": ["x"], "allow_fallbacks": false}``."""

    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    sort: Literal["price", "latency", "throughput"] | None = None
    max_price: MaxPrice | None = None
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    require_parameters: bool = False


class MaxPrice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens (or per unit) the caller is ready to pay."""

    prompt: float | str | None = None
    completion: float | str | None = None
    request: float | str | None = None
    image: float | str | None = None
    audio: float | str | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Part(msgspec.Struct, frozen=True):
    """One content part; unknown types pass to an upstream of the same dialect."""

    type: str
    text: str | None = None
    image_url: msgspec.Raw = ABSENT
    input_audio: msgspec.Raw = ABSENT
    file: msgspec.Raw = ABSENT


class FunctionCall(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, frozen=True):
    id: str | None = None
    type: str | None = None
    function: FunctionCall | None = None


class Message(msgspec.Struct, frozen=True):
    role: Literal["developer", "system", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class FunctionTool(msgspec.Struct, frozen=True):
    name: Text
    description: str | None = None
    parameters: dict[str, msgspec.Raw] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True):
    type: str
    function: FunctionTool | None = None


Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
PositiveInt = Annotated[int, msgspec.Meta(ge=1, le=100_000_000)]


class ChatBody(msgspec.Struct, frozen=True):
    """``POST /chat/completions``: the fields we check (OpenAI's ranges)."""

    model: Text
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=10_000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    provider: msgspec.Raw = ABSENT
    models: Annotated[list[Text], msgspec.Meta(max_length=16)] | None = None
    max_tokens: PositiveInt | None = None
    max_completion_tokens: PositiveInt | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=16)] | None = None
    seed: int | None = None
    user: str | None = None
    tools: Annotated[list[Tool], msgspec.Meta(max_length=512)] | None = None
    tool_choice: msgspec.Raw = ABSENT
    parallel_tool_calls: bool | None = None
    response_format: dict[str, msgspec.Raw] | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None
    modalities: list[str] | None = None
    metadata: dict[str, msgspec.Raw] | None = None
    logit_bias: dict[str, float] | None = None


class CompletionBody(msgspec.Struct, frozen=True):
    """``POST /completions`` (legacy). OpenAI's default of ``max_tokens`` is 16."""

    model: Text
    prompt: str | list[str | int | list[int]]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    provider: msgspec.Raw = ABSENT
    models: Annotated[list[Text], msgspec.Meta(max_length=16)] | None = None
    max_tokens: PositiveInt | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = None
    best_of: Annotated[int, msgspec.Meta(ge=1, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=16)] | None = None
    seed: int | None = None
    user: str | None = None


class EmbeddingBody(msgspec.Struct, frozen=True):
    """``POST /embeddings``: at most 2048 inputs."""

    model: Text
    input: Text | list[str | int | list[int]]
    provider: msgspec.Raw = ABSENT
    models: Annotated[list[Text], msgspec.Meta(max_length=16)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: PositiveInt | None = None
    user: str | None = None


if TYPE_CHECKING:
    Typed = (
        ChatBody
        | CompletionBody
        | EmbeddingBody
        | ImageBody
        | SpeechBody
        | TranscriptionBody
        | RerankBody
        | ModerationBody
        | VideoBody
        | ResolvedVideo
    )


class Request(msgspec.Struct):
    """One parsed call. ``body`` is as received; ``fields`` its top-level members, undecoded.

    ``input_tokens_max`` is proven from the bytes (a token covers at least one byte).
    ``max_output_tokens`` is the caller's, per choice (None = not given); after planning
    ``output_limit`` is the number to send upstream, or None to send none.
    """

    operation: str
    model: str
    body: bytes
    typed: Typed
    stream: bool = False
    include_usage: bool = False
    choice: ProviderChoice | None = None
    models: tuple[str, ...] = ()
    n: int = 1
    max_output_tokens: int | None = None
    output_limit: int | None = None
    bound: Bound = Bound()
    attributes: dict[str, str] = {}
    request_id: str = ""  # "req_…"; ids of answers are made from it
    created_s: int = 0  # unix time of acceptance, for upstreams that give no ``created``
    variant: str = ""  # images: generations | edits | variations
    inputs: tuple[Input, ...] = ()  # the caller's files
    size: str = ""  # images: "WxH" after ``core/media_rules.py``; "" = the model's own choice
    quality: str = ""  # images: likewise
    voice: str = ""  # speech: the provider's name of the voice, aliases resolved
    audio_format: str = ""  # speech: what the upstream is to make; one of ``speech_formats``
    audio_ms: int | None = None  # transcription: the file's length as we measured it

    _fields: dict[str, msgspec.Raw] | None = None

    @property
    def members(self) -> dict[str, msgspec.Raw]:
        """As ``fields``, but the one shared dict: to look at only."""
        members = self._fields
        if members is None:
            members = self._fields = _decode_fields(self.body)
        return members

    @property
    def fields(self) -> dict[str, msgspec.Raw]:
        """The body's top-level members, each still JSON bytes. A fresh dict: change it freely."""
        return dict(self.members)


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
