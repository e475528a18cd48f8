"""Finds every sentence that an API error can be made of, by reading the source.

A sentence is the constant first argument of ``say``, or a constant where a message is passed on:
to ``ApiError``, to an exception of the domain that becomes one, or to a function that only passes
it on (``MESSAGE_AT``). What is neither is given as None: it could
reach a caller without a translation.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tokenmarket.core.errors import SUMMARIES
from tokenmarket.core.wording import DECODER_SENTENCES, WORDS

PACKAGE = Path(__file__).resolve().parents[2] / "tokenmarket"
# Which argument is the message: by the name of what is called.
MESSAGE_AT = {
    "ApiError": 1,
    "refuse": 0,
    "_refuse": 0,
    "form_fault": 0,
    "_invalid": 2,
    "_refusal": 1,
    "refusal": 1,
    "_forbidden": 0,
    "_no_room": 0,
    "Refused": 0,
    "NotThere": 0,
    "Taken": 0,
    "WrongEntry": 1,
    "BadFilter": 1,
}
# In these files the name stands for something else, or the message for somebody else.
OTHERWISE = ("sandbox/", "cli/", "upstream/", "store/", "catalog.py", "core/catalog")
IN_FILE = {
    "adapters/kit/video_orders.py": {"refuse": 1},
    "adapters/kit/pictures.py": {"refuse": 1},
    "core/parse.py": {"_invalid": 9},  # what the decoder said
    "tasks/submitting.py": {"Taken": 9},  # no exception
    "payments/fapiao.py": {"Refused": 9},  # the first of texts that stand beside their fields
    "web/front.py": {"_refuse": 9},
    "web/videos.py": {"_refuse": 9},
    "tasks/creating.py": {"_refuse": 9},
    "admission.py": {"_refuse": 9},
    "adapters/kit/openai_request.py": {"_refuse": 9},
    "web/manage/frame.py": {"_refuse": 9},
}


def _at(path: str, node: ast.Call) -> int | None:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if method in ("refuse", "_refuse", "_refusal", "refusal"):
        return 1 if method == "refuse" and path.startswith("adapters/") else None
    at = MESSAGE_AT.get(name or method)
    if at is not None and path.startswith("adapters/") and name == "refuse":
        at = 0 if "_speech" in path or "transcribe" in path else 1
    return IN_FILE.get(path, {}).get(name, at) if at is not None else None


def _sentences(node: ast.expr) -> Iterator[str | None]:
    """The constants of a message; None for what is put together in an unknown way."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _sentences(one)
            yield from _sentences(other)
        case ast.BoolOp(values=values):
            for value in values:
                yield from _sentences(value)
        case ast.Call(func=ast.Name(id="say" | "N_" | "said_by")):
            pass  # found by itself; a text of a page; an exception's own words
        case ast.Call(func=ast.Attribute(attr="_")):
            pass  # a page's, in the visitor's language
        case ast.Name() | ast.Attribute() | ast.Subscript():
            pass  # passed on, or chosen from what is said elsewhere
        case _:
            yield None


def spoken() -> Iterator[tuple[str | None, str]]:
    """(English template, where); None where the message cannot be known."""
    for text in (*SUMMARIES.values(), *DECODER_SENTENCES, *WORDS):
        yield text, "core/"
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE).as_posix()
        source = file.read_text()
        says = "from tokenmarket.core.wording import" in source  # elsewhere it is another function
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            where = f"{path}:{node.lineno}"
            if path == "core/wording.py":
                continue
            if says and isinstance(node.func, ast.Name) and node.func.id == "say":
                first = node.args[0]
                yield (first.value if isinstance(first, ast.Constant) else None), where
                continue
            if path.startswith(OTHERWISE):
                continue
            at = _at(path, node)
            if at is not None and at < len(node.args):
                for text in _sentences(node.args[at]):
                    yield text, where
