"""A page's Markdown as tokens: headings with ids, links of the site, sections for the search.

HTML in a page is off: it would show as text. Headings carry their id (``## Title {#id}``), links to
other pages are file names (``../errors.md#auth_001``), so that they also work where the repository
is browsed. Code stands at the top level, never inside lists (``rendering.py`` takes it out).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

import msgspec
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tokenmarket.store.text_index import Entry
from tokenmarket.web.manual.library import Page

_ID = re.compile(r" \{#([a-z0-9_-]+)\}$")
# Chinese and full-width signs: a line break beside one of the latter is no space.
_WIDE = re.compile(r"[\u2e80-\u2fff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
_WIDE_SIGN = re.compile(r"[\u3000-\u303f\uff00-\uffef]")

_parser = MarkdownIt("commonmark", {"html": False}).enable("table")


class Heading(msgspec.Struct, frozen=True):
    """One heading below the title: ``level`` 2 to 4."""

    level: int
    id: str
    text: str


class Parsed(msgspec.Struct, frozen=True):
    tokens: list[Token]
    headings: list[Heading]


def parse(page: Page) -> Parsed:
    """Tokens ready to be rendered. Raises ValueError for a heading without an id."""
    tokens = _parser.parse(page.source)
    headings: list[Heading] = []
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            headings.append(_take_id(page, token, tokens[at + 1]))
        elif token.type == "inline":
            _mend(page, token.children or [])
        elif token.type == "th_open":
            token.attrSet("scope", "col")
    return Parsed(tokens, headings)


def _take_id(page: Page, opening: Token, inline: Token) -> Heading:
    match = _ID.search(inline.content)
    children = inline.children or []
    if match is None or not children:
        raise ValueError(f"{page.file}: the heading {inline.content!r} has no id {{#…}}")
    children[-1].content = children[-1].content[: -len(match[0])]
    opening.attrSet("id", match[1])
    return Heading(int(opening.tag[1]), match[1], plain(children))


def _mend(page: Page, children: list[Token]) -> None:
    for at, child in enumerate(children):
        if child.type == "link_open":
            child.attrSet("href", address(page, str(child.attrGet("href"))))
        elif child.type == "softbreak" and _joins(children, at):
            child.type, child.content = "text", ""


def _joins(children: list[Token], at: int) -> bool:
    """Whether the line break at this place is no space: between Chinese, and beside its signs."""
    before, after = plain(children[:at])[-1:], plain(children[at + 1 :])[:1]
    signs = _WIDE_SIGN.match(before) or _WIDE_SIGN.match(after)
    return bool(signs or (_WIDE.match(before) and _WIDE.match(after)))


def address(page: Page, link: str) -> str:
    """Where a link of a page leads on the site."""
    path, hash_sign, anchor = link.partition("#")
    if not path or path.startswith("/") or "://" in path:
        return link
    parts: list[str] = []
    for part in (PurePosixPath(page.path).parent / path.removesuffix(".md")).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    target = "/".join(parts)
    place = "" if target == "index" else f"/{target}"
    return f"/{page.lang}/docs{place}{hash_sign}{anchor}"


def html_of(tokens: list[Token]) -> str:
    return _parser.renderer.render(tokens, _parser.options, {})


def plain(tokens: Iterable[Token]) -> str:
    """The text of inline tokens."""
    return "".join(
        " " if token.type in ("softbreak", "hardbreak") else token.content for token in tokens
    )


def entries(page: Page) -> list[Entry]:
    """The page's sections for the search: the text below each heading, code included."""
    anchor, heading, texts = "", "", [page.description]
    found: list[Entry] = []

    def close() -> None:
        body = " ".join(texts)
        found.append(Entry(page.lang, page.path, anchor, page.title, heading, body))

    in_heading = False
    for token in parse(page).tokens:
        if token.type == "heading_open":
            close()
            anchor, texts, in_heading = str(token.attrGet("id")), [], True
        elif token.type == "inline" and in_heading:
            heading, in_heading = plain(token.children or []), False
        elif token.type == "inline":
            texts.append(plain(token.children or []))
        elif token.type == "fence" and not token.info.endswith(" output"):
            texts.append(token.content)
    close()
    return found
