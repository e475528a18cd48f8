"""A page as pieces that a template puts together: HTML of prose, and code on its own.

Code is left to the template, because its frame (copy button, tabs, their names) is in the visitor's
language and of the visitor's choice. Blocks of shell, Python and JavaScript that follow each other
are one group of tabs. Everything else is the same for everybody and rendered once.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from markdown_it.token import Token
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers.configs import IniLexer, NginxConfLexer, TOMLLexer
from pygments.lexers.data import JsonLexer
from pygments.lexers.javascript import JavascriptLexer
from pygments.lexers.python import PythonLexer
from pygments.lexers.shell import BashLexer
from pygments.lexers.special import TextLexer
from pygments.lexers.textfmts import HttpLexer

from tokenmarket.web.manual.library import HOST, Page
from tokenmarket.web.manual.markdown import Heading, html_of, parse, plain

OUTPUT = "output"
# What people see of a language (in tabs a shell block is a curl), and who colours it.
LANGUAGES: dict[str, tuple[str, Lexer]] = {
    "sh": ("Shell", BashLexer()),
    "python": ("Python", PythonLexer()),
    "js": ("JavaScript", JavascriptLexer()),
    "json": ("JSON", JsonLexer()),
    "toml": ("TOML", TOMLLexer()),
    "http": ("HTTP", HttpLexer()),
    "nginx": ("nginx", NginxConfLexer()),
    "ini": ("INI", IniLexer()),
    "text": ("Text", TextLexer()),
}
_TABS = {"sh": "curl", "python": "Python", "js": "JavaScript"}

_formatter = HtmlFormatter[str](nowrap=True)


class Code(msgspec.Struct, frozen=True):
    """``name`` is a language, a file's name, or OUTPUT."""

    name: str
    text: str
    html: Markup


class Piece(msgspec.Struct, frozen=True):
    """``html`` of prose, else one block of code or several as tabs."""

    kind: Literal["html", "code", "tabs"]
    html: Markup = Markup()
    code: tuple[Code, ...] = ()

    @property
    def tabs(self) -> list[tuple[str, str, Markup]]:
        """As the macro ``code_tabs`` takes them."""
        return [(code.name, code.text, code.html) for code in self.code]


class Rendered(msgspec.Struct, frozen=True):
    pieces: tuple[Piece, ...]
    headings: tuple[Heading, ...]


def render(page: Page, base_url: str) -> Rendered:
    """``base_url``: the gateway as callers reach it, for the examples."""
    parsed = parse(msgspec.structs.replace(page, source=page.source.replace(HOST, base_url)))
    pieces: list[Piece] = []
    prose: list[Token] = []
    group: list[Token] = []

    def close_prose() -> None:
        if prose:
            pieces.append(Piece("html", Markup(_html(prose))))  # noqa: S704 (our own files, HTML off)
            prose.clear()

    def close_group() -> None:
        if len(group) > 1:
            codes = tuple(_code(token, _TABS[_language(token)]) for token in group)
            pieces.append(Piece("tabs", code=codes))
        elif group:
            pieces.append(Piece("code", code=(_code(group[0]),)))
        group.clear()

    for token in parsed.tokens:
        if token.type != "fence":
            close_group()
            prose.append(token)
            continue
        close_prose()
        languages = [_language(one) for one in group]
        fits = _language(token) in _TABS and not token.info.endswith(f" {OUTPUT}")
        if not fits or _language(token) in languages:
            close_group()
        if fits:
            group.append(token)
        else:
            pieces.append(Piece("code", code=(_code(token),)))
    close_prose()
    close_group()
    return Rendered(tuple(pieces), tuple(parsed.headings))


def _language(token: Token) -> str:
    return token.info.partition(" ")[0]


def _code(token: Token, name: str = "") -> Code:
    language, _, kind = token.info.partition(" ")
    usual, lexer = LANGUAGES[language]
    if not name:
        name = kind if kind == OUTPUT or "." in kind else usual
    html = Markup(highlight(token.content, lexer, _formatter))  # noqa: S704 (Pygments escapes)
    return Code(name, token.content, html)


def _html(tokens: list[Token]) -> str:
    """Tables scroll sideways inside a frame that says what it is; headings get a link to
    themselves."""
    heading = ""
    shown: list[Token] = []
    for at, token in enumerate(tokens):
        if token.type == "heading_close":
            heading = plain(tokens[at - 1].children or [])
            anchor = tokens[at - 2].attrGet("id")
            link = (
                f'<a class="anchor" href="#{escape(anchor)}" aria-hidden="true" tabindex="-1">#</a>'
            )
            shown += [Token("html_inline", "", 0, content=link), token]
        elif token.type == "table_open":
            label = escape(heading)
            frame = f'<div class="tablewrap" tabindex="0" role="group" aria-label="{label}">'
            shown += [Token("html_block", "", 0, content=frame), token]
        elif token.type == "table_close":
            shown += [token, Token("html_block", "", 0, content="</div>")]
        else:
            shown.append(token)
    return html_of(shown)
