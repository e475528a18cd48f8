"""new-api and one-api aggregators (https://docs.newapi.pro; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat, OpenAICompletions
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.openai_images import ImageQuirks, OpenAIImages
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks

_OWN = Quirks(
    custom_tools=True,
    drop=frozenset({"store", "moderation", "metadata"}),
    refuse=frozenset(),  # they translate the legacy forms themselves
    codes={
        "insufficient_user_quota": "no_balance",  # HTTP 403
        "get_channel_failed": "overloaded",
        "channel:no_available_key": "overloaded",
        "bad_response_status_code": "upstream_error",
        "empty_response": "upstream_error",
        "prompt_blocked": "content_policy",
        "sensitive_words_detected": "content_policy",
    },
    base64=False,
)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
RERANK = Rerank(RerankQuirks(returns_documents=True, codes=_OWN.codes))
# The vendor's answer comes back as it is, bytes or addresses; what it cannot take is its 400.
IMAGES = OpenAIImages(ImageQuirks(codes=_OWN.codes))
