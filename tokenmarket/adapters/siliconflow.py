"""SiliconFlow (https://docs.siliconflow.cn; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.embed import BatchedEmbeddings
from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks

_OWN = Quirks(
    drop=OPENAI_ONLY,
    reasoning="enable_thinking",
    codes={"20012": "not_found", "50505": "overloaded"},  # {"code", "message", "data"}
)

CHAT = OpenAIChat(_OWN)
EMBEDDINGS = BatchedEmbeddings(replace(_OWN, path="/embeddings", batch_max=32))
RERANK = Rerank(
    RerankQuirks(
        returns_documents=True,
        passes=frozenset({"instruction", "max_chunks_per_doc", "overlap_tokens"}),
        codes=_OWN.codes,
    )
)
