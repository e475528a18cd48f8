"""Which models the sandbox has, and how a request asks for faults, pace and lies.

Three ways to ask, the first found wins: a header ``x-sandbox-NAME``, a member
``metadata.sandbox_NAME`` (for callers of the gateway, which forwards no unknown headers), the model
itself (``sandbox-fail-500``). NAME, with ``_`` or ``-``:

    fault          one of FAULTS ("sandbox-cut" works as well as "cut")
    delay-ms       before the first byte of the answer
    pace-ms        between two events of a stream
    tokens         how many tokens a text answer has
    cached-tokens  how many prompt tokens are reported as read from a cache
    usage          JSON that replaces the usage, however wrong; "missing" leaves it out
    status         an error answer with this status (400 to 599)
    retry-after    the header of an error answer, sent as it is

``shape`` turns an answer and a Behaviour into a Script: what is sent, how, and when.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from tokenmarket.sandbox.bodies import Refused

DELAY_MS_MAX = 600_000
PACE_MS_MAX = 60_000
TOKENS_MAX = 8_192  # of all choices together: one request must not stop the others for long
SLOW_DELAY_MS = 2_000
SLOW_PACE_MS = 200

FAULTS = {
    "fail-500": "an error answer with status 500",
    "fail-429": "an error answer with status 429 and Retry-After",
    "timeout": "takes the request and never answers",
    "cut": "half of the answer, then the connection is reset",
    "slow": "a long wait before the first byte, a slow stream",
    "badjson": "status 200 with broken JSON (in a stream: one broken event in the middle)",
    "nousage": "an answer without usage",
    # Not models of their own, only on demand:
    "stall": "half of the answer, then silence on an open connection",
    "stream-error": "an error object inside a stream (or inside a 200 answer)",
    "nodone": "a stream that ends properly, but without data: [DONE]",
}
_TEXT = frozenset({"chat", "completions"})
_ALL = frozenset(
    {
        "chat",
        "completions",
        "embeddings",
        "images",
        "speech",
        "transcription",
        "translation",
        "rerank",
        "moderation",
        "video",
    }
)

# Model -> operations it answers. The faulty ones fail at whatever they are asked.
MODELS: dict[str, frozenset[str]] = {
    "sandbox-chat": _TEXT,
    "sandbox-reasoner": _TEXT,
    "sandbox-embed": frozenset({"embeddings"}),
    "sandbox-image": frozenset({"images"}),
    "sandbox-speech": frozenset({"speech"}),
    "sandbox-transcribe": frozenset({"transcription"}),
    "sandbox-translate": frozenset({"translation"}),
    "sandbox-video": frozenset({"video"}),
    "sandbox-video-fail": frozenset({"video"}),
    "sandbox-video-slow": frozenset({"video"}),
    "sandbox-video-lost": frozenset({"video"}),
    "sandbox-rerank": frozenset({"rerank"}),
    "sandbox-moderation": frozenset({"moderation"}),
    "sandbox-fail-500": _ALL,
    "sandbox-fail-429": _ALL,
    "sandbox-timeout": _ALL,
    "sandbox-cut": _ALL,
    "sandbox-slow": _ALL,
    "sandbox-badjson": _ALL,
    "sandbox-nousage": _ALL,
}

Ending = Literal["complete", "cut", "stall"]
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"


class Script(msgspec.Struct, frozen=True):
    """One answer as it goes over the wire.

    ``pieces`` of a stream are its events or chunks; else there is one piece, the body. ``silent``:
    no head, no bytes, ever. ``body_bytes`` is the announced length, more than is sent when
    ``ending`` is not "complete"; 0 for a stream. ``lasting``: the same request may be answered with
    the same Script again; not so for what depends on the time, like the state of a video.
    """

    status: int
    pieces: tuple[bytes, ...]
    stream: bool = False
    silent: bool = False
    delay_ms: int = 0
    pace_ms: int = 0
    ending: Ending = "complete"
    body_bytes: int = 0
    retry_after: str | None = None
    allow: str | None = None
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()  # further ones; names in lower case
    lasting: bool = True

    def all_headers(self) -> list[tuple[str, str]]:
        """What a head has to say, except the length and how the message is framed."""
        found = [("content-type", self.content_type)]
        if self.stream:
            found.append(("cache-control", "no-cache"))
        if self.retry_after is not None:
            found.append(("retry-after", self.retry_after))
        if self.allow is not None:
            found.append(("allow", self.allow))
        return [*found, *self.headers]


class Behaviour(msgspec.Struct, frozen=True):
    """What was asked for beside the answer itself. ``usage`` is JSON, b"" = left out."""

    fault: str | None = None
    delay_ms: int = 0
    pace_ms: int = 0
    tokens: int | None = None
    cached_tokens: int = 0
    usage: bytes | None = None
    status: int | None = None
    retry_after: str | None = None


_NAMES = frozenset(
    {"fault", "delay_ms", "pace_ms", "tokens", "cached_tokens", "usage", "status", "retry_after"}
)


def behaviour(
    model: str, operation: str, headers: Mapping[str, str], metadata: Mapping[str, str] | None
) -> Behaviour:
    """Checks the model and gathers what was asked.

    ``headers``: only those that begin with "x-sandbox-", names in lower case, without the prefix.
    Raises Refused: unknown model (404), unknown name or unreadable value (400).
    """
    operations = MODELS.get(model)
    if operations is None or operation not in operations:
        raise Refused(
            f"The model '{model[:200]}' does not exist here or does not answer {operation}. "
            "The sandbox has only its own models.",
            status=404,
            param="model",
            code="model_not_found",
        )
    asked: dict[str, tuple[str, str]] = {}
    for key, value in (metadata or {}).items():
        if key.startswith("sandbox_"):
            asked[key[8:]] = (f"metadata.{key}", value)
    for key, value in headers.items():
        asked[key.replace("-", "_")] = (f"x-sandbox-{key}", value)
    fault = model.removeprefix("sandbox-")
    implied = fault if fault in FAULTS else None
    if not asked:
        return _with_fault(implied, None, None)
    for name, (source, _) in asked.items():
        if name not in _NAMES:
            raise Refused(f"The sandbox knows no '{source}'.", param=source)
    fault = _fault(asked) or implied
    return msgspec.structs.replace(
        _with_fault(
            fault,
            _number(asked, "delay_ms", 0, DELAY_MS_MAX),
            _number(asked, "pace_ms", 0, PACE_MS_MAX),
        ),
        tokens=_number(asked, "tokens", 1, TOKENS_MAX),
        cached_tokens=_number(asked, "cached_tokens", 0, 2**31) or 0,
        usage=_usage(asked) if fault != "nousage" else b"",
        status=_number(asked, "status", 400, 599),
        retry_after=_retry_after(asked),
    )


def error_body(message: str, kind: str, param: str | None, code: str | None) -> bytes:
    """OpenAI's error envelope."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return msgspec.json.encode({"error": error})


