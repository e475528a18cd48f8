"""SiliconFlow (https://docs.siliconflow.cn; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

_OWN = Quirks(
    drop=OPENAI_ONLY,
    reasoning="enable_thinking",
    codes={"20012": "not_found", "50505": "overloaded"},  # {"code", "message", "data"}
)

CHAT = OpenAIChat(_OWN)
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
