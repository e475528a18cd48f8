"""vLLM and servers like it: SGLang, llama.cpp (https://docs.vllm.ai; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat, OpenAICompletions
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.openai_transcription import (
    OpenAITranscription,
    TranscriptionQuirks,
)
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks

# Unknown members are only logged there: what has no effect is dropped here, where it can be named.
_OWN = Quirks(drop=OPENAI_ONLY - {"logit_bias"}, token_inputs=True)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
# Scores of llama.cpp are logits: such a model has the capability ``raw_scores``.
RERANK = Rerank(
    RerankQuirks(
        returns_documents=True,
        passes=frozenset(
            {
                "chat_template_kwargs",
                "instruction",
                "max_tokens_per_doc",
                "max_tokens_per_query",
                "truncate_prompt_tokens",
                "truncation_side",
            }
        ),
    )
)
# Whisper models; its event stream has a shape of its own, so the gateway makes the events.
TRANSCRIPTION = OpenAITranscription(
    TranscriptionQuirks(
        drop=frozenset({"languages", "keywords", "include", "chunking_strategy"})
        | {"known_speaker_names", "known_speaker_references"}
    )
)
