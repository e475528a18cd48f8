"""What a model can do, against what was asked: before money is held, with the legal values named.

``resolve`` reads the model's ``capabilities`` (free keys of the catalog; those used here are below)
and fills in what the caller left open, so that price, upstream and receipt all see one value:

    images   sizes [list], size_rule "gpt-image-2", ratios [list], tiers [list: "1K", also taken as
             a size], default_size, qualities [list], default_quality, edits, masks, inputs_max,
             n_max, image_tokens_max (with a size_rule: up to 1536x1024, more in proportion),
             formats [list], backgrounds [list]
    speech   voices [list], voice_aliases {name = voice}, default_voice, input_chars_max
    audio    response_formats [list], keyterms (takes keywords)

A key that is missing sets no limit.
"""

from __future__ import annotations

from typing import NoReturn, cast

from tokenmarket.core.bodies import ImageBody, SpeechBody, TranscriptionBody
from tokenmarket.core.catalog import Model
from tokenmarket.core.errors import ApiError
from tokenmarket.core.media.reader import MediaError
from tokenmarket.core.media.sizes import (
    gpt_image_size_fault,
    nearest_ratio,
    parse_size,
    size_tier,
)
from tokenmarket.core.parse import refuse
from tokenmarket.core.parse_media import IMAGE_OUTPUT_TOKENS_MAX, SPEECH_CHARS_MAX, image_bound
from tokenmarket.core.requests import Request
from tokenmarket.core.wording import say

PIXELS_MAX = 64_000_000
_RULED_PIXELS = 1536 * 1024


def resolve(request: Request, model: Model) -> None:
    """Sets size, quality, voice, attributes and bound of the request. ApiError(REQUEST_001)."""
    typed = request.typed
    if isinstance(typed, ImageBody):
        _resolve_image(request, typed, model.capabilities)
    elif isinstance(typed, SpeechBody):
        _resolve_speech(request, typed, model.capabilities)
    elif isinstance(typed, TranscriptionBody):
        asked = typed.response_format or "json"
        legal = texts(model.capabilities.get("response_formats"))
        if legal and asked not in legal:
            _not_legal("response_format", asked, legal, "unsupported_response_format")
        request.attributes = _audio_attributes(typed, model.capabilities)


def _audio_attributes(typed: TranscriptionBody, capabilities: dict[str, object]) -> dict[str, str]:
    """What some charge more for."""
    attributes: dict[str, str] = {}
    if typed.response_format == "diarized_json":
        attributes["speakers"] = "true"
    if typed.keywords and capabilities.get("keyterms") is True:
        attributes["keywords"] = "true"
    return attributes


def texts(value: object) -> tuple[str, ...]:
    """A capability that is a list of texts; anything else is no limit."""
    if not isinstance(value, list):
        return ()
    return tuple(str(item) for item in cast("list[object]", value))


