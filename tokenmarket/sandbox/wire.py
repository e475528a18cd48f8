"""(pure) Answers as OpenAI's bytes: JSON documents and server-sent events.

One token is one event. Events are put together from constant parts: a paced stream of many tokens
is what load tests ask for.
"""

from __future__ import annotations

import zlib

import msgspec

from tokenmarket.sandbox.answers import Answer, Call, Choice
from tokenmarket.sandbox.behaviour import DONE

_FINGERPRINT = "fp_sandbox"
_encode = msgspec.json.encode


class Envelope(msgspec.Struct, frozen=True):
    """What every document and event of one answer repeats; ``usage`` is JSON, b"" = none."""

    id: str
    model: str
    created_s: int
    usage: bytes


def usage_json(prompt: int, completion: int, cached: int, reasoning: int) -> bytes:
    """OpenAI's usage object: totals include their details."""
    return _encode(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": min(cached, prompt), "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
    )


def logprob(piece: str, alternatives: int) -> dict[str, object]:
    """Made-up but deterministic: the chosen token is the likeliest of its alternatives."""
    first = -(zlib.crc32(piece.encode()) % 1000) / 4000

    def row(token: str, value: float) -> dict[str, object]:
        return {"token": token, "logprob": value, "bytes": list(token.encode())}

    others = [row(f"{piece}{rank}", first - rank) for rank in range(1, alternatives)]
    tops = [row(piece, first), *others] if alternatives else []
    return {**row(piece, first), "top_logprobs": tops}


def chat_document(answer: Answer, envelope: Envelope, logprobs: int | None) -> bytes:
    """``chat.completion``. ``logprobs``: None = not asked, else how many alternatives."""
    document: dict[str, object] = {
        "id": envelope.id,
        "object": "chat.completion",
        "created": envelope.created_s,
        "model": envelope.model,
        "choices": [
            _chat_choice(index, choice, logprobs) for index, choice in enumerate(answer.choices)
        ],
    }
    return _finished(document, envelope)


def _finished(document: dict[str, object], envelope: Envelope) -> bytes:
    if envelope.usage:
        document["usage"] = msgspec.Raw(envelope.usage)
    document["system_fingerprint"] = _FINGERPRINT
    return _encode(document)


def _chat_choice(index: int, choice: Choice, logprobs: int | None) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant"}
    message["content"] = None if choice.calls else "".join(choice.content)
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    message["refusal"] = None
    if choice.calls:
        message["tool_calls"] = [_call(call, "".join(call.pieces)) for call in choice.calls]
    rows = None
    if logprobs is not None:
        rows = {"content": [logprob(piece, logprobs) for piece in choice.content], "refusal": None}
    return {"index": index, "message": message, "logprobs": rows, "finish_reason": choice.finish}


def _call(call: Call, value: str) -> dict[str, object]:
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": value}}
    function = {"name": call.name, "arguments": value}
    return {"id": call.id, "type": "function", "function": function}


class _Frame:
    """Renders the events of one stream around a choice's changing part."""

    def __init__(self, envelope: Envelope, kind: str, include_usage: bool) -> None:
        top: dict[str, object] = {
            "id": envelope.id,
            "object": kind,
            "created": envelope.created_s,
            "model": envelope.model,
            "system_fingerprint": _FINGERPRINT,
        }
        self.start = b"data: " + _encode(top)[:-1] + b',"choices":['
        self.end = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._usage = envelope.usage if include_usage else b""

    def close(self) -> list[bytes]:
        """The usage event, if asked for and there is one, and the end marker."""
        if not self._usage:
            return [DONE]
        return [self.start + b'],"usage":' + self._usage + b"}\n\n", DONE]


