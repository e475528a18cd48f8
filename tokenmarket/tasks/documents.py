"""What the JSON columns of a task row hold, as types; written and read here only."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tokenmarket.adapters.video_protocol import Output, Succeeded
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.projection import TaskError

_encode = msgspec.json.Encoder().encode


class KeptOutput(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a finished task. ``url`` is the upstream's, None where the bytes came inside its
    answer; ``key`` is ours, "" until it is copied. Measures are of the copied file, else the
    upstream's word."""

    kind: str = "video"
    number: int = 0
    url: str | None = None
    credentialed: bool = False
    upstream_expires_s: int | None = None
    key: str = ""
    content_type: str = ""
    size_bytes: int | None = None
    sha256: str = ""
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    fps_milli: int | None = None
    has_audio: bool | None = None


class Delivered(msgspec.Struct, frozen=True, omit_defaults=True):
    """``outputs_json``: what the upstream said it made, and how far copying it is."""

    outputs: tuple[KeptOutput, ...] = ()
    usage: Usage | None = None
    cost: tuple[str, str] | None = None  # (amount, currency) that the provider took from us
    facts: dict[str, object] = {}
    tries: int = 0  # of copying


class Settled(msgspec.Struct, frozen=True, omit_defaults=True):
    """``usage_json`` of a succeeded task. ``basis``: upstream | delivered."""

    usage: Usage
    basis: str


def delivered(found: Succeeded) -> Delivered:
    """The record of a success, without bytes that came inside the answer."""
    cost = None if found.cost is None else (found.cost.amount[:64], found.cost.currency[:16])
    kept = tuple(_kept(output) for output in found.outputs)
    return Delivered(kept, found.usage, cost, _plain(found.facts))


def _kept(output: Output) -> KeptOutput:
    return KeptOutput(
        kind=output.kind,
        number=output.number,
        url=output.file.url,
        credentialed=output.file.credentialed,
        upstream_expires_s=output.expires_s,
        content_type=output.file.content_type or "",
        width=output.width,
        height=output.height,
        duration_ms=output.duration_ms,
        fps_milli=None if output.fps is None else output.fps * 1000,
        has_audio=output.has_audio,
    )


_FACTS = ("seed", "seconds", "size", "resolution", "aspect_ratio", "fps")


def _plain(facts: dict[str, object]) -> dict[str, object]:
    """What is shown of an upstream's facts: known names, small values."""
    return {
        name: value
        for name in _FACTS
        if isinstance(value := facts.get(name), str | int | float) and len(str(value)) <= 64
    }


def write(document: object) -> str:
    """The text of a column."""
    return _encode(document).decode()


read_delivered = msgspec.json.Decoder(Delivered).decode
read_settled = msgspec.json.Decoder(Settled).decode
read_error = msgspec.json.Decoder(TaskError).decode
read_ref = msgspec.json.Decoder(dict[str, str]).decode
read_warnings = msgspec.json.Decoder(tuple[str, ...]).decode

WARNINGS_MAX = 20


def with_warnings(column: str, more: Sequence[str]) -> str:
    """``warnings_json`` and these, each once."""
    known = read_warnings(column or "[]")
    fresh = [text[:300] for text in more if text[:300] not in known]
    return write((*known, *dict.fromkeys(fresh))[:WARNINGS_MAX])


# ------------------------------------------------------------------------------------------ errors

_CODES = {
    "bad_request": "invalid_input_media",
    "context_too_long": "invalid_input_media",
    "content_policy": "content_policy_violation",
    "auth": "insufficient_upstream_balance",  # our account there: masked when it is shown
    "forbidden": "insufficient_upstream_balance",
    "no_balance": "insufficient_upstream_balance",
    "quota_exhausted": "insufficient_upstream_balance",
    "rate_limited": "upstream_capacity",
    "overloaded": "upstream_capacity",
    "timeout": "upstream_timeout",
}


def task_error(error: UpstreamError) -> TaskError:
    """A refusal of the create, as the task shows it."""
    return TaskError(
        _CODES.get(error.kind, "upstream_error"),
        error.message[:500],
        error.code[:80] if error.code else None,
        error.failover,
    )
