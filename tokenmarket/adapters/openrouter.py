"""OpenRouter (https://openrouter.ai/docs/api-reference; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat, OpenAICompletions
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks

_OWN = Quirks(
    custom_tools=True,
    drop=frozenset({"store", "moderation", "metadata", "safety_identifier"}),
    developer_role=True,
    reasoning="reasoning_effort",
    efforts=(("max", "xhigh"),),
    force=(("usage", b'{"include":true}'),),
    codes={  # error.code repeats the status, also inside a 200
        "402": "no_balance",
        "408": "timeout",
        "429": "rate_limited",
        "502": "upstream_error",
        "503": "overloaded",
        "payment_required": "no_balance",
        "authentication": "auth",
        "provider_unavailable": "upstream_error",
        "refusal": "content_policy",
        "context_length_exceeded": "context_too_long",
    },
    base64=False,
)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings", force=()))
RERANK = Rerank(RerankQuirks(codes=_OWN.codes))