def refusal(error: Refused) -> Script:
    """The answer to a request that is refused."""
    body = error_body(error.message, error.kind, error.param, error.code)
    return Script(error.status, (body,), body_bytes=len(body))


# Status -> (type, code) of the error object, as OpenAI pairs them.
_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def early(asked: Behaviour) -> Script | None:
    """The answer of faults that need no answer text; None for all others."""
    if asked.fault == "timeout":
        return Script(0, (), silent=True)
    status = asked.status or {"fail-500": 500, "fail-429": 429}.get(asked.fault or "")
    if status is None:
        return None
    kind, code = _ERRORS.get(status, ("server_error", None))
    body = error_body(f"The sandbox fails with status {status}, as asked.", kind, None, code)
    retry_after = asked.retry_after or ("2" if status == 429 else None)
    return Script(
        status,
        (body,),
        delay_ms=asked.delay_ms,
        body_bytes=len(body),
        retry_after=retry_after,
    )


_STREAM_ERROR = error_body("The sandbox broke off, as asked.", "server_error", None, None)


def shape(
    asked: Behaviour, pieces: list[bytes], *, stream: bool, content_type: str | None = None
) -> Script:
    """A good answer (one body, or the events or chunks of a stream) with the asked fault applied.

    ``content_type`` None: JSON, or events. Chunks of anything else cannot say that they broke off:
    there "stream-error" is "cut", and "badjson" a truncated answer. No piece may be empty.
    """
    kind = content_type or (EVENTS if stream else JSON)
    fault = asked.fault
    if fault == "stream-error" and kind not in (EVENTS, JSON):
        fault = "cut"
    ending: Ending = "complete"
    body_bytes = 0 if stream else len(pieces[0])
    half = len(pieces) // 2
    match fault:
        case "cut" | "stall":
            pieces = [*pieces[:half], pieces[half][: len(pieces[half]) // 2]]
            ending = "cut" if fault == "cut" else "stall"
        case "badjson" if stream and kind != EVENTS:
            pieces = pieces[: max(1, half)]
        case "badjson" if stream:
            broken = pieces[half][: len(pieces[half]) // 2] + b"\n\n"
            pieces = [*pieces[:half], broken, *pieces[half + 1 :]]
        case "badjson":
            pieces = [pieces[0][: body_bytes // 2]]
            body_bytes = len(pieces[0])
        case "stream-error" if stream:
            pieces = [*pieces[:half], b"data: " + _STREAM_ERROR + b"\n\n"]
        case "stream-error":
            pieces = [_STREAM_ERROR]
            body_bytes = len(_STREAM_ERROR)
        case "nodone" if stream and pieces[-1] == DONE:
            pieces = pieces[:-1]
        case _:
            pass
    return Script(
        200,
        tuple(pieces),
        stream=stream,
        delay_ms=asked.delay_ms,
        pace_ms=asked.pace_ms,
        ending=ending,
        body_bytes=body_bytes,
        content_type=kind,
    )


def _with_fault(fault: str | None, delay_ms: int | None, pace_ms: int | None) -> Behaviour:
    slow = fault == "slow"
    return Behaviour(
        fault=fault,
        delay_ms=delay_ms if delay_ms is not None else SLOW_DELAY_MS if slow else 0,
        pace_ms=pace_ms if pace_ms is not None else SLOW_PACE_MS if slow else 0,
        usage=b"" if fault == "nousage" else None,
    )


def _fault(asked: dict[str, tuple[str, str]]) -> str | None:
    if "fault" not in asked:
        return None
    source, value = asked["fault"]
    fault = value.strip().removeprefix("sandbox-")
    if fault not in FAULTS:
        raise Refused(f"'{source}' must be one of: {', '.join(FAULTS)}.", param=source)
    return fault


def _number(asked: dict[str, tuple[str, str]], name: str, low: int, high: int) -> int | None:
    if name not in asked:
        return None
    source, value = asked[name]
    digits = value.strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12):
        raise Refused(f"'{source}' must be a whole number.", param=source)
    number = int(digits)
    if not low <= number <= high:
        raise Refused(f"'{source}' must be between {low} and {high}.", param=source)
    return number


def _usage(asked: dict[str, tuple[str, str]]) -> bytes | None:
    if "usage" not in asked:
        return None
    source, value = asked["usage"]
    if value.strip() == "missing":
        return b""
    try:
        return msgspec.json.encode(msgspec.json.decode(value))
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise Refused(f"'{source}' must be JSON or 'missing'.", param=source) from None


def _retry_after(asked: dict[str, tuple[str, str]]) -> str | None:
    if "retry_after" not in asked:
        return None
    source, value = asked["retry_after"]
    if not (value.isascii() and value.isprintable() and len(value) <= 64):
        raise Refused(f"'{source}' must be short printable ASCII.", param=source)
    return value