def number(value: object) -> int | None:
    """A capability that is a number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _not_legal(param: str, value: str, legal: tuple[str, ...], reason: str) -> NoReturn:
    raise ApiError(
        "REQUEST_001",
        say(
            "{value!r} is not offered by this model; use one of: {legal}.",
            value=value[:80],
            legal=", ".join(legal),
        ),
        param=param,
        reason=reason,
        details={"legal": list(legal)},
    )


# --- images -------------------------------------------------------------------------------------


def _resolve_image(request: Request, typed: ImageBody, capabilities: dict[str, object]) -> None:
    if request.variant != "generations" and capabilities.get("edits") is not True:
        refuse("This model takes no pictures.", "model", "unsupported_operation")
    if request.inputs and capabilities.get("edits") is not True:
        refuse("This model takes no pictures.", request.inputs[0].param, "unsupported_parameter")
    masked = any(item.role == "mask" for item in request.inputs)
    if masked and capabilities.get("masks") is not True:
        refuse("This model takes no mask.", "mask", "unsupported_parameter")
    pictures = sum(item.role == "image" for item in request.inputs)
    takes = number(capabilities.get("inputs_max"))
    if takes is not None and pictures > takes:
        refuse(
            say("This model takes at most {takes} pictures.", takes=takes),
            "image",
            "too_many_images",
        )
    most = number(capabilities.get("n_max"))
    if most is not None and request.n > most:
        refuse(say("This model makes at most {most} at once.", most=most), "n", "unsupported_n")
    for name, key in (("output_format", "formats"), ("background", "backgrounds")):
        asked, legal = getattr(typed, name), texts(capabilities.get(key))
        if asked is not None and legal and asked not in legal:
            _not_legal(name, asked, legal, f"unsupported_{name}")
    request.quality = _quality(typed, capabilities)
    request.size = _size(typed, capabilities)
    attributes: dict[str, str] = {}
    if request.size:
        attributes["size"] = request.size
        try:
            attributes["resolution"] = size_tier(*parse_size(request.size))
        except MediaError:
            attributes["resolution"] = request.size  # a tier by name ("2K") that the model lists
    if request.quality:
        attributes["quality"] = request.quality
    if pictures:
        attributes["input_images"] = str(pictures)  # some charge for each
    request.attributes = attributes
    request.bound = image_bound(request, _image_tokens_max(request.size, capabilities))


def _image_tokens_max(size: str, capabilities: dict[str, object]) -> int:
    tokens = number(capabilities.get("image_tokens_max")) or IMAGE_OUTPUT_TOKENS_MAX
    if not size or not capabilities.get("size_rule"):
        return tokens
    width, height = parse_size(size)
    return max(tokens, -(-tokens * width * height // _RULED_PIXELS))


def _quality(typed: ImageBody, capabilities: dict[str, object]) -> str:
    quality = typed.quality
    legal = texts(capabilities.get("qualities"))
    if quality is None or quality == "auto":
        default = capabilities.get("default_quality")
        return default if isinstance(default, str) else ""
    if legal and quality not in legal:
        _not_legal("quality", quality, legal, "unsupported_quality")
    return quality


def _size(typed: ImageBody, capabilities: dict[str, object]) -> str:
    size = typed.size
    if size is None or size == "auto":
        default = capabilities.get("default_size")
        return default if isinstance(default, str) else ""
    sizes = texts(capabilities.get("sizes"))
    tiers = texts(capabilities.get("tiers"))
    if size in sizes or size in tiers:
        return size
    try:
        width, height = parse_size(size)
    except MediaError as error:
        raise ApiError(
            "REQUEST_001", say("{what}.", what=error), param="size", reason="unsupported_size"
        ) from None
    if width * height > PIXELS_MAX:
        refuse("The picture would be too large.", "size", "unsupported_size")
    if sizes:
        _not_legal("size", size, sizes, "unsupported_size")
    if capabilities.get("size_rule") == "gpt-image-2":
        fault = gpt_image_size_fault(width, height)
        if fault is not None:
            refuse(fault, "size", "unsupported_size")
    ratios = texts(capabilities.get("ratios"))
    if ratios and nearest_ratio(width, height, ratios) is None:
        _not_legal("size", size, ratios, "unsupported_size")
    return f"{width}x{height}"


# --- speech -------------------------------------------------------------------------------------


def _resolve_speech(request: Request, typed: SpeechBody, capabilities: dict[str, object]) -> None:
    most = number(capabilities.get("input_chars_max")) or SPEECH_CHARS_MAX
    if len(typed.input) > most:
        refuse(say("At most {most} characters.", most=most), "input", "input_too_long")
    request.voice = _voice(typed, capabilities)
    request.attributes = {"voice": request.voice} if request.voice else {}


def _voice(typed: SpeechBody, capabilities: dict[str, object]) -> str:
    asked = typed.voice if isinstance(typed.voice, str) or typed.voice is None else typed.voice.id
    voices = texts(capabilities.get("voices"))
    aliases = cast("dict[str, object]", capabilities.get("voice_aliases") or {})
    if not asked:
        default = capabilities.get("default_voice")
        if isinstance(default, str):
            return default
        if voices:
            _not_legal("voice", "", voices, "unknown_voice")
        refuse("Missing required field `voice`.", "voice")
    alias = aliases.get(asked)
    if isinstance(alias, str):
        return alias
    if voices and asked not in voices and capabilities.get("any_voice") is not True:
        _not_legal("voice", asked, (*voices, *sorted(aliases)), "unknown_voice")
    return asked
