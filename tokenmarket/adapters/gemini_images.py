"""Pictures of Gemini, at the Gemini API and at Vertex: ``:generateContent`` with image output.

``reference/media/images.md`` section 2, ``reference/providers/gemini.md`` sections 2 to 4; facts as
of 2026-11-23. One picture a call, so ``n`` is several. An answer may also hold text and thoughts,
which are billed and not shown; one without a picture says why in ``finishReason``. Vertex takes the
same body below ``.../publishers/google``, which is then the provider's base URL.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import quote

import msgspec

from tokenmarket.adapters.kit.google_errors import described, explain
from tokenmarket.adapters.kit.openai_images import VARIATION_PROMPT, by_count, merged, uploads
from tokenmarket.adapters.kit.openai_request import HEADERS, unsupported
from tokenmarket.adapters.kit.picture_sizes import ratio_of, tier_of
from tokenmarket.adapters.kit.quirks import GATEWAY_FIELDS, HONOURED_HERE
from tokenmarket.adapters.kit.shape import count, mapping, sequence, text
from tokenmarket.adapters.protocol import (
    Head,
    InputMode,
    MediaAdapter,
    Produced,
    Reply,
    UpstreamRequest,
)
from tokenmarket.core.bodies import ImageBody
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.media_rules import texts
from tokenmarket.core.pricing import PriceSheet
from tokenmarket.core.requests import Request
from tokenmarket.core.usage import Usage

# Where the model's ``ratios`` and ``tiers`` say nothing.
RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
TIERS = ("1K",)

# Said by a candidate (or of the prompt) that was moderated.
REFUSALS = frozenset(
    {
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
        "PROHIBITED_CONTENT",
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "SPII",
        "MODEL_ARMOR",
        "JAILBREAK",
    }
)
# Members that are written into the body below, or that the gateway honours itself.
_READ = {
    *("model", "prompt", "n", "size", "seed", "image", "images", "mask", "response_format"),
    *("stream", "partial_images", "aspect_ratio", "resolution"),
    *GATEWAY_FIELDS,
    *HONOURED_HERE,
}
_NOTHING_ASKED = (b"null", b'"auto"')

_decode = msgspec.json.Decoder(dict[str, object]).decode
_encode = msgspec.json.Encoder().encode


class GeminiImages(MediaAdapter):
    """Generations, edits (further parts of the prompt) and emulated variations."""

    inputs: ClassVar[InputMode] = "bytes"
    atomic: ClassVar[bool] = False

    def split(self, request: Request, route: Route) -> tuple[Request, ...]:
        return by_count(request, 1)

    def merge(self, request: Request, route: Route, replies: Sequence[Reply]) -> Reply:
        return merged(replies)

    def build(self, request: Request, route: Route, *, now_s: int) -> UpstreamRequest:
        if uploads(request, "mask"):
            unsupported("mask", route)
        parts: list[object] = [
            {"inlineData": {"mimeType": upload.content_type, "data": _b64(upload.data())}}
            for upload in uploads(request, "image")
        ]
        parts.append({"text": _prompt(request)})
        config: dict[str, object] = {"responseModalities": ["TEXT", "IMAGE"]}
        picture = _picture(request, route)
        if picture:
            config["imageConfig"] = picture
        typed = request.typed
        if isinstance(typed, ImageBody) and typed.seed is not None:
            config["seed"] = typed.seed
        body = {"contents": [{"role": "user", "parts": parts}], "generationConfig": config}
        path = f"/models/{quote(route.upstream_model, safe='')}:generateContent"
        return UpstreamRequest(path, HEADERS, _encode(body), dropped=_dropped(request))

    def read(self, request: Request, route: Route, head: Head, body: bytes) -> Reply:
        try:
            document = _decode(body)
        except msgspec.DecodeError:
            raise UpstreamError("upstream_error", "the upstream's answer is no JSON") from None
        error = mapping(document.get("error"))
        if error:
            raise described(error, None)
        candidates = [mapping(item) for item in sequence(document.get("candidates"))]
        produced = tuple(item for candidate in candidates for item in _pictures(candidate))
        if not produced:
            raise _no_picture(document, candidates)
        usage = picture_usage(document.get("usageMetadata"), len(produced), route.prices)
        upstream_id = text(document.get("responseId"))
        return Reply({}, usage, upstream_id=upstream_id, produced=produced)

    def explain(self, head: Head, body: bytes) -> UpstreamError:
        return explain(head, body)


def _prompt(request: Request) -> str:
    typed = request.typed
    prompt = typed.prompt if isinstance(typed, ImageBody) else None
    return prompt or VARIATION_PROMPT


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _picture(request: Request, route: Route) -> dict[str, object]:
    """``imageConfig``: what was asked for in OpenAI's words, else in Google's own."""
    capabilities = route.model.capabilities
    ratios = texts(capabilities.get("ratios")) or RATIOS
    tiers = texts(capabilities.get("tiers"))
    ratio = ratio_of(request, route, ratios) or _word(request, route, "aspect_ratio", ratios)
    tier = tier_of(request, route, tiers or TIERS)
    tier = tier or _word(request, route, "resolution", tiers or TIERS)
    found: dict[str, object] = {}
    if ratio is not None:
        found["aspectRatio"] = ratio
    if tier is not None and tiers:  # a model that makes only 1K refuses to be told so
        found["imageSize"] = tier
    return found


def _word(request: Request, route: Route, name: str, legal: Sequence[str]) -> str | None:
    """A member that is not OpenAI's, where the size does not say it already."""
    given = request.members.get(name)
    if request.size or given is None or bytes(given) in _NOTHING_ASKED:
        return None
    word = msgspec.json.decode(given)
    if not isinstance(word, str) or word not in legal:
        unsupported(name, route, f"{name} must be one of: {', '.join(legal)}.")
    return word


