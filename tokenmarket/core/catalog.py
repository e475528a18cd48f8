"""Providers, models, routes and prices as immutable values (``design/catalog.md``).

``Catalog`` is a snapshot that is swapped whole; a request keeps the one it started with.
Reading the TOML dialect is in ``core/catalog_toml.py``.
"""

from __future__ import annotations

import msgspec

from tokenmarket.core.pricing import PriceSheet

OPERATIONS = (
    "chat",
    "completions",
    "embeddings",
    "images",
    "speech",
    "transcription",
    "translation",
    "rerank",
    "video",
    "moderation",
)
# Names of adapters/registry.py; core may not import it, tests/unit/test_catalog.py compares.
ADAPTERS = frozenset(
    {
        "ark",
        "assemblyai",
        "azure_speech",
        "bedrock",
        "bfl",
        "cohere",
        "dashscope",
        "deepgram",
        "deepseek",
        "elevenlabs",
        "fal",
        "fireworks",
        "gemini",
        "groq",
        "ideogram",
        "jina",
        "kling",
        "luma",
        "minimax",
        "mistral",
        "moonshot",
        "newapi",
        "ollama",
        "openai",
        "openrouter",
        "perplexity",
        "recraft",
        "replicate",
        "runway",
        "sandbox",
        "siliconflow",
        "stability",
        "tei",
        "together",
        "vertex",
        "vidu",
        "vllm",
        "volcengine",
        "voyage",
        "xai",
        "zhipu",
    }
)
POLICIES = ("default", "price", "latency", "throughput", "weighted", "order")


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds. ``first_byte`` counts real data, not keep-alive comments."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 600.0


class ProviderLimits(msgspec.Struct, frozen=True):
    """What our account may do there; 0 = unlimited. We route around, we do not fail."""

    rpm: int = 0
    tpm: int = 0
    concurrency: int = 0


class DataPolicy(msgspec.Struct, frozen=True):
    """What the provider does with prompts; None = unknown, never treated as harmless."""

    retention_days: int | None = None
    trains: bool | None = None
    region: str | None = None


class Provider(msgspec.Struct, frozen=True):
    """A company (or server) that we call. ``adapter`` names a row of ``adapters.registry``.

    With ``api_key_env`` the provider needs a credential: from that variable or a stored one.
    Without, it is usable as it is (a local server, the sandbox).
    """

    name: str
    adapter: str
    base_url: str
    api_key_env: str | None = None
    timeouts: Timeouts = Timeouts()
    headers: tuple[tuple[str, str], ...] = ()
    limits: ProviderLimits = ProviderLimits()
    data: DataPolicy = DataPolicy()
    enabled: bool = True

    @property
    def keyless(self) -> bool:
        """Whether it may be called without a key: no variable is named, so nobody need set one."""
        return self.api_key_env is None


class Model(msgspec.Struct, frozen=True):
    """What callers write in ``model``."""

    id: str
    operation: str
    name_en: str
    name_zh: str
    vendor: str
    default_provider: str | None = None
    policy: str = "default"
    context_tokens: int = 0  # 0 = unknown
    max_output_tokens: int = 0  # 0 = unknown
    aliases: tuple[str, ...] = ()
    capabilities: dict[str, object] = {}
    deprecated_at: str | None = None
    enabled: bool = True


class Route(msgspec.Struct, frozen=True):
    """A public model at one provider: what we call there, what the customer pays.

    ``unpriced`` names a unit that every answer can produce and no price row covers: such a route
    is refused at admission (MODEL_002), never served for nothing.
    """

    model: Model
    provider: Provider
    upstream_model: str
    prices: PriceSheet
    priority: int = 0
    weight: int = 1
    markup_percent: str = "0"
    costs: PriceSheet | None = None
    enabled: bool = True
    unpriced: str | None = None


class Catalog(msgspec.Struct, frozen=True):
    """One snapshot. ``routes`` by model id, in priority order; ``aliases`` to model ids."""

    version: int
    providers: dict[str, Provider]
    models: dict[str, Model]
    routes: dict[str, tuple[Route, ...]]
    aliases: dict[str, str]
