"""Body bytes -> Request. Pure; every refusal is ApiError(REQUEST_001) with the JSON path.

What a reader must know:

* The body is decoded once, into the few fields we act on; the upstream gets the rest as it came.
* The upstream may read a duplicate member differently from us, so no object may hold a name twice.
* ``Bound.input_tokens`` is proven: a byte-level tokenizer makes at most one token per UTF-8 byte,
  and JSON escapes only lengthen text. What bytes do not bound (an image behind a URL) is added.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import msgspec

from tokenmarket.core.bodies import ModerationBody, RerankBody
from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse_moderation import moderation_request
from tokenmarket.core.parse_rerank import rerank_request
from tokenmarket.core.pricing import Bound
from tokenmarket.core.requests import (
    ChatBody,
    CompletionBody,
    EmbeddingBody,
    Message,
    Part,
    ProviderChoice,
    Request,
)
from tokenmarket.core.wording import decoder_said, say

Read = TypeVar("Read")

DEPTH_MAX = 64
_FEW = DEPTH_MAX // 2  # so many brackets of one kind are worth a closer look
MESSAGE_OVERHEAD_TOKENS = 16
TOOLS_OVERHEAD_TOKENS = 1_000
# The dearest picture formula known (token_estimation.md section 2) with room to spare.
IMAGE_URL_TOKENS_MAX = 20_000
# A file or clip behind an id or URL: only the context window bounds it.
REMOTE_FILE_TOKENS_MAX = 10_000_000
# Members that start paid tools at the provider: a route needs a ``web_search`` price to take them.
PAID_SEARCH_FIELDS = frozenset(
    {"web_search_options", "plugins", "enable_search", "search_parameters"}
)
WEB_SEARCHES_MAX = 10
LEGACY_MAX_TOKENS_DEFAULT = 16  # OpenAI's documented default for /completions

_decode_chat = msgspec.json.Decoder(ChatBody).decode
_decode_completion = msgspec.json.Decoder(CompletionBody).decode
_decode_embedding = msgspec.json.Decoder(EmbeddingBody).decode
_decode_rerank = msgspec.json.Decoder(RerankBody).decode
_decode_moderation = msgspec.json.Decoder(ModerationBody).decode
_decode_any = msgspec.json.Decoder().decode
_decode_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_choice = msgspec.json.Decoder(ProviderChoice).decode
_encode = msgspec.json.Encoder().encode
_NOTHING = msgspec.Raw(b"")

_PATH = re.compile(r" - at `\$?(.*?)`$")
_MISSING = re.compile(r"missing required field `([^`]+)`|unknown field `([^`]+)`")
# Possessive: a string is passed over in one linear step, whatever is in it, even without an end.
_BRACKETS = re.compile(rb'[\[\]{}]|"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def parse(operation: str, body: bytes) -> Request:
    """The typed request. Raises ApiError(REQUEST_001)."""
    parser = PARSERS.get(operation)
    if parser is None:
        raise ApiError(
            "REQUEST_004",
            say("The operation {operation!r} does not exist here.", operation=operation),
        )
    return parse_with(parser, body)


def parse_with(parser: Callable[[bytes], Request], body: bytes) -> Request:
    """What every body must be, whatever is in it, around the parser of one operation."""
    request = read_body(parser, body)
    check_duplicates(body, request.members)
    return request


def read_body(decode: Callable[[bytes], Read], body: bytes) -> Read:
    """``decode`` with every way in which a body can be no proper JSON made into REQUEST_001."""
    if not body.isascii():
        try:
            body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ApiError(
                "REQUEST_001", say("The body is not valid UTF-8 (byte {start}).", start=error.start)
            ) from None
    # Splitting finds a byte twice as fast as counting does, and ends early.
    if len(body.split(b"[", _FEW)) + len(body.split(b"{", _FEW)) > _FEW:
        _check_depth(body)
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except msgspec.DecodeError as error:
        raise ApiError(
            "REQUEST_001", say("The body is not valid JSON: {error}", error=error)
        ) from None
    except RecursionError:
        raise _too_deep() from None


def refuse(message: str, param: str, reason: str | None = None) -> NoReturn:
    """ApiError(REQUEST_001) at a JSON path."""
    raise ApiError("REQUEST_001", message, param=param, reason=reason)


def _invalid(text: str) -> ApiError:
    """msgspec says ``Expected `int`, got `str` - at `$.n```: message and JSON path."""
    path = _PATH.search(text)
    param = path.group(1).lstrip(".") if path else ""
    message = text[: path.start()] if path else text
    member = _MISSING.search(message)
    if member:
        name = member.group(1) or member.group(2)
        param = f"{param}.{name}" if param else name
    told = say("{what}.", what=decoder_said(message))
    return ApiError("REQUEST_001", told, param=param or None)


def _too_deep() -> ApiError:
    return ApiError(
        "REQUEST_001",
        say("The body is nested deeper than {depth_max} levels.", depth_max=DEPTH_MAX),
    )


def _check_depth(body: bytes) -> None:
    depth = 0
    for match in _BRACKETS.finditer(body):
        byte = match.group()
        if byte in (b"[", b"{"):
            depth += 1
            if depth > DEPTH_MAX:
                raise _too_deep()
        elif byte in (b"]", b"}"):
            depth -= 1


def rewritten(messages: bytes) -> bytes:
    """Decoded as far as we read them ourselves, and written again: lists of parts to the ground."""
    if b'"content":[' in messages:
        try:
            return _encode(_decode_any(messages))
        except msgspec.DecodeError:  # a number that nobody can hold
            return b""
    return _encode(_decode_objects(messages))


def check_duplicates(body: bytes, members: Mapping[str, msgspec.Raw]) -> None:
    """Refuse any object that holds a name twice. ``members``: the body's, as they were decoded.

    Fast path: the members (and those of each message and content part) are, written again, what
    came byte for byte, so none of them was lost. Only otherwise (white space, escapes) is the whole
    body read slowly.
    Deeper down (a tool's schema) a double name is the provider's to judge: nothing here reads it.
    """
    if _encode(members) == body:
        messages = members.get("messages")
        if messages is None or rewritten(bytes(messages)) == bytes(messages):
            return

    def check(pairs: list[tuple[str, Any]]) -> None:
        names: set[str] = set()
        for name, _ in pairs:
            if name in names:
                refuse(say("The member {name!r} is given twice.", name=name[:80]), name[:80])
            names.add(name)

    try:
        json.loads(body, object_pairs_hook=check)
    except (ValueError, RecursionError):
        raise ApiError("REQUEST_001", "The body is not valid JSON.") from None


def provider_choice(raw: msgspec.Raw) -> ProviderChoice | None:
    text = bytes(raw)
    if text.startswith(b'"'):
        name = msgspec.json.decode(text, type=str)
        if not name:
            refuse("An empty provider name.", "provider")
        return ProviderChoice(only=(name,), allow_fallbacks=False)
    if text in (b"", b"null"):
        return None
    try:
        choice = _decode_choice(text)
    except msgspec.ValidationError as error:
        refused = _invalid(str(error))
        refused.param = f"provider.{refused.param}" if refused.param else "provider"
        raise refused from None
    if choice.max_price is not None:
        for field in choice.max_price.__struct_fields__:
            value = getattr(choice.max_price, field)
            if value is not None and _micro_usd(value) is None:
                refuse("Expected a non-negative price in USD.", f"provider.max_price.{field}")
    return choice


def _micro_usd(value: float | str) -> int | None:
    """A caller's price limit as integer nano-USD, or None if it is no price."""
    text = format(value, ".9f") if isinstance(value, float | int) else value
    match = re.fullmatch(r"(\d{1,9})(?:\.(\d{1,9}))?\d*", text)
    if match is None:
        return None
    return int(match.group(1)) * 10**9 + int((match.group(2) or "").ljust(9, "0"))


def max_price_nano(value: float | str) -> int:
    """``provider.max_price`` members in nano-USD (checked at parse)."""
    return _micro_usd(value) or 0


def _stream_facts(typed: ChatBody | CompletionBody) -> tuple[bool, bool]:
    stream = bool(typed.stream)
    options = typed.stream_options
    if options is not None and not stream:
        refuse("stream_options is only allowed when stream is true.", "stream_options")
    return stream, bool(options is not None and options.include_usage)


# --- chat ---------------------------------------------------------------------------------------


def _parse_chat(body: bytes) -> Request:
    typed = _decode_chat(body)
    stream, include_usage = _stream_facts(typed)
    limit = typed.max_completion_tokens
    if limit is None:
        limit = typed.max_tokens
    elif typed.max_tokens is not None and typed.max_tokens != limit:
        refuse("max_tokens and max_completion_tokens disagree; give one.", "max_tokens")
    extra_tokens = MESSAGE_OVERHEAD_TOKENS * len(typed.messages)
    image = audio = False
    for index, message in enumerate(typed.messages):
        content = message.content
        if type(content) is not str:
            tokens, has_image, has_audio = _content_extra(message, index)
            extra_tokens += tokens
            image = image or has_image
            audio = audio or has_audio
    if typed.tools:
        extra_tokens += TOOLS_OVERHEAD_TOKENS
        for index, tool in enumerate(typed.tools):
            if tool.type == "function" and tool.function is None:
                refuse("A function tool needs its function.", f"tools[{index}].function")
    elif bytes(typed.tool_choice) not in (b"", b'"none"', b'"auto"', b"null"):
        refuse("tool_choice needs tools.", "tool_choice")
    if typed.top_logprobs is not None and not typed.logprobs:
        refuse("top_logprobs needs logprobs: true.", "top_logprobs")
    request = Request(
        operation="chat",
        model=typed.model,
        body=body,
        typed=typed,
        stream=stream,
        include_usage=include_usage,
        choice=provider_choice(typed.provider),
        models=tuple(typed.models or ()),
        n=typed.n or 1,
        max_output_tokens=limit,
    )
    members = request.members
    units: tuple[tuple[str, int], ...] = ()
    if not PAID_SEARCH_FIELDS.isdisjoint(members):
        asked = [bytes(members[name]) for name in PAID_SEARCH_FIELDS if name in members]
        if any(value not in (b"null", b"false", b"[]") for value in asked):
            units = (("web_search", WEB_SEARCHES_MAX),)
    request.bound = Bound(
        input_tokens=len(body) + extra_tokens,
        audio_input=audio,
        audio_output=bool(typed.modalities and "audio" in typed.modalities),
        image_input=image,
        units=units,
    )
    if typed.service_tier is not None:
        request.attributes = {"service_tier": typed.service_tier}
    return request


def _content_extra(message: Message, index: int) -> tuple[int, bool, bool]:
    """Checks content that is not a plain string: (tokens not bounded by bytes, image, audio)."""
    path = f"messages[{index}].content"
    content = message.content
    if content is None:
        if message.role != "assistant":
            refuse(say("A {role} message needs content.", role=message.role), path)
        return 0, False, False
    if not isinstance(content, list):
        return 0, False, False
    if not content and message.role != "assistant":
        refuse("The list of content parts is empty.", path)
    tokens, image, audio = 0, False, False
    for position, part in enumerate(content):
        part_tokens = _part_tokens(part, f"{path}[{position}]")
        tokens += part_tokens
        image = image or part.type == "image_url"
        audio = audio or part.type == "input_audio"
    return tokens, image, audio


def _part_tokens(part: Part, path: str) -> int:
    if part.type == "text":
        if part.text is None:
            refuse("A text part needs text.", f"{path}.text")
        return 0
    if part.type == "image_url":
        url = _string_member(part.image_url, "url", f"{path}.image_url")
        if not url.startswith(("https://", "http://", "data:")):
            refuse("Expected an http(s) or data URL.", f"{path}.image_url.url")
        return IMAGE_URL_TOKENS_MAX
    if part.type == "input_audio":
        _string_member(part.input_audio, "data", f"{path}.input_audio")
        return 0
    if part.type == "file":
        if not bytes(part.file).startswith(b"{"):
            refuse("A file part needs file, an object.", f"{path}.file")
        return 0 if b'"file_data"' in bytes(part.file) else REMOTE_FILE_TOKENS_MAX
    if part.type == "refusal":
        return 0
    return REMOTE_FILE_TOKENS_MAX  # a kind we do not know: only the context window bounds it


def _string_member(raw: msgspec.Raw, name: str, path: str) -> str:
    if not bytes(raw):
        refuse("Missing.", path)
    try:
        value = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get(name)
        text = None if value is None else msgspec.json.decode(value, type=str)
    except msgspec.DecodeError as error:
        raise ApiError(
            "REQUEST_001", say("{what}.", what=decoder_said(str(error))), param=path
        ) from None
    if not text:
        refuse(say("{name} is missing or empty.", name=name), f"{path}.{name}")
    return text


# --- legacy completions and embeddings ------------------------------------------------------------


def _inputs_count(value: str | list[Any], path: str, items_max: int) -> int:
    """How many separate inputs: a text, a list of texts, token ids, or lists of token ids."""
    if isinstance(value, str):
        return 1
    if not value:
        refuse("The list is empty.", path)
    first: object = value[0]
    kind = type(first)
    if kind is not int and len(value) > items_max:
        refuse(say("At most {items_max} inputs.", items_max=items_max), path)
    for index, item in enumerate(value):
        if type(item) is not kind:
            refuse("Texts and token ids cannot be mixed.", f"{path}[{index}]")
        if item == "" or item == []:
            refuse("An empty input.", f"{path}[{index}]")
    return 1 if kind is int else len(value)


def _parse_completion(body: bytes) -> Request:
    typed = _decode_completion(body)
    stream, include_usage = _stream_facts(typed)
    prompts = _inputs_count(typed.prompt, "prompt", 2048)
    n = typed.n or 1
    if typed.best_of is not None:
        if typed.best_of < n:
            refuse("best_of must not be below n.", "best_of")
        if stream and typed.best_of > 1:
            refuse("best_of above 1 cannot stream.", "best_of")
        n = typed.best_of
    return Request(
        operation="completions",
        model=typed.model,
        body=body,
        typed=typed,
        stream=stream,
        include_usage=include_usage,
        choice=provider_choice(typed.provider),
        models=tuple(typed.models or ()),
        n=n * prompts,
        max_output_tokens=typed.max_tokens or LEGACY_MAX_TOKENS_DEFAULT,
        bound=Bound(input_tokens=len(body) + MESSAGE_OVERHEAD_TOKENS * prompts),
    )


def _parse_embedding(body: bytes) -> Request:
    typed = _decode_embedding(body)
    inputs = _inputs_count(typed.input, "input", 2048)
    return Request(
        operation="embeddings",
        model=typed.model,
        body=body,
        typed=typed,
        choice=provider_choice(typed.provider),
        models=tuple(typed.models or ()),
        bound=Bound(input_tokens=len(body) + MESSAGE_OVERHEAD_TOKENS * inputs),
    )


# --- rerank and moderation ------------------------------------------------------------------------


def _parse_rerank(body: bytes) -> Request:
    typed = _decode_rerank(body)
    return rerank_request(body, typed, provider_choice(typed.provider))


def _parse_moderation(body: bytes) -> Request:
    typed = _decode_moderation(body)
    return moderation_request(body, typed, provider_choice(typed.provider))


PARSERS: dict[str, Callable[[bytes], Request]] = {
    "chat": _parse_chat,
    "completions": _parse_completion,
    "embeddings": _parse_embedding,
    "rerank": _parse_rerank,
    "moderation": _parse_moderation,
}
