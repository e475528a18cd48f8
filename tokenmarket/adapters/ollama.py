"""Ollama (https://docs.ollama.com/api/openai-compatibility; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat, OpenAICompletions
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

_OWN = Quirks(
    drop=OPENAI_ONLY | {"user", "parallel_tool_calls"},
    n_max=1,
    tool_choices=frozenset({"auto"}),
    encoding_format=False,  # answers floats
)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
