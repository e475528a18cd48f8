"""Perplexity Sonar (https://docs.perplexity.ai/api-reference; facts as of 2026-11-23)."""

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.quirks import LEGACY_FUNCTIONS, OPENAI_ONLY, SAMPLING, Quirks

CHAT = OpenAIChat(
    Quirks(
        drop=(OPENAI_ONLY - {"web_search_options"})
        | (SAMPLING - {"temperature", "top_p"})
        | {"tool_choice", "parallel_tool_calls", "seed"},
        refuse=LEGACY_FUNCTIONS | {"tools"},
        n_max=1,
        merge_roles=True,  # roles must alternate after the system message
        stream_usage="always",  # cumulative, on every chunk
        reasoning_outside=True,  # deep research counts reasoning beside completion_tokens
        think_tags=True,
    )
)
