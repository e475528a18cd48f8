"""Mistral AI (https://docs.mistral.ai/api; facts as of 2026-11-23): refuses unknown members."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.moderation import Moderation, ModerationQuirks
from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

_OWN = Quirks(
    drop=OPENAI_ONLY | {"logprobs", "top_logprobs", "user"},
    rename=(("seed", "random_seed"),),
    stream_usage="always",  # on the finish chunk; stream_options is unknown
    tool_choice_words=(("required", "any"),),
    strip_strict=True,
    message_drop=frozenset({"name"}),
    assistant_drop=frozenset(
        {
            "annotations",
            "audio",
            "function_call",
            "reasoning",
            "reasoning_content",
            "reasoning_details",
            "refusal",
        }
    ),
    codes={"1500": "not_found"},  # "Invalid model"
)

CHAT = OpenAIChat(_OWN)
EMBEDDINGS = OpenAIEmbeddings(
    replace(_OWN, path="/embeddings", base64=False, dimensions_field="output_dimension")
)
MODERATION = Moderation(
    ModerationQuirks(
        parts=False,
        categories=(
            ("hate_and_discrimination", "hate"),
            ("violence_and_threats", "violence"),
            ("selfharm", "self-harm"),
            ("criminal", "illicit"),
            ("dangerous_and_criminal_content", "illicit"),  # models before 2603
        ),
        codes=_OWN.codes,
    )
)
