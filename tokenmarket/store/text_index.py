"""A search index over texts that the program brings along: SQLite's FTS5, in memory.

Nothing here is anybody's data and nothing is kept: the index is made from the documentation when
somebody searches for the first time. Chinese has no spaces, and FTS5's trigrams find nothing for
words of two characters; so every such character becomes a word of its own (``split``), and a run of
them is looked for as a phrase. What a person types never reaches FTS5's query language: it is taken
apart into words, and each is quoted.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable

import msgspec

QUERY_CHARS_MAX = 200
WORDS_MAX = 12
HITS_MAX = 30
SNIPPET_WORDS = 48
MARK, UNMARK = "\x02", "\x03"  # around what was found in a snippet

# No letter or digit, so FTS5 separates words by it; and it has no width, so it can be taken out.
_SEAM = "\u200b"
_WIDE = re.compile(r"[\u2e80-\u2fff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_WORD = re.compile(rf"{_WIDE.pattern}+|[^\W\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]+")

_TABLE = """
    CREATE VIRTUAL TABLE section USING fts5(
      lang UNINDEXED, path UNINDEXED, anchor UNINDEXED, title, heading, body,
      tokenize = 'porter unicode61'
    )
"""
_INSERT = "INSERT INTO section VALUES (?, ?, ?, ?, ?, ?)"
# A hit in a title counts most, then one in a heading.
_SEARCH = """
    SELECT path, anchor, title, heading, snippet(section, 5, ?, ?, '…', ?)
    FROM section WHERE section MATCH ? AND lang = ?
    ORDER BY bm25(section, 0, 0, 0, 8.0, 6.0, 1.0), rowid LIMIT ?
"""


class Entry(msgspec.Struct, frozen=True):
    """One section of a page: what is below one heading. ``anchor`` "" is the top of the page."""

    lang: str
    path: str
    anchor: str
    title: str
    heading: str
    body: str


class Hit(msgspec.Struct, frozen=True):
    """A section that was found; in ``snippet`` MARK and UNMARK stand around the words."""

    path: str
    anchor: str
    title: str
    heading: str
    snippet: str


class TextIndex:
    """Made once, then only read; any thread may search."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.execute(_TABLE)
        self._connection.executemany(
            _INSERT,
            [
                (e.lang, e.path, e.anchor, split(e.title), split(e.heading), split(e.body))
                for e in entries
            ],
        )

    def search(self, lang: str, text: str) -> list[Hit]:
        """Sections with all words of ``text``, or, where there is none, with some of them."""
        words = terms(text)
        if not words:
            return []
        with self._lock:
            return self._found(lang, " AND ".join(words)) or self._found(lang, " OR ".join(words))

    def _found(self, lang: str, query: str) -> list[Hit]:
        values = (MARK, UNMARK, SNIPPET_WORDS, query, lang, HITS_MAX)
        rows = self._connection.execute(_SEARCH, values).fetchall()
        return [
            Hit(path, anchor, joined(title), joined(heading), joined(snippet))
            for path, anchor, title, heading, snippet in rows
        ]


def split(text: str) -> str:
    """Every Chinese character a word of its own, for people still the same text."""
    return _WIDE.sub(lambda found: f"{_SEAM}{found[0]}{_SEAM}", text)


def joined(text: str) -> str:
    """``split`` undone; marks that touch become one."""
    return text.replace(_SEAM, "").replace(UNMARK + MARK, "")


def terms(text: str) -> list[str]:
    """What a person typed as terms of FTS5, each quoted: the last letters of a word may be missing,
    Chinese is a phrase."""
    found: list[str] = []
    for word in _WORD.findall(text[:QUERY_CHARS_MAX])[:WORDS_MAX]:
        quoted = '"' + split(word).replace('"', '""') + '"'
        found.append(quoted if _WIDE.match(word) else quoted + "*")
    return found
