"""OpenRouter (https://openrouter.ai/docs/api-reference; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.openai_chat import OpenAIChat, OpenAICompletions
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.openai_images import (
    Fields,
    ImageQuirks,
    OpenAIImages,
    encode,
    uploads,
)
from tokenmarket.adapters.kit.openai_request import HEADERS, raw, unsupported
from tokenmarket.adapters.kit.openai_speech import OpenAISpeech, SpeechQuirks
from tokenmarket.adapters.kit.openai_transcription import (
    OpenAITranscription,
    TranscriptionQuirks,
)
from tokenmarket.adapters.kit.picture_sizes import data_url
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.requests import Request

_OWN = Quirks(
    custom_tools=True,
    drop=frozenset({"store", "moderation", "metadata", "safety_identifier"}),
    developer_role=True,
    reasoning="reasoning_effort",
    efforts=(("max", "xhigh"),),
    force=(("usage", b'{"include":true}'),),
    codes={  # error.code repeats the status, also inside a 200
        "402": "no_balance",
        "408": "timeout",
        "429": "rate_limited",
        "502": "upstream_error",
        "503": "overloaded",
        "payment_required": "no_balance",
        "authentication": "auth",
        "provider_unavailable": "upstream_error",
        "refusal": "content_policy",
        "context_length_exceeded": "context_too_long",
    },
    base64=False,
)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings", force=()))
RERANK = Rerank(RerankQuirks(codes=_OWN.codes))


class OpenRouterImages(OpenAIImages):
    """``POST /images``: pictures go along as ``input_references``, sizes as they are (pixels or a
    tier, or ``resolution`` and ``aspect_ratio``). Whether ``n`` and ``stream`` work depends on who
    serves the model, so each picture is a call of its own and none is streamed."""

    def edit(
        self, request: Request, route: Route, fields: Fields, dropped: list[str]
    ) -> UpstreamRequest:
        if uploads(request, "mask"):
            unsupported("mask", route)
        fields["input_references"] = raw(
            [
                {"type": "image_url", "image_url": {"url": data_url(upload)}}
                for upload in uploads(request, "image")
            ]
        )
        return UpstreamRequest(self.quirks.path, HEADERS, encode(fields), dropped=tuple(dropped))


IMAGES = OpenRouterImages(
    ImageQuirks(
        path="/images",
        n_per_call=1,
        drop=frozenset(
            {
                *("negative_prompt", "style", "moderation", "input_fidelity"),
                "input_references",  # pictures that the gateway has not looked at
            }
        ),
        codes=_OWN.codes,
    )
)
# Would make pcm where no format is named; the adapter always names one.
SPEECH = OpenAISpeech(SpeechQuirks(formats=("mp3", "pcm"), codes=_OWN.codes))
# OpenAI's form (recorded 2026-08-19); usage in tokens, without what kind they are.
TRANSCRIPTION = OpenAITranscription(TranscriptionQuirks(codes=_OWN.codes))
