"""Groq (https://console.groq.com/docs/openai; facts as of 2026-11-23)."""

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.openai_speech import OpenAISpeech, SpeechQuirks
from tokenmarket.adapters.kit.openai_transcription import (
    OpenAITranscription,
    TranscriptionQuirks,
)
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks

CHAT = OpenAIChat(
    Quirks(
        max_tokens_field="max_completion_tokens",
        # "not supported": logprobs and logit_bias give 400; service_tier has its own words
        drop=(OPENAI_ONLY - {"service_tier"}) | {"logprobs", "top_logprobs"},
        n_max=1,
        drop_nulls=True,  # null members of messages are refused
        assistant_drop=frozenset({"reasoning_content", "refusal", "annotations", "audio"}),
        efforts=(("minimal", "low"), ("xhigh", "high"), ("max", "high")),
    )
)
# Formats json, text and verbose_json: the gateway makes the others (audio.md section 3).
TRANSCRIPTION = OpenAITranscription(
    TranscriptionQuirks(
        drop=frozenset({"languages", "keywords", "include", "chunking_strategy"})
        | {"known_speaker_names", "known_speaker_references"}
    )
)
# Which of the formats a model makes is its capability ``upstream_formats`` (Orpheus: wav alone).
SPEECH = OpenAISpeech(
    SpeechQuirks(
        formats=("wav", "flac", "mp3"), drop=frozenset({"instructions", "language", "user"})
    )
)
