"""Objects of the public API as types, for their description: videos, models, account, receipts.

As ``answers.py``: nothing is made from these, a test holds the server's answers to them.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tokenmarket.web.openapi.answers import Names, Struct, Text

# ------------------------------------------------------------------------------------------ videos


class VideoError(Struct):
    """Why a task ended without a result."""

    code: Text
    message: Text
    provider_code: Text | None
    retryable: bool


class VideoOutput(Struct):
    """One finished video, as we measured it."""

    index: int
    url: Text
    content_type: Text
    bytes: int | None
    width: int | None
    height: int | None
    duration: float | None
    fps: float | None
    has_audio: bool | None
    sha256: Text | None
    thumbnail_url: Text | None
    last_frame_url: Text | None


class VideoBilling(Struct):
    """Decimal strings in USD; ``charged`` is null while the task runs."""

    currency: Text
    held: Text
    charged: Text | None
    refunded: Text | None
    basis: Literal["estimate", "upstream", "delivered"]


class VideoTask(Struct):
    """A video task: every member of OpenAI's video object, and ours beside them."""

    id: Text
    object: Literal["video"]
    model: Text
    status: Literal["queued", "in_progress", "completed", "failed"]
    state: Text
    progress: int
    created_at: int
    started_at: int | None
    completed_at: int | None
    expires_at: int | None
    prompt: Text
    seconds: Text
    size: Text
    error: VideoError | None
    url: Text | None
    outputs: list[VideoOutput]
    usage: dict[str, Any] | None
    billing: VideoBilling
    provider: Text | None
    resolution: Text | None
    aspect_ratio: Text | None
    fps: int | float | None
    seed: int | None
    audio: bool
    n: int
    defaults: Names
    warnings: Names
    metadata: dict[str, Any]
    callback_url: Text | None
    polling: dict[str, int] | None
    remixed_from_video_id: Text | None


class VideoTaskWrapped(VideoTask):
    """The same task inside new-api's envelope."""

    code: Text
    message: Text
    data: dict[str, Any]


class VideoTaskList(Struct):
    """One page; ``after`` = ``last_id`` gives the next."""

    object: Literal["list"]
    data: list[VideoTask]
    first_id: Text | None
    last_id: Text | None
    has_more: bool


class VideoDeleted(Struct):
    """The task and its files are gone."""

    id: Text
    object: Literal["video.deleted"]
    deleted: bool


# ------------------------------------------------------------------------------------------ models


class PriceRow(Struct):
    """``usd`` per ``per`` units, markup included; ``when`` says when this row holds."""

    provider: Text
    unit: Text
    usd: Text
    per: int
    when: dict[str, Any]


class Model(Struct):
    """A model, its prices and who serves it."""

    id: Text
    object: Literal["model"]
    created: int
    owned_by: Text
    operation: Text
    name: dict[str, str]
    vendor: Text
    context_tokens: int | None
    max_output_tokens: int | None
    default_provider: Text
    providers: Names
    pricing: list[PriceRow]
    capabilities: dict[str, Any]
    aliases: Names
    available: bool
    reason: Text | None = None


class ModelList(Struct):
    """All of them, sorted by id."""

    object: Literal["list"]
    data: list[Model]


class ModelEndpoint(Struct):
    """One route to a model. What was not measured yet is null."""

    provider: Text
    upstream_model: Text
    priority: int
    weight: int
    pricing: list[PriceRow]
    price_version: Text
    available: bool
    reason: Text | None
    retry_after_s: float | None
    latency_ms: float | None
    tokens_per_s: float | None


class ModelEndpoints(Struct):
    """A model and its routes."""

    object: Literal["model.endpoints"]
    id: Text
    model: Model
    endpoints: list[ModelEndpoint]


class VideoModel(Struct):
    """A video model and what can be asked of it. An empty list: there is no such choice."""

    id: Text
    object: Literal["video.model"]
    seconds: list[int]
    resolutions: Names
    sizes: Names
    aspect_ratios: Names
    modes: Names
    fps: list[int | float]
    frame_types: Names
    max_references: int
    reference_kinds: Names
    operations: Names
    n_max: int
    available: bool
    pricing: list[PriceRow]


class VideoModelList(Struct):
    """All video models that the key may use."""

    object: Literal["list"]
    data: list[VideoModel]


# ----------------------------------------------------------------------------------------- account


class Credits(Struct):
    """Decimal strings. ``available`` = ``balance`` - ``held``."""

    object: Literal["credits"]
    currency: Text
    balance: Text
    held: Text
    available: Text


class KeyOrganization(Struct):
    """Whose key it is."""

    id: Text
    name: Text


class SpendLimit(Struct):
    """A spend cap, what of it is used, and when it begins anew."""

    scope: Text
    period: Text
    limit: Text
    used: Text
    resets_at: int | None


class KeyLimits(Struct):
    """Null: no limit of its own."""

    rpm: int | None
    tpm: int | None
    concurrency: int | None
    spend: list[SpendLimit]


class KeyAllowed(Struct):
    """Null: everything."""

    models: Names | None
    providers: Names | None
    operations: Names | None
    addresses: Names | None


class Key(Struct):
    """The API key that asks."""

    object: Literal["key"]
    id: Text
    name: Text
    hint: Text
    organization: KeyOrganization
    created_at: int
    expires_at: int | None
    limits: KeyLimits
    allowed: KeyAllowed


class UsageCounts(Struct):
    """Sums of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int
    reasoning_tokens: int


class UsageRow(Struct):
    """One group; the members that it is grouped by stand beside these."""

    requests: int
    failed: int
    usage: UsageCounts
    charged: Text
    day: Text | None = None
    model: Text | None = None
    provider: Text | None = None
    key: Text | None = None
    operation: Text | None = None


class UsageList(Struct):
    """Sums by group, and over all of them."""

    object: Literal["list"]
    from_: int = msgspec.field(name="from")
    to: int
    group_by: Names
    data: list[UsageRow]
    total: UsageRow
    time_zone: Text


class ReceiptItem(Struct):
    """One line of the charge."""

    unit: Text
    quantity: Text
    usd: Text
    per: int
    amount: Text


class ReceiptAmounts(Struct):
    """Decimal strings. ``held`` was put aside at the start and ``released`` given back."""

    currency: Text
    held: Text
    charged: Text
    released: Text


class ReceiptAttempt(Struct):
    """One try at a provider."""

    provider: Text
    upstream_model: Text
    status: int | None
    started_ms: float | None
    duration_ms: float | None
    first_byte_ms: float | None
    error: Text | None
    upstream_request_id: Text | None


class Receipt(Struct):
    """Everything that is known about one request."""

    object: Literal["request"]
    id: Text
    status: Literal["succeeded", "failed", "cancelled", "rejected", "running"]
    operation: Text
    model: Text | None
    provider: Text | None
    key_id: Text
    created_at: int
    dispatched_at_ms: float | None
    first_byte_ms: float | None
    duration_ms: float | None
    overhead_ms: float
    stream: bool
    route: dict[str, Any] | None
    attempts: list[ReceiptAttempt]
    usage: dict[str, Any] | None
    items: list[ReceiptItem]
    price_version: Text | None
    markup_percent: Text | None
    amounts: ReceiptAmounts
    ledger: Names
    finish_reason: Text | None
    dropped_params: Names
    error: dict[str, Any] | None
    idempotency_key: Text | None
    trace_id: Text | None
