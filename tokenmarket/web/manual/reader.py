"""The documentation as it is asked for: pages drawn once, searched, and listed for programs."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from markupsafe import Markup, escape

from tokenmarket.store.text_index import MARK, UNMARK, Hit, TextIndex
from tokenmarket.web.manual.library import HOST, LANGS, Library, Page, load
from tokenmarket.web.manual.markdown import entries
from tokenmarket.web.manual.rendering import Rendered, render


class Found(msgspec.Struct, frozen=True):
    """One line of a search result."""

    url: str
    title: str
    heading: str
    snippet: Markup


class Manual:
    """``base_url``: the gateway as callers reach it; examples and lists of addresses use it.

    Drawing a page and making the index take some milliseconds: call them where pages are drawn.
    """

    def __init__(self, base_url: str, library: Library | None = None) -> None:
        self.library = load() if library is None else library
        self._base_url = base_url
        self._rendered: dict[tuple[str, str], Rendered] = {}
        self._index: TextIndex | None = None

    def rendered(self, page: Page) -> Rendered:
        key = page.lang, page.path
        found = self._rendered.get(key)
        if found is None:
            found = self._rendered[key] = render(page, self._base_url)
        return found

    def search(self, lang: str, text: str) -> list[Found]:
        if self._index is None:
            pages = [page for of in LANGS for page in self.library.ordered[of]]
            self._index = TextIndex(entry for page in pages for entry in entries(page))
        return [self._found(lang, hit) for hit in self._index.search(lang, text)]

    def _found(self, lang: str, hit: Hit) -> Found:
        page = self.library.by_path[lang, hit.path]
        url = f"{page.url}#{hit.anchor}" if hit.anchor else page.url
        return Found(url, hit.title, hit.heading, _marked(hit.snippet))

    def twin(self, page: Page) -> str:
        """The page as Markdown for programs."""
        text = f"# {page.title}\n\n> {page.description}\n\n{page.source}"
        return text.replace(HOST, self._base_url)

    def llms(self) -> str:
        """``/llms.txt``: what there is, with the addresses of the Markdown."""
        lines = [
            "# TokenMarket",
            "",
            "> A self-hosted AI model gateway: one OpenAI-compatible API for many providers, with",
            "> exact billing and a receipt for every request.",
            "",
            f"API base URL: {self._base_url}/api/v1",
            f"OpenAPI: {self._base_url}/api/v1/openapi.json",
        ]
        for lang, title in (("en", "Documentation"), ("zh", "文档")):
            lines += ["", f"## {title}", ""]
            lines += [
                f"- [{page.title}]({self._base_url}/{lang}/docs/{page.file}): {page.description}"
                for page in self.library.ordered[lang]
            ]
        return "\n".join(lines) + "\n"


def _marked(snippet: str) -> Markup:
    """Escaped, then marked: a page may quote HTML."""
    html = str(escape(snippet)).replace(MARK, "<mark>").replace(UNMARK, "</mark>")
    return Markup(html)  # noqa: S704 (escaped above)


@lru_cache(maxsize=4)
def manual(base_url: str) -> Manual:
    """The one of this process; the pages do not change while it runs."""
    return Manual(base_url)
