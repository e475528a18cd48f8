"""vLLM and servers like it: SGLang, llama.cpp (https://docs.vllm.ai; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat, OpenAICompletions
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

# Unknown members are only logged there: what has no effect is dropped here, where it can be named.
_OWN = Quirks(drop=OPENAI_ONLY - {"logit_bias"}, token_inputs=True)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
