"""A task as its callers see it: one object for every endpoint, and three dialects of it.

``task_object`` has every key that OpenAI's VideoResource requires (``REQUIRED``), and ours beside
them (section 2.2 of the contract). ``wrapped`` adds new-api's envelope around the same object
(section 4). The engine fills a ``VideoView``; nothing here looks anything up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tokenmarket.core.catalog import Model
from tokenmarket.core.money import div_ceil, usd_from_nano
from tokenmarket.core.tasks import TERMINAL
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.abilities import SWITCHES, abilities
from tokenmarket.core.video.request import FRAME_ROLES, REFERENCE_ROLES, ResolvedVideo
from tokenmarket.core.video.states import WORDS

# OpenAI's VideoResource, 2026-08-21: all of them are there, null where nothing is known.
REQUIRED = (
    "id",
    "object",
    "model",
    "status",
    "progress",
    "created_at",
    "completed_at",
    "expires_at",
    "prompt",
    "size",
    "seconds",
    "remixed_from_video_id",
    "error",
)

# Errors that are about our account at a provider are nobody else's business.
_MASKED = {"insufficient_upstream_balance": "upstream_error"}
_MASKED_MESSAGE = "The provider could not take this task."
_MESSAGES = {
    "cancelled": "The task was cancelled.",
    "expired": "The task did not finish in time.",
    "failed": "The task failed.",
    "rejected": "The task was refused before it began.",
}

POLL_S = 5.0
POLL_S_MIN = 3.0
POLL_S_MAX = 30.0


class TaskError(msgspec.Struct, frozen=True):
    """Why a task ended without a result; ``code`` is one of section 2.5."""

    code: str
    message: str
    provider_code: str | None = None
    retryable: bool = False


class OutputView(msgspec.Struct, frozen=True):
    """One finished video, in our store: addresses are ours, measures are of the file."""

    index: int
    url: str
    content_type: str = "video/mp4"
    bytes: int | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None  # seconds
    fps: float | None = None
    has_audio: bool | None = None
    sha256: str | None = None
    thumbnail_url: str | None = None
    last_frame_url: str | None = None
    upstream_url_expires_at: int | None = None
    type: str = "video"


class VideoView(msgspec.Struct, frozen=True):
    """What is known of a task. Times are unix seconds, money is nano-USD.

    ``charged_nano`` None while the task is live; ``refunded_nano`` what was given back of a charge
    later. ``basis``: estimate | upstream | delivered, what the charge was computed from. ``usage``
    is ``usage_block``. ``facts`` are what the provider reports to have made (seed, seconds, size,
    resolution, aspect_ratio, fps). ``expected_s`` is how long rendering usually takes.
    """

    id: str
    provider: str
    state: str
    video: ResolvedVideo
    created_s: int
    now_s: int
    expected_s: int = 60
    progress: int | None = None
    started_s: int | None = None
    completed_s: int | None = None
    expires_s: int | None = None  # of the stored bytes
    error: TaskError | None = None
    outputs: tuple[OutputView, ...] = ()
    usage: Mapping[str, object] | None = None
    held_nano: int = 0
    charged_nano: int | None = None
    refunded_nano: int = 0
    basis: str = "estimate"
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, object] = {}

    @property
    def live(self) -> bool:
        return self.state not in TERMINAL


# --------------------------------------------------------------------------------------- the object


def task_object(view: VideoView, *, compat: bool = False) -> dict[str, object]:
    """The VideoTask. ``compat``: new-api's clients read the address from ``metadata.url``."""
    video = view.video
    url = view.outputs[0].url if view.outputs else None
    metadata = dict(video.metadata)
    if compat and url is not None:
        metadata["url"] = url
    return {
        "id": view.id,
        "task_id": view.id,
        "object": "video",
        "model": video.model,
        "provider": view.provider or None,
        "status": WORDS[view.state].openai,
        "state": view.state,
        "progress": shown_progress(view),
        "created_at": view.created_s,
        "started_at": view.started_s,
        "completed_at": view.completed_s,
        "expires_at": view.expires_s,
        "prompt": video.prompt,
        "seconds": _seconds(view),
        "size": _size(view),
        "resolution": _fact(view, "resolution"),
        "aspect_ratio": _fact(view, "aspect_ratio"),
        "fps": _fact(view, "fps"),
        "seed": _fact(view, "seed"),
        "mode": video.mode,
        "audio": bool(video.audio),
        "n": video.n,
        "defaults": list(video.defaults),
        "remixed_from_video_id": video.source_task_id,
        "error": shown_error(view),
        "url": url,
        "format": "mp4" if url is None else _format(view.outputs[0].content_type),
        "outputs": list(view.outputs),
        "usage": view.usage,
        "billing": _billing(view),
        "metadata": metadata,
        "callback_url": video.callback_url,
        "warnings": [*video.warnings, *view.warnings],
        "polling": {"retry_after_ms": poll_hint_ms(view)} if view.live else None,
    }


