"""Moderations: OpenAI's shape and categories, decided by the short lists of words below.

Good for trying out an integration, useless as protection: it finds these words and nothing else.
Pictures are accepted and not looked at.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

import msgspec

from tokenmarket.sandbox.behaviour import Script, behaviour, early, shape
from tokenmarket.sandbox.bodies import INPUTS_MAX, ImageUrl, Metadata, Refused
from tokenmarket.sandbox.calls import Call
from tokenmarket.sandbox.forms import read_body

MODEL = "sandbox-moderation"
CHARACTERS_MAX = 512 * 1024  # one request must not stop the others for long

# Category -> what gives it away. English is found as whole words, Chinese anywhere.
WORDS: dict[str, tuple[str, ...]] = {
    "harassment": ("idiot", "moron", "loser", "白痴", "蠢货"),
    "harassment/threatening": ("i will hurt you", "i will find you", "弄死你", "我要打你"),
    "hate": ("subhuman", "vermin people", "劣等民族"),
    "hate/threatening": ("exterminate them", "消灭他们"),
    "illicit": ("steal a car", "shoplift", "fake passport", "偷车", "假护照"),
    "illicit/violent": ("build a bomb", "make a bomb", "制造炸弹", "做炸弹"),
    "self-harm": ("suicide", "self-harm", "自杀", "自残"),
    "self-harm/intent": ("kill myself", "end my life", "我想自杀", "不想活了"),
    "self-harm/instructions": ("how to cut myself", "ways to kill myself", "自杀方法"),
    "sexual": ("porn", "nude", "色情", "裸照"),
    "sexual/minors": ("underage porn", "儿童色情"),
    "violence": ("kill", "murder", "stab", "杀人", "谋杀"),
    "violence/graphic": ("gore", "dismember", "肢解", "血腥"),
}
_PICTURES_COUNT = frozenset(
    {
        "self-harm",
        "self-harm/intent",
        "self-harm/instructions",
        "sexual",
        "violence",
        "violence/graphic",
    }
)
_FOUND_SCORE = 0.97
_CLEAN_SCORE = 0.0001


def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    parts = (rf"\b{re.escape(word)}\b" if word.isascii() else re.escape(word) for word in words)
    return re.compile("|".join(parts), re.IGNORECASE)


_PATTERNS = {category: _pattern(words) for category, words in WORDS.items()}


class ModerationPart(msgspec.Struct, frozen=True):
    """One entry of a list ``input``: text or picture."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None


class ModerationBody(msgspec.Struct, frozen=True):
    """``POST /moderations``. All parts together are one input, a list of strings is several."""

    input: (
        str
        | Annotated[list[str | ModerationPart], msgspec.Meta(min_length=1, max_length=INPUTS_MAX)]
    )
    model: str = MODEL
    metadata: Metadata | None = None


def moderations(call: Call) -> Script:
    """``POST /moderations``. Raises Refused."""
    body, _ = read_body(call, ModerationBody)
    asked = behaviour(body.model, "moderation", call.asked, body.metadata)
    failed = early(asked)
    if failed is not None:
        return failed
    inputs = _inputs(body)
    if sum(len(text) for text, _ in inputs) > CHARACTERS_MAX:
        raise Refused(f"More than {CHARACTERS_MAX} characters in all.", param="input")
    document: dict[str, object] = {
        "id": "modr-sandbox" + hashlib.blake2b(call.body, digest_size=12).hexdigest(),
        "model": body.model,
        "results": [_result(text, kinds) for text, kinds in inputs],
    }
    if asked.usage:
        document["usage"] = msgspec.Raw(asked.usage)
    return shape(asked, [msgspec.json.encode(document)], stream=False)


def _inputs(body: ModerationBody) -> list[tuple[str, tuple[str, ...]]]:
    """Each input as (text, kinds of its parts)."""
    rows = [body.input] if isinstance(body.input, str) else body.input
    texts = [row for row in rows if isinstance(row, str)]
    parts = [row for row in rows if isinstance(row, ModerationPart)]
    if texts and parts:
        raise Refused("'input' must be texts or parts, not mixed.", param="input")
    if texts:
        return [(text, ("text",)) for text in texts]
    for index, part in enumerate(parts):
        good = part.text is not None if part.type == "text" else part.image_url is not None
        if part.type not in ("text", "image_url") or not good:
            message = "A part of 'input' must be text with 'text' or image_url with 'image_url'."
            raise Refused(message, param=f"input[{index}]")
    kinds = sorted({"text" if part.type == "text" else "image" for part in parts}, reverse=True)
    return [("\n".join(part.text for part in parts if part.text), tuple(kinds))]


def _result(text: str, kinds: tuple[str, ...]) -> dict[str, object]:
    lower = text.lower()
    found = {  # looking for the plain words first is much faster than the patterns
        category: any(word in lower for word in words)
        and _PATTERNS[category].search(text) is not None
        for category, words in WORDS.items()
    }
    for category in WORDS:  # a finer category is one of its parent, too
        parent = category.partition("/")[0]
        found[parent] = found[parent] or found[category]
    return {
        "flagged": any(found.values()),
        "categories": found,
        "category_scores": {
            category: _FOUND_SCORE if hit else _CLEAN_SCORE for category, hit in found.items()
        },
        "category_applied_input_types": {
            category: [kind for kind in kinds if kind == "text" or category in _PICTURES_COUNT]
            for category in WORDS
        },
    }
