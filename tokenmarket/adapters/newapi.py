"""new-api and one-api aggregators (https://docs.newapi.pro; facts as of 2026-11-23)."""

from msgspec.structs import replace

from tokenmarket.adapters.kit.newapi_codes import CODES
from tokenmarket.adapters.kit.openai_chat import OpenAIChat, OpenAICompletions
from tokenmarket.adapters.kit.openai_embeddings import OpenAIEmbeddings
from tokenmarket.adapters.kit.openai_images import ImageQuirks, OpenAIImages
from tokenmarket.adapters.kit.openai_transcription import (
    OpenAITranscription,
    TranscriptionQuirks,
)
from tokenmarket.adapters.kit.quirks import Quirks
from tokenmarket.adapters.kit.rerank import Rerank, RerankQuirks

_OWN = Quirks(
    custom_tools=True,
    drop=frozenset({"store", "moderation", "metadata"}),
    refuse=frozenset(),  # they translate the legacy forms themselves
    codes=CODES,
    base64=False,
)

CHAT = OpenAIChat(_OWN)
COMPLETIONS = OpenAICompletions(replace(_OWN, path="/completions"))
EMBEDDINGS = OpenAIEmbeddings(replace(_OWN, path="/embeddings"))
RERANK = Rerank(RerankQuirks(returns_documents=True, codes=_OWN.codes))
# The vendor's answer comes back as it is, bytes or addresses; what it cannot take is its 400.
IMAGES = OpenAIImages(ImageQuirks(codes=_OWN.codes))
TRANSCRIPTION = OpenAITranscription(TranscriptionQuirks(codes=_OWN.codes))
