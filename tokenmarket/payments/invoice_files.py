"""An issued invoice as PDF and as CSV; the texts are handed in, in the reader's language.

The PDF is drawn by reportlab with its font for Chinese (STSong-Light, one of Adobe's standard
fonts, which viewers bring themselves): nothing is embedded; text can be copied and searched.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from tokenmarket.core.csv_rows import csv_text

_FONT = "STSong-Light"
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 547, 794, 60  # of an A4 page, in points
_SIZE, _STEP = 9, 14


class Column(NamedTuple):
    """``end`` is where the column ends, in points; numbers are set flush right."""

    head: str
    start: int
    end: int
    number: bool = False


class Sheet(NamedTuple):
    """Everything that is on the paper, as text."""

    title: str
    facts: Sequence[tuple[str, str]]
    parties: Sequence[tuple[str, Sequence[str]]]
    heads: tuple[str, str, str, str, str]  # model, unit, quantity, unit price, amount
    rows: Sequence[tuple[str, str, str, str, str]]
    totals: Sequence[tuple[str, str]]
    notes: Sequence[str]


def csv_file(sheet: Sheet) -> str:
    """The same numbers for a spreadsheet."""
    head: list[Sequence[str]] = [[sheet.title]]
    head += [[term, value] for term, value in sheet.facts]
    lines: list[Sequence[str]] = [sheet.heads, *sheet.rows]
    ends = [[term, "", "", "", value] for term, value in sheet.totals]
    return csv_text([*head, [], *lines, *ends])


def pdf_file(sheet: Sheet) -> bytes:
    """A4 pages; takes some ten milliseconds, so pages call it in a thread."""
    return _Paper(sheet).drawn()


class _Paper:
    def __init__(self, sheet: Sheet) -> None:
        metrics: Any = importlib.import_module("reportlab.pdfbase.pdfmetrics")
        fonts: Any = importlib.import_module("reportlab.pdfbase.cidfonts")
        drawing: Any = importlib.import_module("reportlab.pdfgen.canvas")
        metrics.registerFont(fonts.UnicodeCIDFont(_FONT))
        self._width = metrics.stringWidth
        self._out = io.BytesIO()
        self._canvas = drawing.Canvas(self._out, pagesize=(595, 842), invariant=1)
        self._canvas.setTitle(sheet.title)
        self._sheet = sheet
        self._y = _TOP
        self._page = 1

    def drawn(self) -> bytes:
        sheet = self._sheet
        self._text(_LEFT, sheet.title, 18)
        self._y -= 26
        for term, value in sheet.facts:
            self._text(_LEFT, term)
            self._text(_LEFT + 120, value)
            self._y -= _STEP
        self._parties()
        self._table()
        self._y -= 6
        for term, value in sheet.totals:
            self._room()
            self._text(300, term)
            self._flush_right(_RIGHT, value)
            self._y -= _STEP
        self._y -= 12
        for note in sheet.notes:
            for line in self._wrapped(note, _RIGHT - _LEFT):
                self._room()
                self._text(_LEFT, line, 8)
                self._y -= 12
        self._foot()
        self._canvas.save()
        return self._out.getvalue()

    def _parties(self) -> None:
        self._y -= 12
        top = self._y
        lowest = top
        for number, (head, lines) in enumerate(self._sheet.parties):
            left = _LEFT + number * 260
            self._y = top
            self._text(left, head, 8)
            self._y -= _STEP
            for line in lines:
                for part in self._wrapped(line, 240):
                    self._text(left, part)
                    self._y -= _STEP
            lowest = min(lowest, self._y)
        self._y = lowest - 16

    def _table(self) -> None:
        model, unit, quantity, price, amount = self._sheet.heads
        columns = (
            Column(model, _LEFT, 205),
            Column(unit, 210, 300),
            Column(quantity, 300, 380, True),
            Column(price, 380, 465, True),
            Column(amount, 465, _RIGHT, True),
        )
        self._heads(columns)
        for row in self._sheet.rows:
            cells = [
                self._wrapped(text, column.end - column.start)
                for text, column in zip(row, columns, strict=True)
            ]
            if self._room(max(map(len, cells)) * _STEP):
                self._heads(columns)
            top = self._y
            for parts, column in zip(cells, columns, strict=True):
                self._y = top
                for part in parts:
                    if column.number:
                        self._flush_right(column.end, part)
                    else:
                        self._text(column.start, part)
                    self._y -= _STEP
            self._y = top - max(map(len, cells)) * _STEP
            self._rule()

    def _heads(self, columns: Sequence[Column]) -> None:
        for column in columns:
            if column.number:
                self._flush_right(column.end, column.head, 8)
            else:
                self._text(column.start, column.head, 8)
        self._y -= 6
        self._rule()
        self._y -= 6

    def _rule(self) -> None:
        self._canvas.setLineWidth(0.4)
        self._canvas.line(_LEFT, self._y + 9, _RIGHT, self._y + 9)
        self._y -= 2

    def _room(self, height: int = _STEP) -> bool:
        """Whether a new page was begun because the rest of this one is too small."""
        if self._y - height >= _BOTTOM:
            return False
        self._foot()
        self._canvas.showPage()
        self._page += 1
        self._y = _TOP
        return True

    def _foot(self) -> None:
        y, self._y = self._y, 36
        self._flush_right(_RIGHT, f"{self._page}", 8)
        self._y = y

    def _text(self, x: int, text: str, size: int = _SIZE) -> None:
        self._canvas.setFont(_FONT, size)
        self._canvas.drawString(x, self._y, text)

    def _flush_right(self, x: int, text: str, size: int = _SIZE) -> None:
        self._canvas.setFont(_FONT, size)
        self._canvas.drawRightString(x, self._y, text)

    def _wrapped(self, text: str, width: int) -> list[str]:
        """Lines that fit; Chinese and long model names break anywhere, words where they can."""
        lines: list[str] = []
        rest = text
        while rest and self._width(rest, _FONT, _SIZE) > width:
            end = len(rest)
            while end > 1 and self._width(rest[:end], _FONT, _SIZE) > width:
                end -= 1
            space = rest.rfind(" ", 0, end)
            end = space if space > 0 else end
            lines.append(rest[:end])
            rest = rest[end:].lstrip()
        return [*lines, rest]
