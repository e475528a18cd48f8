"""The pages of the documentation as files: what there is, in which order, what is before and after.

A page is ``docs/LANG/PATH.md`` with front matter (title, description, section, order). Its path is
its name without ``.md``; ``index`` is the first page and has the empty path. Both languages have
the same paths (``tests/docs/test_manual.py``).
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

CONTENT = Path(__file__).parent / "content"
LANGS = ("en", "zh")
SECTIONS = ("start", "api", "guides", "migrate", "operate", "more")
HOST = "https://HOST"  # what pages write for the gateway's own address

_FRONT_MATTER = re.compile(r"---\n((?:[a-z]+: .+\n)+)---\n+")


class Page(msgspec.Struct, frozen=True):
    """One page of one language. ``source`` is its Markdown, without the front matter."""

    lang: str
    path: str
    title: str
    description: str
    section: str
    order: int
    source: str

    @property
    def url(self) -> str:
        """Its address below the site."""
        return f"/{self.lang}/docs/{self.path}" if self.path else f"/{self.lang}/docs"

    @property
    def file(self) -> str:
        """Its name below ``docs/LANG``."""
        return f"{self.path or 'index'}.md"


class Library(msgspec.Struct, frozen=True):
    """All pages: by language in reading order, and by language and path."""

    ordered: dict[str, tuple[Page, ...]]
    by_path: dict[tuple[str, str], Page]

    def find(self, lang: str, path: str) -> Page | None:
        return self.by_path.get((lang, path))

    def neighbours(self, page: Page) -> tuple[Page | None, Page | None]:
        """The pages before and after in reading order."""
        pages = self.ordered[page.lang]
        at = pages.index(page)
        before = pages[at - 1] if at else None
        after = pages[at + 1] if at + 1 < len(pages) else None
        return before, after

    def sections(self, lang: str) -> list[tuple[str, list[Page]]]:
        """(section, its pages), in reading order."""
        return [
            (section, [page for page in self.ordered[lang] if page.section == section])
            for section in SECTIONS
        ]


def read_page(text: str, lang: str, path: str) -> Page:
    """A page of its file's text. Raises ValueError if the front matter is not what it must be."""
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise ValueError(f"{lang}/{path}: a page begins with front matter between two lines ---")
    facts = dict(line.split(": ", 1) for line in match[1].splitlines())
    if set(facts) != {"title", "description", "section", "order"}:
        raise ValueError(f"{lang}/{path}: give title, description, section and order, once each")
    if facts["section"] not in SECTIONS:
        raise ValueError(f"{lang}/{path}: the sections are {', '.join(SECTIONS)}")
    return Page(
        lang,
        path,
        facts["title"],
        facts["description"],
        facts["section"],
        int(facts["order"]),
        text[match.end() :],
    )


def load(folder: Path = CONTENT) -> Library:
    """Every page of every language."""
    ordered: dict[str, tuple[Page, ...]] = {}
    by_path: dict[tuple[str, str], Page] = {}
    for lang in LANGS:
        pages: list[Page] = []
        root = folder / lang
        for file in sorted(root.rglob("*.md")):
            name = file.relative_to(root).with_suffix("").as_posix()
            path = "" if name == "index" else name
            pages.append(read_page(file.read_text(encoding="utf-8"), lang, path))
        pages.sort(key=lambda page: (SECTIONS.index(page.section), page.order, page.path))
        ordered[lang] = tuple(pages)
        by_path.update({(lang, page.path): page for page in pages})
    return Library(ordered, by_path)
