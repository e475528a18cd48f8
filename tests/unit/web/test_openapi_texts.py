"""Both descriptions of our APIs can be read in Chinese, to the last field."""

from __future__ import annotations

import re
from pathlib import Path

from babel.messages.pofile import read_po

import tokenmarket.web
from tokenmarket.web.manage.table import ENDPOINTS
from tokenmarket.web.openapi import document

ZH = Path(tokenmarket.web.__file__).parent / "locale" / "zh"


def chinese() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(ZH.glob("*.po")):
        with path.open("rb") as file:
            catalog = read_po(file, locale="zh_CN")
        found.update((str(one.id), str(one.string)) for one in catalog if isinstance(one.id, str))
    return found


def test_every_text_has_its_chinese() -> None:
    texts = document.texts(document.public_document())
    texts |= document.texts(document.manage_document(ENDPOINTS))
    assert len(texts) > 300
    known = chinese()
    assert sorted(text for text in texts if not known.get(text)) == []
    plain = [text for text in texts if re.search("[一-鿿]", known[text]) is None]
    assert plain == ["TokenMarket API"] or set(plain) <= {"TokenMarket API", "function."}
