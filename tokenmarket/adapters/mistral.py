"""Mistral AI (https://docs.mistral.ai/api; facts as of 2026-11-23): refuses unknown members."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.moderation import Moderation, ModerationQuirks
from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.openai_transcription import (
    OpenAITranscription,
    TranscriptionQuirks,
)
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks
from tokenmarket.adapters.kit.transcribe import needs, refuse_format
from tokenmarket.core.bodies import TranscriptionBody
from tokenmarket.core.catalog import Route

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


class VoxtralTranscription(OpenAITranscription):
    """No response_format: times are asked for as such, speakers with ``diarize``. The seconds that
    it bills are in ``usage.prompt_audio_seconds``."""

    def format_fields(self, typed: TranscriptionBody, route: Route) -> list[tuple[str, str]]:
        lacking = needs(typed)
        if lacking == "words":  # asked for words it tells no segments, and the other way round
            refuse_format("verbose_json", lacking, ())
        if not lacking:
            return []
        fields = [("timestamp_granularities[]", "segment")]
        return [("diarize", "true"), *fields] if lacking == "speakers" else fields


TRANSCRIPTION = VoxtralTranscription(
    TranscriptionQuirks(
        drop=frozenset({"languages", "keywords", "prompt", "include", "chunking_strategy"})
        | {"known_speaker_names", "known_speaker_references"},
        codes=_OWN.codes,
    )
)
