"""MiniMax (https://platform.minimax.io/docs; facts as of 2026-11-23)."""

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

CHAT = OpenAIChat(
    Quirks(
        max_tokens_field="max_completion_tokens",
        drop=OPENAI_ONLY,
        n_max=1,
        tool_choices=frozenset({"auto"}),
        force=(("reasoning_split", b"true"),),  # reasoning_content instead of tags in content
        think_tags=True,
        reasoning="thinking",
        thinking_on="adaptive",
        codes={  # base_resp.status_code, with HTTP 200
            "1000": "upstream_error",
            "1002": "rate_limited",
            "1004": "auth",
            "1008": "no_balance",
            "1013": "upstream_error",
            "1026": "content_policy",
            "1027": "content_policy",
            "1039": "rate_limited",
            "2013": "bad_request",
        },
    )
)
