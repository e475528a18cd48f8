"""Together AI (https://docs.together.ai/reference; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat, OpenAICompletions
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks

_OWN = Quirks(
    drop=OPENAI_ONLY - {"logit_bias"},
    efforts=(("minimal", "low"), ("xhigh", "high"), ("max", "high")),
    base64=False,
    dimensions_field=None,
)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
RERANK = Rerank(RerankQuirks(returns_documents=True))
