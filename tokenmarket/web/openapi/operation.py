"""What the tables of operations are made of."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

V1 = "/api/v1"
Example = dict[str, Any]


class Query(msgspec.Struct, frozen=True):
    """One parameter of the query; ``choices`` empty: any text."""

    name: str
    text: str
    choices: tuple[str, ...] = ()
    whole: tuple[int, int] | None = None  # an integer in these bounds


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path. ``also``: further paths that do the same. ``files``: the files of a
    form, of which the first ``files_required`` must be there; ``form`` says whether the body may,
    or must, be a form. ``audio``: the answer is sound. ``costs``: it is charged."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    id: str
    tag: str
    summary: str
    description: str = ""
    also: tuple[str, ...] = ()
    body: type[msgspec.Struct] | None = None
    required: tuple[str, ...] = ()  # beyond what the type says
    form: Literal["no", "also", "only"] = "no"
    files: tuple[str, ...] = ()
    files_required: int = 0
    query: tuple[Query, ...] = ()
    answer: Any = None
    stream: Any = None
    audio: bool = False
    binary: str = ""  # the media type of an answer that is a file
    costs: bool = False
    public: bool = False
    example: Example | None = None
    play: str = ""  # the page of the playground that does this
    codes: tuple[str, ...] = ()  # errors beyond those of every operation