def _dropped(request: Request) -> tuple[str, ...]:
    return tuple(
        name
        for name, value in request.members.items()
        if name not in _READ and bytes(value) not in _NOTHING_ASKED
    )


def _pictures(candidate: dict[str, object]) -> list[Produced]:
    found: list[Produced] = []
    for item in sequence(mapping(candidate.get("content")).get("parts")):
        part = mapping(item)
        inline = mapping(part.get("inlineData"))
        data, kind = text(inline.get("data")), text(inline.get("mimeType"))
        if data is None or part.get("thought") is True:  # thoughts hold drafts
            continue
        if kind is None or kind.startswith("image/"):
            found.append(Produced(b64=data, content_type=kind))
    return found


def _no_picture(document: dict[str, object], candidates: list[dict[str, object]]) -> UpstreamError:
    blocked = text(mapping(document.get("promptFeedback")).get("blockReason"))
    reasons = [text(candidate.get("finishReason")) for candidate in candidates]
    refused = next((reason for reason in reasons if reason in REFUSALS), blocked)
    if refused is not None:
        message = f"the picture was refused ({refused[:80]})"
        return UpstreamError("content_policy", message, code=refused[:80])
    ended = next((reason for reason in reasons if reason), "no candidate")
    return UpstreamError(
        "upstream_error", f"no picture came back ({ended[:80]})", code="no_image_returned"
    )


def picture_usage(value: object, images: int, prices: PriceSheet) -> Usage | None:
    """``usageMetadata`` in disjoint units; None if it is missing and pictures are not the unit."""
    usage = mapping(value)
    if "promptTokenCount" not in usage:
        return Usage(images=images) if prices.has("image") or prices.has("request") else None
    prompt = count(usage.get("promptTokenCount")) + count(usage.get("toolUsePromptTokenCount"))
    cached = count(usage.get("cachedContentTokenCount"))
    image_in = _of_modality(usage.get("promptTokensDetails"), "IMAGE")
    output = count(usage.get("candidatesTokenCount"))
    thoughts = count(usage.get("thoughtsTokenCount"))
    if thoughts and prompt + output == count(usage.get("totalTokenCount")):
        output -= thoughts  # Vertex counts them among the candidates
    details = usage.get("candidatesTokensDetails")
    text_out = output - _of_modality(details, "IMAGE") if sequence(details) else 0
    return Usage(
        input_tokens=prompt - image_in - cached,
        cached_input_tokens=cached,
        image_input_tokens=image_in,
        output_tokens=text_out,
        reasoning_tokens=thoughts,
        image_output_tokens=output - text_out,
        images=images,
    )


def _of_modality(details: object, modality: str) -> int:
    return sum(
        count(mapping(item).get("tokenCount"))
        for item in sequence(details)
        if mapping(item).get("modality") == modality
    )


IMAGES = GeminiImages()
