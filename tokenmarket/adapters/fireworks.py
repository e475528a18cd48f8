"""Fireworks AI (https://docs.fireworks.ai/api-reference; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat, OpenAICompletions
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

_OWN = Quirks(
    drop=OPENAI_ONLY - {"logit_bias"},
    strip_strict=True,  # tools[].function.strict
    base64=False,
)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
