"""What the sandbox reads of a request body, and how it refuses one.

Deliberately its own definitions, not those of ``core/requests.py``: this is the other side of the
wire, so that a field which the gateway mangles is noticed here. Unknown fields are ignored.
``tools`` and ``response_format`` stay raw, because their bytes are counted as prompt.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

import msgspec

INPUTS_MAX = 2048
CHOICES_MAX = 128

Text = Annotated[str, msgspec.Meta(min_length=1)]
_Limit = Annotated[int, msgspec.Meta(ge=1)]
_Probability = Annotated[int, msgspec.Meta(ge=0, le=20)]
_Stop = str | Annotated[list[str], msgspec.Meta(max_length=16)]
_TokenId = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Inputs = str | list[str | _TokenId | list[_TokenId]]
_ABSENT = msgspec.Raw()  # b""; "Raw | None" would accept nothing but null
Metadata = Annotated[dict[str, str], msgspec.Meta(max_length=64)]


class Refused(Exception):
    """A request that the sandbox does not answer; the fields are OpenAI's error members."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.kind = kind


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None


class ImageUrl(msgspec.Struct, frozen=True):
    url: str


class InputAudio(msgspec.Struct, frozen=True):
    data: str


class InputFile(msgspec.Struct, frozen=True):
    file_data: str = ""
    file_id: str = ""
    filename: str = ""


class Part(msgspec.Struct, frozen=True):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | None = None
    input_audio: InputAudio | None = None
    file: InputFile | None = None


class NamedCall(msgspec.Struct, frozen=True):
    """``function`` or ``custom`` of an earlier tool call."""

    name: str = ""
    arguments: str = ""
    input: str = ""


class ToolCall(msgspec.Struct, frozen=True):
    id: str | None = None
    function: NamedCall | None = None
    custom: NamedCall | None = None


class Message(msgspec.Struct, frozen=True):
    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None

    def text(self) -> str:
        """The text of all parts."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if part.text)


class NamedTool(msgspec.Struct, frozen=True):
    """``function`` or ``custom`` of a tool definition or a tool choice."""

    name: Text
    parameters: dict[str, object] | None = None


class Tool(msgspec.Struct, frozen=True):
    type: str
    function: NamedTool | None = None
    custom: NamedTool | None = None

    @property
    def named(self) -> NamedTool:
        """The definition under the key that ``type`` announces."""
        named = self.custom if self.type == "custom" else self.function
        if named is None:
            raise Refused(f"A tool of type '{self.type}' is not complete.", param="tools")
        return named


class AllowedTools(msgspec.Struct, frozen=True):
    mode: str
    tools: list[Tool]


class ToolChoice(msgspec.Struct, frozen=True):
    type: str
    function: NamedTool | None = None
    custom: NamedTool | None = None
    allowed_tools: AllowedTools | None = None


class SchemaFormat(msgspec.Struct, frozen=True):
    schema: dict[str, object] | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    type: str
    json_schema: SchemaFormat | None = None


class ChatBody(msgspec.Struct, frozen=True):
    """``POST /chat/completions``."""

    model: Text
    messages: Annotated[list[Message], msgspec.Meta(min_length=1, max_length=10_000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _Limit | None = None
    max_completion_tokens: _Limit | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=CHOICES_MAX)] | None = None
    stop: _Stop | None = None
    tools: msgspec.Raw = _ABSENT
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: msgspec.Raw = _ABSENT
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: _Probability | None = None
    modalities: list[str] | None = None
    metadata: Metadata | None = None


class CompletionBody(msgspec.Struct, frozen=True):
    """``POST /completions`` (legacy); ``max_tokens`` is 16 when absent, as at OpenAI."""

    model: Text
    prompt: Inputs
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=CHOICES_MAX)] | None = None
    stop: _Stop | None = None
    echo: bool | None = None
    logprobs: _Probability | None = None
    metadata: Metadata | None = None


class EmbeddingBody(msgspec.Struct, frozen=True):
    """``POST /embeddings``."""

    model: Text
    input: Inputs
    encoding_format: str | None = None
    dimensions: int | None = None
    metadata: Metadata | None = None


def inputs(value: Inputs, param: str) -> list[str] | list[list[int]]:
    """One entry per prompt or input; a flat list of token ids is one entry.

    Raises Refused for no entry, a mixture of kinds, and for more than INPUTS_MAX.
    """
    rows = [value] if isinstance(value, str) else value
    texts = [row for row in rows if isinstance(row, str)]
    lists = [row for row in rows if isinstance(row, list)]
    ids = [row for row in rows if isinstance(row, int)]
    if bool(texts) + bool(lists) + bool(ids) != 1:
        raise Refused(f"'{param}' must be texts or token ids, not empty, not mixed.", param=param)
    found = texts or lists or [ids]
    if len(found) > INPUTS_MAX:
        raise Refused(f"'{param}' has more than {INPUTS_MAX} entries.", param=param)
    return found


_T = TypeVar("_T")


def invalid(error: msgspec.ValidationError, at: str = "") -> Refused:
    """The refusal of a body that has another form; ``at`` is where that body itself sits."""
    message = str(error)
    found = _PATH.search(message)
    param = ".".join(name for name in (at, found.group(1) if found else "") if name)
    return Refused(f"Invalid request: {message}", param=param or None)


_PATH = re.compile(r" - at `(?:\$\.?)?(?:key in )?([^`]{0,200})`$")


def read(decoder: msgspec.json.Decoder[_T], body: bytes | msgspec.Raw, at: str = "") -> _T:
    """Decode or refuse with the JSON path as ``param``; ``at`` is where ``body`` itself sits."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise invalid(error, at) from None
    # A lone surrogate or bad UTF-8 is a ValueError, absurd nesting a RecursionError.
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Refused(f"We could not parse the JSON body of your request: {error}") from None
