"""Rows as CSV (RFC 4180) that a spreadsheet opens without running anything.

A cell that begins with a formula's sign gets an apostrophe before it; a plain number does not,
because it computes nothing. The text begins with a byte order mark: spreadsheets then read UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

CONTENT_TYPE = "text/csv; charset=utf-8"
_BYTE_ORDER_MARK = "\ufeff"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_QUOTED = re.compile(r'[",\r\n]')


def csv_text(rows: Iterable[Iterable[str | int | None]]) -> str:
    """The whole document; None is an empty cell."""
    lines = [",".join(map(_cell, row)) for row in rows]
    return _BYTE_ORDER_MARK + "".join(f"{line}\r\n" for line in lines)


def _cell(value: str | int | None) -> str:
    if value is None:
        return ""
    text = str(value)
    if text.lstrip(" ").startswith(_FORMULA) and _NUMBER.fullmatch(text) is None:
        text = f"'{text}"
    if _QUOTED.search(text):
        text = '"{}"'.format(text.replace('"', '""'))
    return text