def shown_progress(view: VideoView) -> int:
    """Whole percent, by the specification never null: the provider's, 0 until it says anything;
    100 is kept for tasks whose bytes can be fetched."""
    if view.state == "succeeded":
        return 100
    if view.state == "finalizing":
        return 99
    return max(0, min(view.progress or 0, 99))


def shown_error(view: VideoView) -> dict[str, object] | None:
    """The error of a task that ended without a result; null for all others."""
    words = WORDS[view.state]
    if words.openai != "failed":
        return None
    error = view.error
    if error is None or words.error_code is not None:
        code = words.error_code or "upstream_error"
        message = error.message if error is not None else _MESSAGES[view.state]
        error = TaskError(code, message)
    masked = _MASKED.get(error.code)
    if masked is not None:
        error = TaskError(masked, _MASKED_MESSAGE, None, error.retryable)
    return {
        "code": error.code,
        "message": error.message,
        "provider_code": error.provider_code,
        "retryable": error.retryable,
    }


def _fact(view: VideoView, name: str) -> object:
    """What was made where the provider says so, else what was asked of it."""
    value = view.facts.get(name)
    return getattr(view.video, name) if value is None else value


def _seconds(view: VideoView) -> str:
    """Text, by the specification; "" while nobody can say."""
    seconds = _fact(view, "seconds")
    if seconds is None and view.outputs and view.outputs[0].duration is not None:
        seconds = round(view.outputs[0].duration)
    return "" if seconds is None else str(seconds)


def _size(view: VideoView) -> str:
    output = view.outputs[0] if view.outputs else None
    if output is not None and output.width is not None and output.height is not None:
        return f"{output.width}x{output.height}"
    size = _fact(view, "size")
    return size if isinstance(size, str) else ""


def _format(content_type: str) -> str:
    return {"video/quicktime": "mov", "video/webm": "webm"}.get(content_type, "mp4")


def _billing(view: VideoView) -> dict[str, object]:
    """``refunded`` is what came back of ``held``: what was never charged, and what was returned."""
    charged = view.charged_nano
    back = None if charged is None else view.held_nano - charged + view.refunded_nano
    return {
        "currency": "USD",
        "held": usd_from_nano(view.held_nano),
        "charged": None if charged is None else usd_from_nano(charged),
        "refunded": None if back is None else usd_from_nano(back),
        "basis": view.basis,
    }


def usage_block(usage: Usage, provider_cost: tuple[str, str] | None = None) -> dict[str, object]:
    """The ``usage`` of a succeeded task. ``provider_cost`` is (amount, currency) as the provider
    says, where the operator shows it."""
    block: dict[str, object] = {
        "billed_seconds": _exact_s(usage.video_ms),
        "input_seconds": _exact_s(usage.input_video_ms),
        "input_images": usage.images,
        "completion_tokens": usage.video_tokens + usage.output_tokens,
        "total_tokens": usage.video_tokens + usage.output_tokens + usage.input_tokens,
        "estimated": usage.estimated,
    }
    if provider_cost is not None:
        amount, currency = provider_cost
        block["provider_cost"] = {"amount": amount, "currency": currency, "source": "upstream"}
    return block


