"""xAI Grok (https://docs.x.ai/docs/api-reference; facts as of 2026-11-23)."""

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

# completion_tokens leaves reasoning out, and total_tokens proves it: the usage parser sees that by
# itself. What single models refuse (stop) is a capability of theirs.
CHAT = OpenAIChat(
    Quirks(
        max_tokens_field="max_completion_tokens",
        drop=(OPENAI_ONLY - {"logit_bias"}) | {"presence_penalty", "frequency_penalty"},
        strip_strict=True,
        message_drop=frozenset({"name"}),
        efforts=(("minimal", "low"), ("xhigh", "high"), ("max", "high")),
    )
)
