"""Chat and legacy completions: the bytes of a request in, a Script out.

The id of an answer is a hash of the request, so that the whole answer is a function of the request
and of the second in which it was first rendered.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping

import msgspec

from tokenmarket.sandbox import answers, tokens, wire
from tokenmarket.sandbox.behaviour import TOKENS_MAX, Behaviour, Script, behaviour, early, shape
from tokenmarket.sandbox.bodies import (
    CHOICES_MAX,
    ChatBody,
    CompletionBody,
    Refused,
    inputs,
    read,
)

_CHAT = msgspec.json.Decoder(ChatBody)
_COMPLETION = msgspec.json.Decoder(CompletionBody)
_LEGACY_MAX_TOKENS = 16


def chat(raw: bytes, headers: Mapping[str, str], created_s: int) -> Script:
    """``POST /chat/completions``. Raises Refused."""
    body = read(_CHAT, raw)
    asked = behaviour(body.model, "chat", headers, body.metadata)
    failed = early(asked)
    if failed is not None:
        return failed
    digest = hashlib.blake2b(raw, digest_size=12).hexdigest()
    answer = answers.chat(body, asked)
    usage = wire.usage_json(
        answer.prompt_tokens,
        answer.completion_tokens,
        asked.cached_tokens,
        answer.reasoning_tokens,
    )
    envelope = _envelope("chatcmpl-sandbox", digest, body.model, created_s, asked, usage)
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    if body.stream:
        include_usage = bool(body.stream_options and body.stream_options.include_usage)
        events = wire.chat_events(answer, envelope, logprobs, include_usage=include_usage)
        return shape(asked, events, stream=True)
    return shape(asked, [wire.chat_document(answer, envelope, logprobs)], stream=False)


def completions(raw: bytes, headers: Mapping[str, str], created_s: int) -> Script:
    """``POST /completions``. Raises Refused."""
    body = read(_COMPLETION, raw)
    asked = behaviour(body.model, "completions", headers, body.metadata)
    failed = early(asked)
    if failed is not None:
        return failed
    if body.stream_options is not None and not body.stream:
        raise Refused(
            "'stream_options' is only allowed when 'stream' is true.", param="stream_options"
        )
    digest = hashlib.blake2b(raw, digest_size=12).hexdigest()
    prompts = _prompts(body)
    prompt_tokens = sum(count for _, count in prompts)
    choices, prefixes = _legacy_choices(body, prompts, asked)
    completion_tokens = sum(choice.tokens for choice in choices)
    usage = wire.usage_json(prompt_tokens, completion_tokens, asked.cached_tokens, 0)
    envelope = _envelope("cmpl-sandbox", digest, body.model, created_s, asked, usage)
    if body.stream:
        include_usage = bool(body.stream_options and body.stream_options.include_usage)
        events = wire.completion_events(
            choices, prefixes, envelope, body.logprobs, include_usage=include_usage
        )
        return shape(asked, events, stream=True)
    document = wire.completion_document(choices, prefixes, envelope, body.logprobs)
    return shape(asked, [document], stream=False)


def _envelope(
    prefix: str, digest: str, model: str, created_s: int, asked: Behaviour, usage: bytes
) -> wire.Envelope:
    reported = usage if asked.usage is None else asked.usage
    return wire.Envelope(prefix + digest, model, created_s, reported)


def _prompts(body: CompletionBody) -> list[tuple[str, int]]:
    """Each prompt as (text, tokens); of token ids the text is unknown, their number is not."""
    rows = inputs(body.prompt, "prompt")
    if len(rows) * (body.n or 1) > CHOICES_MAX:
        raise Refused(f"More than {CHOICES_MAX} choices in all.", param="n")
    return [
        (row, tokens.count_all((row,))) if isinstance(row, str) else ("", len(row)) for row in rows
    ]


def _legacy_choices(
    body: CompletionBody, prompts: list[tuple[str, int]], asked: Behaviour
) -> tuple[list[answers.Choice], list[str]]:
    wanted = len(prompts) * (body.n or 1)
    limit = _LEGACY_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    if asked.tokens is not None and body.max_tokens is None:
        limit = TOKENS_MAX
    choices: list[answers.Choice] = []
    prefixes: list[str] = []
    for text, count in prompts:
        for index in range(body.n or 1):
            seed = zlib.crc32(text.encode()) + index
            made = answers.plain_text(text, count, asked, wanted, seed)
            choices.append(answers.text_choice(made, [], limit, body.stop))
            prefixes.append(text if body.echo else "")
    return choices, prefixes
