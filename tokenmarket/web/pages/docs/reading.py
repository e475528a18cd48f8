"""The documentation: pages, their Markdown twins, the search, ``/llms.txt``."""

from __future__ import annotations

from typing import Any

from starlette.responses import RedirectResponse, Response

from tokenmarket.core.texts import N_
from tokenmarket.web.manual.reader import Manual, manual
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import PUBLIC
from tokenmarket.web.site.visit import Visit

SECTIONS = {
    "start": N_("Getting started"),
    "api": N_("API"),
    "guides": N_("Guides"),
    "migrate": N_("Migrating"),
    "operate": N_("Running it"),
    "more": N_("More"),
}
CACHE = "public, max-age=300"


def _manual(visit: Visit) -> Manual:
    return manual(visit.parts.base_url())


def _menu(visit: Visit, found: Manual) -> dict[str, Any]:
    """What every page of the documentation shows at its left."""
    sections = [
        (visit._(SECTIONS[section]), pages) for section, pages in found.library.sections(visit.lang)
    ]
    return {"sections": sections, "manual": found, "nav": "docs"}


async def page(visit: Visit) -> Response:
    """One page; with ``.md`` behind its address, its Markdown."""
    found = _manual(visit)
    path = visit.params.get("path", "").rstrip("/")
    name = path.removesuffix(".md")
    if path == "index":
        return RedirectResponse(visit.url("/docs"), 308)
    shown = found.library.find(visit.lang, "" if name == "index" else name)
    if shown is None:
        raise visit.not_found()
    if path.endswith(".md"):
        return _text(found.twin(shown), "text/markdown; charset=utf-8")
    before, after = found.library.neighbours(shown)
    return await visit.render(
        "docs/page.html", page=shown, before=before, after=after, **_menu(visit, found)
    )


async def search(visit: Visit) -> Response:
    """Sections that have all the words of ``q``."""
    found = _manual(visit)
    words = visit.query.get("q", "").strip()
    return await visit.render("docs/search.html", words=words, **_menu(visit, found))


async def llms(visit: Visit) -> Response:
    """The list of all pages for programs."""
    return _text(_manual(visit).llms(), "text/plain; charset=utf-8")


def _text(text: str, media_type: str) -> Response:
    return Response(text, media_type=media_type, headers={"cache-control": CACHE})


# The last row takes every path below /docs: rows of other modules stand before it.
PAGES = [
    Page("/llms.txt", llms, PUBLIC),
    Page("/{lang}/docs", page, PUBLIC),
    Page("/{lang}/docs/search", search, PUBLIC),
    Page("/{lang}/docs/{path:path}", page, PUBLIC),
]
