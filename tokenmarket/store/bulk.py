"""Statements for the driver itself: text made once from Core, values in the order of its ``?``.

What runs many times a second goes past SQLAlchemy (``Database.write_at_once``). Many rows go in
with one statement, so that the SQL thread takes the interpreter lock once: ``executemany`` steps
row by row and asks for the lock at every step, next to a busy event loop; ``INSERT ... SELECT ...
FROM json_each`` needs one step but five times the CPU (measured, 25 columns). So the rows are one
VALUES list, padded to a power of two with rows of zeros that a WHERE drops: few distinct
statements, which stay prepared in the driver's cache. Zeros, not NULLs: for each None the driver
looks for an adapter first and holds the interpreter lock ten times as long (10,240 of them: 5.2
against 0.45 ms). About 3 µs per usage event.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import repeat

from sqlalchemy import Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

ROWS_MAX = 1024  # times 20 columns: below SQLite's 32,766 parameters
_ROWS_MIN = 8
_PADDING = 0  # where a row has its text


class Prepared:
    """A Core statement with named parameters, for ``sqlite3.Connection.execute``."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=sqlite.dialect(paramstyle="qmark"))
        if not isinstance(compiled, SQLCompiler):
            raise TypeError("only SELECT, INSERT, UPDATE and DELETE have parameters")
        self.text = str(compiled)
        self._names: Sequence[str] = compiled.positiontup or ()

    def values(self, named: Mapping[str, object]) -> tuple[object, ...]:
        """The parameters in their order. KeyError if one is missing."""
        return tuple([named[name] for name in self._names])


class BulkInsert:
    """Inserts into ``table``: ``columns`` differ by row, the first of them is always text;
    ``constants`` are the same in every row, and sent once."""

    def __init__(self, table: Table, columns: Sequence[str], constants: Sequence[str]) -> None:
        if {*columns, *constants} != {column.name for column in table.columns}:
            raise ValueError(f"{table.name}: every column once")
        # The names come from our own metadata, the values only ever as parameters.
        self._head = "".join(
            (
                "INSERT INTO ",
                table.name,
                " (",
                ", ".join((*constants, *columns)),
                ") SELECT ",
                "?, " * len(constants),
                "r.* FROM (VALUES ",
            )
        )
        self._row = "".join(("(", ", ".join(repeat("?", len(columns))), ")"))
        self._width = len(columns)
        self._statements: dict[int, str] = {}

    def _statement(self, size: int) -> str:
        found = self._statements.get(size)
        if found is None:
            rows = ", ".join(repeat(self._row, size))
            found = "".join((self._head, rows, ") AS r WHERE r.column1 IS NOT 0"))
            self._statements[size] = found
        return found

    def run(
        self, conn: sqlite3.Connection, constants: Sequence[object], values: Sequence[object]
    ) -> int:
        """``values``: row after row, in one flat list. One statement per 1,024 rows; returns how
        many statements there were."""
        width, statements = self._width, 0
        for start in range(0, len(values), ROWS_MAX * width):
            some = values[start : start + ROWS_MAX * width]
            rows = len(some) // width
            size = max(_ROWS_MIN, 1 << (rows - 1).bit_length())
            padding = repeat(_PADDING, (size - rows) * width)
            conn.execute(self._statement(size), (*constants, *some, *padding))
            statements += 1
        return statements
