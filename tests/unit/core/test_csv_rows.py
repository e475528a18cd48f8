"""CSV: reads back as it was written, runs nothing in a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.csv_rows import csv_text


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_characters="=+-@\t\r\n"), min_size=1), min_size=1)
    )
)
def test_what_is_written_can_be_read(rows: list[list[str]]) -> None:
    assert read(csv_text(rows)) == rows


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1+cmd|'/C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "  =1", '=HYPERLINK("x")'],
)
def test_formulas_are_text(text: str) -> None:
    [[cell]] = read(csv_text([[text]]))
    assert cell == f"'{text}"


@pytest.mark.parametrize("value", ["-12.50", "0.000000001", -3, 12])
def test_numbers_stay_numbers(value: str | int) -> None:
    assert read(csv_text([[value, None]])) == [[str(value), ""]]


def test_spreadsheets_are_told_the_encoding() -> None:
    assert csv_text([["余额"]]).encode()[:3] == b"\xef\xbb\xbf"
