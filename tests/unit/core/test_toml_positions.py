"""Lines of keys, for every way TOML has to write them."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.toml_positions import Path, positions

TEXT = '''# [[provider]]
[[provider]]
name = "a"  # [[provider]]
headers = { "x-y" = "1", b.c = 2 }
text = """
[[provider]]
name = 3 "" x"""
other = \'\'\'
name = 1
\'\'\'
[[route]]
model = 'm # ]'
price = [
  { unit = "a", usd = "1" },  # {
  { unit = "b",
    usd = "2", when = { mode = "std" } },
]
[[route]]
price = [{unit="x"}, [1, [2]], "[[x]]"]
[route.when]
z = 1979-05-27 07:32:00
[[route.cost]]
a."b\\u0041" = 1.5
[[route.cost]]
'''


def test_every_form() -> None:
    lines = positions(TEXT)
    assert lines == {
        ("provider", 0): 2,
        ("provider", 0, "name"): 3,
        ("provider", 0, "headers"): 4,
        ("provider", 0, "headers", "x-y"): 4,
        ("provider", 0, "headers", "b"): 4,
        ("provider", 0, "headers", "b", "c"): 4,
        ("provider", 0, "text"): 5,
        ("provider", 0, "other"): 8,
        ("route", 0): 11,
        ("route", 0, "model"): 12,
        ("route", 0, "price"): 13,
        ("route", 0, "price", 0): 14,
        ("route", 0, "price", 0, "unit"): 14,
        ("route", 0, "price", 0, "usd"): 14,
        ("route", 0, "price", 1): 15,
        ("route", 0, "price", 1, "unit"): 15,
        ("route", 0, "price", 1, "usd"): 16,
        ("route", 0, "price", 1, "when"): 16,
        ("route", 0, "price", 1, "when", "mode"): 16,
        ("route", 1): 18,
        ("route", 1, "price"): 19,
        ("route", 1, "price", 0): 19,
        ("route", 1, "price", 0, "unit"): 19,
        ("route", 1, "price", 1): 19,
        ("route", 1, "price", 1, 0): 19,
        ("route", 1, "price", 1, 1): 19,
        ("route", 1, "price", 1, 1, 0): 19,
        ("route", 1, "price", 2): 19,
        ("route", 1, "when"): 20,
        ("route", 1, "when", "z"): 21,
        ("route", 1, "cost", 0): 22,
        ("route", 1, "cost", 0, "a"): 23,
        ("route", 1, "cost", 0, "a", "bA"): 23,
        ("route", 1, "cost", 1): 24,
    }


def test_line_ends_of_windows_count_once() -> None:
    assert positions(TEXT.replace("\n", "\r\n")) == positions(TEXT)


def paths(value: object, path: Path = ()) -> set[Path]:
    found: set[Path] = {path} if path else set()
    members: Any = ()
    if isinstance(value, dict):
        members = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    for key, member in members:
        found |= paths(member, (*path, key))
    return found


PIECES = st.sampled_from(
    [
        *("[[a]]", "[[b]]", "[a.t]", "[[a.l]]", "x = 1", "y = [1, [2, 3],\n]", "'q w' = '#'"),
        *(
            's = """\n[[a]]\n""" # x',
            "t = { u = [ { v = 1 } ], w.z = 2 }",
            "# [[a]]",
            "",
            "d.e = 1.5",
        ),
    ]
)


@given(st.lists(PIECES, max_size=12))
def test_it_finds_the_same_keys_as_the_parser(pieces: list[str]) -> None:
    text = "\n".join(pieces)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = positions(text)
    # an array of tables as such has no line of its own; its elements have
    wanted = {path for path in paths(values) if path not in (("a",), ("b",)) and path[-1] != "l"}
    assert wanted <= set(lines)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