def chat_events(
    answer: Answer, envelope: Envelope, logprobs: int | None, *, include_usage: bool
) -> list[bytes]:
    """``chat.completion.chunk`` events, choice after choice, with the end marker."""
    frame = _Frame(envelope, "chat.completion.chunk", include_usage)
    events: list[bytes] = []
    for index, choice in enumerate(answer.choices):
        start = frame.start + b'{"index":%d,"delta":' % index
        end = b',"logprobs":null,"finish_reason":null}' + frame.end
        first: dict[str, object] = {"role": "assistant", "refusal": None}
        first["content"] = None if choice.calls else ""
        events.append(start + _encode(first) + end)
        for piece in choice.reasoning:
            events.append(start + b'{"reasoning_content":' + _encode(piece) + b"}" + end)
        for piece in choice.content:
            delta = start + b'{"content":' + _encode(piece) + b"}"
            if logprobs is None:
                events.append(delta + end)
            else:
                rows = _encode({"content": [logprob(piece, logprobs)], "refusal": None})
                events.append(
                    delta + b',"logprobs":' + rows + b',"finish_reason":null}' + frame.end
                )
        for position, call in enumerate(choice.calls):
            events.extend(start + delta + end for delta in _call_deltas(position, call))
        finish = b',"finish_reason":' + _encode(choice.finish) + b"}"
        events.append(start + b'{},"logprobs":null' + finish + frame.end)
    return events + frame.close()


def _call_deltas(position: int, call: Call) -> list[bytes]:
    """The call with its name first, then its arguments token by token."""
    kind, member = ("custom", "input") if call.custom else ("function", "arguments")
    deltas = [b'{"tool_calls":[' + _encode({"index": position, **_call(call, "")}) + b"]}"]
    for piece in call.pieces:
        row = {"index": position, kind: {member: piece}}
        deltas.append(b'{"tool_calls":[' + _encode(row) + b"]}")
    return deltas


def completion_document(
    choices: list[Choice], prefixes: list[str], envelope: Envelope, logprobs: int | None
) -> bytes:
    """``text_completion``; ``prefixes`` are the echoed prompts ("" = none)."""
    document: dict[str, object] = {
        "id": envelope.id,
        "object": "text_completion",
        "created": envelope.created_s,
        "model": envelope.model,
        "choices": [
            {
                "text": prefix + "".join(choice.content),
                "index": index,
                "logprobs": _legacy_logprobs(choice.content, len(prefix), logprobs),
                "finish_reason": choice.finish,
            }
            for index, (choice, prefix) in enumerate(zip(choices, prefixes, strict=True))
        ],
    }
    return _finished(document, envelope)


def completion_events(
    choices: list[Choice],
    prefixes: list[str],
    envelope: Envelope,
    logprobs: int | None,
    *,
    include_usage: bool,
) -> list[bytes]:
    """The same as events; each choice ends with an empty text and its finish reason."""
    frame = _Frame(envelope, "text_completion", include_usage)
    events: list[bytes] = []
    for index, (choice, prefix) in enumerate(zip(choices, prefixes, strict=True)):
        offset = len(prefix)
        if prefix:
            row = {"text": prefix, "index": index, "logprobs": None, "finish_reason": None}
            events.append(frame.start + _encode(row) + frame.end)
        for piece in choice.content:
            rows = _legacy_logprobs([piece], offset, logprobs)
            offset += len(piece)
            row = {"text": piece, "index": index, "logprobs": rows, "finish_reason": None}
            events.append(frame.start + _encode(row) + frame.end)
        row = {"text": "", "index": index, "logprobs": None, "finish_reason": choice.finish}
        events.append(frame.start + _encode(row) + frame.end)
    return events + frame.close()


def _legacy_logprobs(
    pieces: list[str], offset: int, alternatives: int | None
) -> dict[str, object] | None:
    if alternatives is None:
        return None
    rows = [logprob(piece, 0)["logprob"] for piece in pieces]
    offsets: list[int] = []
    for piece in pieces:
        offsets.append(offset)
        offset += len(piece)
    tops = [{piece: value} for piece, value in zip(pieces, rows, strict=True)]
    return {
        "tokens": pieces,
        "token_logprobs": rows,
        "top_logprobs": tops if alternatives else None,
        "text_offset": offsets,
    }
