"""Moonshot Kimi (https://platform.moonshot.ai/docs; facts as of 2026-11-23)."""

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

CHAT = OpenAIChat(
    Quirks(
        drop=OPENAI_ONLY - {"prompt_cache_key", "safety_identifier"},
        temperature_max=1.0,
        temperature_fixed=True,  # reasoning models take 1 only
        content_lists=False,
        reasoning_back=True,
        reasoning="thinking",  # kimi-k2.x; k3 grades: it has reasoning_efforts in the catalog
        efforts=(("minimal", "low"), ("medium", "high"), ("xhigh", "max")),
        codes={
            "exceeded_current_quota_error": "no_balance",
            "engine_overloaded_error": "overloaded",
            "rate_limit_reached_error": "rate_limited",
            "invalid_authentication_error": "auth",
        },
    )
)
