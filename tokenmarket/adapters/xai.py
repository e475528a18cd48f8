"""xAI Grok (https://docs.x.ai/docs/api-reference; facts as of 2026-11-23)."""

from tokenmarket.adapters.kit.openai_chat import OpenAIChat
from tokenmarket.adapters.kit.openai_images import (
    Fields,
    ImageQuirks,
    OpenAIImages,
    encode,
    uploads,
)
from tokenmarket.adapters.kit.openai_request import HEADERS, raw, unsupported
from tokenmarket.adapters.kit.openai_transcription import (
    OpenAITranscription,
    TranscriptionQuirks,
)
from tokenmarket.adapters.kit.picture_sizes import data_url, ratio_of, tier_of
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks
from tokenmarket.adapters.kit.shape import mapping
from tokenmarket.adapters.kit.transcribe import needs
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.bodies import TranscriptionBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.requests import Request

# completion_tokens leaves reasoning out, and total_tokens proves it: the usage parser sees that by
# itself. What single models refuse (stop) is a capability of theirs.
CHAT = OpenAIChat(
    Quirks(
        max_tokens_field="max_completion_tokens",
        drop=(OPENAI_ONLY - {"logit_bias"}) | {"presence_penalty", "frequency_penalty"},
        strip_strict=True,
        message_drop=frozenset({"name"}),
        efforts=(("minimal", "low"), ("xhigh", "high"), ("max", "high")),
    )
)

# Those of two whole numbers; 19.5:9, 9:19.5 and "auto" are taken as ``aspect_ratio`` only.
RATIOS = ("1:1", "3:4", "4:3", "9:16", "16:9", "2:3", "3:2", "9:20", "20:9", "1:2", "2:1")
TIERS = ("1K", "2K")


class XaiImages(OpenAIImages):
    """A ratio and a tier instead of a size; edits in JSON. The answer's ``cost_in_usd_ticks`` is
    what we are charged, not what the caller is: left alone."""

    def put_size(self, request: Request, route: Route, fields: Fields, dropped: list[str]) -> None:
        tier = tier_of(request, route, TIERS)
        if tier is not None:
            fields["resolution"] = raw(tier.lower())
        ratio = ratio_of(request, route, RATIOS)
        if ratio is not None and len(request.inputs) == 1:
            dropped.append("size")  # the edit of one picture keeps the ratio of that picture
        elif ratio is not None:
            fields["aspect_ratio"] = raw(ratio)

    def edit(
        self, request: Request, route: Route, fields: Fields, dropped: list[str]
    ) -> UpstreamRequest:
        if uploads(request, "mask"):
            unsupported("mask", route)
        images = [
            {"type": "image_url", "url": data_url(upload)} for upload in uploads(request, "image")
        ]
        if len(images) == 1:
            fields["image"] = raw(images[0])
        else:
            fields["images"] = raw(images)
        return UpstreamRequest(
            self.quirks.edits_path, HEADERS, encode(fields), dropped=tuple(dropped)
        )

    def items(self, document: dict[str, object]) -> list[object]:
        return [
            item
            for item in super().items(document)
            if mapping(item).get("respect_moderation") is not False
        ]

    def nothing(self, document: dict[str, object]) -> UpstreamError:
        if len(self.items(document)) < len(super().items(document)):
            return UpstreamError("content_policy", "the picture was refused by moderation")
        return super().nothing(document)


IMAGES = XaiImages(
    ImageQuirks(
        response_format=True,
        quality_field=None,
        drop=frozenset(
            {
                *("negative_prompt", "seed", "style", "background", "moderation"),
                *("output_format", "output_compression", "input_fidelity"),
            }
        ),
    )
)


class XaiTranscription(OpenAITranscription):
    """``POST /stt`` (recorded 2026-08-10): words with times always, speakers with ``diarize``."""

    def format_fields(self, typed: TranscriptionBody, route: Route) -> list[tuple[str, str]]:
        return [("diarize", "true")] if needs(typed) == "speakers" else []


TRANSCRIPTION = XaiTranscription(
    TranscriptionQuirks(
        path="/stt",
        drop=frozenset({"languages", "keywords", "prompt", "temperature", "include"})
        | {"chunking_strategy", "known_speaker_names", "known_speaker_references"},
    )
)
