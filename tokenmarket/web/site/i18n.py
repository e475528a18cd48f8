"""Texts in two languages: the English sentence is the key, Chinese comes from ``locale/zh/*.po``.

The files are read as they are when the first page is asked for; there is no compiling. In strict
mode (tests) a missing translation raises, otherwise the English text shows. One English word that
is two Chinese words takes a context: ``p_("metric", "Requests")``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from babel.messages.pofile import read_po

LANGUAGES = ("en", "zh")
HTML_LANG = {"en": "en", "zh": "zh-CN"}
LOCALE = {"en": "en_US", "zh": "zh_Hans_CN"}

# (context, singular) -> translations by plural form (Chinese has one)
Catalogue = dict[tuple[str | None, str], tuple[str, ...]]


class TextMissing(Exception):
    """A text has no Chinese; raised in strict mode only."""


class Texts:
    """All translations; ``strict`` raises TextMissing where one is absent."""

    def __init__(self, catalogue: Catalogue, *, strict: bool) -> None:
        self._catalogue = catalogue
        self._strict = strict

    def text(self, lang: str, english: str, context: str | None = None, /, **values: object) -> str:
        """The text in ``lang`` with ``{name}`` replaced by ``values``."""
        found = english if lang == "en" else self._find(english, context)[0]
        return found.format(**values) if values else found

    def count(self, lang: str, one: str, many: str, n: int, /, **values: object) -> str:
        """The text for a number of things; ``{n}`` stands for it."""
        if lang == "en":
            found = one if n == 1 else many
        else:
            found = self._find(one, None)[0]
            if found == one:
                found = many
        return found.format(n=n, **values)

    def chinese(self, english: str) -> str | None:
        """The Chinese of a text without context, for ``core.wording.said_in``."""
        found = self._catalogue.get((None, english))
        return None if found is None else found[0]

    def _find(self, english: str, context: str | None) -> tuple[str, ...]:
        found = self._catalogue.get((context, english))
        if found is None:
            if self._strict:
                raise TextMissing(f"no Chinese for {english!r} (context {context!r})")
            return (english,)
        return found


def load(*, strict: bool) -> Texts:
    """All texts of the package."""
    return Texts(read_catalogue(), strict=strict)


@cache
def read_catalogue() -> Catalogue:
    """Read every ``locale/zh/*.po`` of the package."""
    catalogue: Catalogue = {}
    folder = files("tokenmarket.web") / "locale" / "zh"
    for entry in sorted(folder.iterdir(), key=lambda found: found.name):
        if not entry.name.endswith(".po"):
            continue
        with entry.open("rb") as file:
            for message in read_po(file, locale="zh", abort_invalid=True):
                if not message.id or message.fuzzy:
                    continue
                english = message.id if isinstance(message.id, str) else message.id[0]
                chinese = message.string
                forms = (chinese,) if isinstance(chinese, str) else tuple(chinese or ())
                if forms and forms[0]:
                    catalogue[(message.context, english)] = forms
    return catalogue
