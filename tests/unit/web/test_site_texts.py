"""Every text of a page has exactly one Chinese, and every Chinese has a page.

Texts are found the way ``pybabel extract`` finds them: in templates and in Python, by the names
``_``, ``n_``, ``p_`` and ``N_``; those of the API's description, which its page translates; and
those of its errors.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import jinja2.ext
from babel.messages.catalog import Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po

from tests.support.error_texts import spoken
from tokenmarket.web.manage.table import ENDPOINTS
from tokenmarket.web.openapi import document

PACKAGE = Path(__file__).resolve().parents[3] / "tokenmarket"
LOCALE = PACKAGE / "web" / "locale" / "zh"
KEYWORDS = {"_": None, "N_": None, "n_": (1, 2), "p_": ((1, "c"), 2)}
_PLACEHOLDER = re.compile(r"\{(\w*)(?:[!:]\w+)?\}")

Key = tuple[str | None, str]


def in_use() -> Iterator[tuple[Key, str]]:
    """(context, English) and where."""
    for path in sorted(PACKAGE.rglob("*.py")):
        with path.open("rb") as file:
            for line, message, _, context in extract("python", file, KEYWORDS, (), {}):
                english = message if isinstance(message, str) else message[0]
                yield (context, english), f"{path.relative_to(PACKAGE)}:{line}"
    for path in sorted((PACKAGE / "web" / "templates").rglob("*.html")):
        with path.open("rb") as file:
            for line, name, found, _ in jinja2.ext.babel_extract(
                file, ("_", "n_", "p_"), (), {"trimmed": "true"}
            ):
                texts = [found] if isinstance(found, str) else [t for t in found or () if t]
                if not texts:
                    continue
                key = (texts[0], texts[1]) if name == "p_" else (None, texts[0])
                yield key, f"{path.relative_to(PACKAGE)}:{line}"
    yield from (((None, text), where) for text, where in spoken() if text is not None)
    described = (document.public_document(), document.manage_document(ENDPOINTS))
    for text in sorted(set[str]().union(*map(document.texts, described))):
        yield (None, text), "the API's description"


def translations() -> list[tuple[str, Message]]:
    found: list[tuple[str, Message]] = []
    for path in sorted(LOCALE.glob("*.po")):
        with path.open("rb") as file:
            found += [(path.name, m) for m in read_po(file, locale="zh") if m.id]
    return found


def _key(message: Message) -> Key:
    return message.context, message.id if isinstance(message.id, str) else message.id[0]


def _chinese(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string)


def test_every_text_of_a_page_has_chinese() -> None:
    have = {_key(message) for _, message in translations()}
    missing = [f"{where}: {key}" for key, where in in_use() if key not in have]
    assert missing == []


def test_no_translation_is_fuzzy_empty_or_unused() -> None:
    used = {key for key, _ in in_use()}
    wrong = [
        f"{file}: {_key(message)}"
        for file, message in translations()
        if message.fuzzy or not all(_chinese(message)) or _key(message) not in used
    ]
    assert wrong == []


def test_files_agree_about_what_they_share() -> None:
    seen: dict[Key, tuple[str, tuple[str, ...]]] = {}
    for file, message in translations():
        first = seen.setdefault(_key(message), (file, _chinese(message)))
        assert first[1] == _chinese(message), (_key(message), first[0], file)


def test_placeholders_are_the_same_in_both_languages() -> None:
    for file, message in translations():
        _, english = _key(message)
        for chinese in _chinese(message):
            names = set(_PLACEHOLDER.findall(chinese))
            assert names <= set(_PLACEHOLDER.findall(english)) | {"n"}, (file, english)


def test_chinese_is_written_with_its_own_punctuation() -> None:
    """No half-width comma, stop or question mark between Chinese characters, no space before 。"""
    bad = re.compile(r"[\u4e00-\u9fff][,.?!;:](?:[\u4e00-\u9fff]|$)|\s[。，；：？！]")
    wrong = [
        f"{file}: {text}"
        for file, message in translations()
        for text in _chinese(message)
        if bad.search(text)
    ]
    assert wrong == []
