"""OpenAI, our own dialect.

https://platform.openai.com/docs/api-reference; facts as of 2026-11-23.
"""

from msgspec.structs import replace

from tokenmarket.adapters.kit.moderation import Moderation, ModerationQuirks
from tokenmarket.adapters.kit.openai_chat import OpenAIChat, OpenAICompletions
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.openai_images import ImageQuirks, OpenAIImages
from tokenmarket.adapters.kit.openai_speech import OpenAISpeech, SpeechQuirks
from tokenmarket.adapters.kit.openai_transcription import (
    OpenAITranscription,
    TranscriptionQuirks,
)
from tokenmarket.adapters.kit.quirks import Quirks

_OWN = Quirks(
    max_tokens_field="max_completion_tokens",  # max_tokens is refused by o-series and gpt-5 on
    custom_tools=True,
    tool_choices=frozenset({"none", "auto", "required", "function", "custom", "allowed_tools"}),
    drop=frozenset(),
    refuse=frozenset(),
    obfuscation=True,
    developer_role=True,
    stop_means_tools=False,  # a forced tool_choice ends with "stop" by contract
    token_inputs=True,
)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions", max_tokens_field="max_tokens"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
# GPT image models answer 400 "Unknown parameter" to the first three; the others ask for pictures
# of another kind, at prices that are not published (images.md section 1.2).
IMAGES = OpenAIImages(
    ImageQuirks(
        streams=True,
        drop=frozenset({"negative_prompt", "seed", "style"})
        | {"svg", "frame_count", "frame_duration_ms"},
        by_capability=frozenset({"input_fidelity"}),
    )
)
SPEECH = OpenAISpeech(SpeechQuirks())
TRANSCRIPTION = OpenAITranscription(TranscriptionQuirks(streams=True))
MODERATION = Moderation(ModerationQuirks())
