"""DeepSeek (https://api-docs.deepseek.com; facts as of 2026-11-23)."""

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.quirks import LEGACY_FUNCTIONS, OPENAI_ONLY, Quirks

CHAT = OpenAIChat(
    Quirks(
        drop=OPENAI_ONLY,
        refuse=LEGACY_FUNCTIONS,
        n_max=1,
        json_schema=False,  # response_format: text and json_object only
        content_lists=False,  # text models: "unknown variant", expected text
        reasoning_back=True,  # "The reasoning_content in the thinking mode must be passed back"
        reasoning="thinking_and_effort",
    )
)
