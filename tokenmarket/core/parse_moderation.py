"""``POST /moderations``: checks of a decoded body, its inputs, and the most it can consume.

A list of texts is as many inputs as it has texts; a list of parts (text, image_url) is one input,
as OpenAI reads it. Providers bill nothing, by request or by token.
"""

from __future__ import annotations

from typing import NoReturn

import msgspec

from tokenmarket.core.bodies import ModerationBody
from tokenmarket.core.errors import ApiError
from tokenmarket.core.pricing import Bound
from tokenmarket.core.requests import ProviderChoice, Request
from tokenmarket.core.wording import say

INPUTS_MAX = 2048
INPUT_OVERHEAD_TOKENS = 16
# A picture behind a URL: the dearest formula known (``core/parse.py``).
IMAGE_TOKENS_MAX = 20_000
_KINDS = "a text, a list of texts, or a list of parts (text, image_url)"

_decode_any = msgspec.json.Decoder().decode


def moderation_request(
    body: bytes, typed: ModerationBody, choice: ProviderChoice | None
) -> Request:
    """The typed request with its bound. Raises ApiError(REQUEST_001)."""
    images = _check(typed)
    inputs = 1 if isinstance(typed.input, str) else len(typed.input)
    tokens = len(body) + INPUT_OVERHEAD_TOKENS * inputs + IMAGE_TOKENS_MAX * images
    return Request(
        operation="moderation",
        model=typed.model,
        body=body,
        typed=typed,
        choice=choice,
        models=tuple(typed.models or ()),
        bound=Bound(any_units=(("request", 1), ("input_token", tokens))),
    )


def text_inputs(typed: ModerationBody) -> list[str] | None:
    """The inputs as texts, one result each; None where pictures are among them."""
    if isinstance(typed.input, str):
        return [typed.input]
    texts: list[str] = []
    parts: list[str] = []
    for item in typed.input:
        if isinstance(item, str):
            texts.append(item)
        elif "text" not in item or _member(item, "type") != "text":
            return None
        else:
            parts.append(str(_member(item, "text")))
    return texts or ["\n".join(parts)]


def _check(typed: ModerationBody) -> int:
    """How many pictures there are."""
    given = typed.input
    if isinstance(given, str):
        if not given:
            _refuse("The input is empty.", "input", "empty_input")
        return 0
    if not given:
        _refuse("The list is empty.", "input", "empty_input")
    if len(given) > INPUTS_MAX:
        _refuse(
            say(
                "At most {inputs_max} inputs, these are {given}.",
                inputs_max=INPUTS_MAX,
                given=len(given),
            ),
            "input",
            "too_many_inputs",
        )
    texts = isinstance(given[0], str)
    images = 0
    for index, item in enumerate(given):
        path = f"input[{index}]"
        if isinstance(item, str) != texts:
            _refuse(
                say("Texts and parts cannot be mixed; expected {kinds}.", kinds=_KINDS),
                path,
                "mixed_input",
            )
        if not isinstance(item, str):
            images += _check_part(item, path)
        elif not item:
            _refuse("An empty input.", path, "empty_input")
    return images


def _check_part(part: dict[str, msgspec.Raw], path: str) -> int:
    kind = _member(part, "type")
    if kind == "text":
        text = _member(part, "text")
        if not isinstance(text, str) or not text:
            _refuse("A text part needs text.", f"{path}.text", "missing_text")
        return 0
    if kind != "image_url":
        _refuse("Expected 'text' or 'image_url'.", f"{path}.type", "invalid_value")
    try:
        url = msgspec.json.decode(part.get("image_url", b"{}"), type=dict[str, object]).get("url")
    except msgspec.DecodeError:
        url = None
    if not isinstance(url, str) or not url.startswith(("https://", "http://", "data:")):
        _refuse("Expected an http(s) or data URL.", f"{path}.image_url.url", "invalid_url")
    return 1


def _member(part: dict[str, msgspec.Raw], name: str) -> object:
    raw = part.get(name)
    return None if raw is None else _decode_any(raw)


def _refuse(message: str, param: str, reason: str) -> NoReturn:
    raise ApiError("REQUEST_001", message, param=param, reason=reason)
