"""The built-in sandbox speaks OpenAI's wire format, in the process and over HTTP alike."""

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
from tokenmarket.adapters.kit.openai_videos import OpenAIVideos
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks

_OWN = Quirks(
    max_tokens_field="max_completion_tokens",
    custom_tools=True,
    tool_choices=frozenset({"none", "auto", "required", "function", "custom", "allowed_tools"}),
    drop=frozenset(),
    refuse=frozenset(),
    obfuscation=True,
    developer_role=True,
    stop_means_tools=False,
    token_inputs=True,
)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions", max_tokens_field="max_tokens"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
IMAGES = OpenAIImages(ImageQuirks(streams=True))
SPEECH = OpenAISpeech(SpeechQuirks(formats=("wav", "mp3", "flac", "pcm")))
TRANSCRIPTION = OpenAITranscription(TranscriptionQuirks(streams=True))
VIDEO = OpenAIVideos(
    extras=frozenset(
        {
            "resolution",
            "aspect_ratio",
            "fps",
            "seed",
            "n",
            "negative_prompt",
            "mode",
            "audio",
            "last_frame",
            "input_references",
            "video",
            "watermark",
            "user",
        }
    ),
    references=True,
    cancels=True,
)
# ``metadata`` is how a caller tells the sandbox to misbehave.
MODERATION = Moderation(ModerationQuirks(passes=frozenset({"metadata"})))
RERANK = Rerank(
    RerankQuirks(returns_documents=True, passes=frozenset({"metadata", "max_tokens_per_doc"}))
)
