"""SiliconFlow (https://docs.siliconflow.cn; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.embed import BatchedEmbeddings
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
    PlainTranscription,
    TranscriptionQuirks,
)
from tokenmarket.adapters.kit.picture_sizes import data_url
from tokenmarket.adapters.kit.quirks import OPENAI_ONLY, Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks
from tokenmarket.adapters.kit.shape import sequence
from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.requests import Request

_OWN = Quirks(
    drop=OPENAI_ONLY,
    reasoning="enable_thinking",
    codes={"20012": "not_found", "50505": "overloaded"},  # {"code", "message", "data"}
)

CHAT = OpenAIChat(_OWN)
EMBEDDINGS = BatchedEmbeddings(replace(_OWN, path="/embeddings", batch_max=32))
RERANK = Rerank(
    RerankQuirks(
        returns_documents=True,
        passes=frozenset({"instruction", "max_chunks_per_doc", "overlap_tokens"}),
        codes=_OWN.codes,
    )
)

_PICTURES_MAX = 3


class SiliconFlowImages(OpenAIImages):
    """``image_size``, pictures to edit as ``image``, ``image2``, ``image3`` of the same endpoint,
    answers in ``images`` with addresses that live an hour. Only Kolors makes several in one call
    (``batch_size``), so ``n`` is several calls."""

    def edit(
        self, request: Request, route: Route, fields: Fields, dropped: list[str]
    ) -> UpstreamRequest:
        if uploads(request, "mask"):
            unsupported("mask", route)
        images = uploads(request, "image")
        if len(images) > _PICTURES_MAX:
            unsupported("image", route, f"{route.provider.name} takes {_PICTURES_MAX} pictures.")
        for index, upload in enumerate(images, 1):
            fields["image" if index == 1 else f"image{index}"] = raw(data_url(upload))
        return UpstreamRequest(self.quirks.path, HEADERS, encode(fields), dropped=tuple(dropped))

    def items(self, document: dict[str, object]) -> list[object]:
        return sequence(document.get("images")) or super().items(document)


IMAGES = SiliconFlowImages(
    ImageQuirks(
        size_field="image_size",
        quality_field=None,
        n_per_call=1,
        drop=frozenset(
            {
                *("style", "background", "moderation", "output_format", "output_compression"),
                *("input_fidelity", "user", "batch_size"),
            }
        ),
        codes=_OWN.codes,
    )
)

# The form has but these two fields.
TRANSCRIPTION = PlainTranscription(
    TranscriptionQuirks(
        drop=frozenset({"language", "languages", "keywords", "prompt", "temperature", "include"})
        | {"chunking_strategy", "known_speaker_names", "known_speaker_references"},
        codes=_OWN.codes,
    )
)