def _exact_s(ms: int) -> int | float:
    return ms / 1000 if ms % 1000 else ms // 1000


# ---------------------------------------------------------------------------------------- dialects


def wrapped(view: VideoView, *, simple: bool = False, compat: bool = False) -> dict[str, object]:
    """new-api's envelope: the same object, and ``data`` as its TaskDto. Readers of flat fields, of
    ``data.result_url`` and of ``data.url`` all find theirs; ``simple`` picks the words of
    ``data.status`` (``?format=simple``)."""
    shown = task_object(view, compat=compat)
    words = WORDS[view.state]
    error = shown_error(view)
    pictured = any(item.role in (*FRAME_ROLES, *REFERENCE_ROLES) for item in view.video.inputs)
    url = shown["url"] or ""
    return {
        **shown,
        "code": "success",
        "message": "",
        "data": {
            "task_id": view.id,
            "status": words.simple if simple else words.task_dto,
            "progress": f"{shown_progress(view)}%",
            "fail_reason": "" if error is None else _fail_reason(view, error),
            "result_url": url,
            "url": url,
            "format": shown["format"],
            "error": error,
            "metadata": shown["metadata"],
            "submit_time": view.created_s,
            "start_time": view.started_s or 0,
            "finish_time": view.completed_s or 0,
            "action": "generate" if pictured else "textGenerate",
            "platform": view.provider,
            "data": {},
        },
    }


def _fail_reason(view: VideoView, error: Mapping[str, object]) -> str:
    return view.state if view.state in ("cancelled", "expired") else str(error["message"])


def list_page(views: Sequence[VideoView], *, has_more: bool) -> dict[str, object]:
    """One page as OpenAI's SDK pages through it (``after`` = ``last_id``)."""
    return {
        "object": "list",
        "data": [task_object(view) for view in views],
        "first_id": views[0].id if views else None,
        "last_id": views[-1].id if views else None,
        "has_more": has_more,
    }


def deleted_object(task_id: str) -> dict[str, object]:
    return {"id": task_id, "object": "video.deleted", "deleted": True}


def model_row(model: Model, item: Mapping[str, object]) -> dict[str, object]:
    """One row of ``GET /videos/models``: what can be asked for, beside the ``item`` of ``/models``
    (prices, providers, availability). An empty list: there is no such choice."""
    able = abilities(model.capabilities)
    seconds = able.seconds or tuple(range(max(1, able.seconds_min), able.seconds_max + 1))
    return {
        **item,
        "object": "video.model",
        "described": able.described,
        "seconds": seconds,
        "resolutions": able.resolutions,
        "sizes": able.sizes,
        "aspect_ratios": able.aspect_ratios,
        "modes": able.modes,
        "fps": able.fps,
        "audio": able.audio or False,
        "frame_types": able.frames,
        "max_references": able.max_references,
        "reference_kinds": able.reference_kinds if able.max_references else (),
        "operations": ("generate", *able.operations),
        "n_max": able.n_max,
        **{name: name not in able.refused for name in SWITCHES},
        "provider_options": able.provider_options,
    }


# ----------------------------------------------------------------------------------------- polling


def poll_hint_ms(view: VideoView) -> int:
    """When asking again is worth it: a quarter of the expected time first, at least 3 s, then every
    5 s, never more than 30 s. The SDK keeps the first hint for all of its polls."""
    first_s = max(POLL_S_MIN, view.expected_s / 4)
    left_s = first_s - max(0, view.now_s - view.created_s)
    return int(1000 * min(POLL_S_MAX, max(POLL_S_MIN, left_s) if left_s > 0 else POLL_S))


def poll_headers(view: VideoView) -> bytes:
    """Header lines for a task that still runs; none for one that is over."""
    if not view.live:
        return b""
    hint_ms = poll_hint_ms(view)
    return b"retry-after: %d\r\nopenai-poll-after-ms: %d\r\n" % (div_ceil(hint_ms, 1000), hint_ms)
