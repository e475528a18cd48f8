"""What the modules of the management API are written against: a table of typed endpoints.

    ENDPOINTS = [
        Endpoint("GET", "/keys/{id}", "view", show, None, Key, "One API key.", "keys"),
        Endpoint("POST", "/keys", "keys", create, NewKey, Key, "Makes an API key.", "keys"),
    ]

A handler takes a Call and returns the answer's struct; it raises ``accounts.admin``'s Refused
(400), NotThere (404) and Taken (409), or ApiError. Bodies forbid unknown fields. Amounts are
decimal strings in USD, times unix seconds. ``summary``, ``description`` and the docstrings of the
structs are English msgids (``web/locale/zh/api.po``).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

import msgspec

from tokenmarket.core.errors import ApiError
from tokenmarket.core.roles import PERMISSIONS
from tokenmarket.core.wording import say

if TYPE_CHECKING:
    from tokenmarket.store.manage_keys import ManageKeyRow
    from tokenmarket.web.site.parts import Parts

PREFIX: Final = "/api/manage/v1"
OPERATOR: Final = "operator"  # the policy of what only an operator's key may do
ANY: Final = "any"  # the policy of what every management key may do
PAGE_DEFAULT, PAGE_MAX = 50, 200

Item = TypeVar("Item")
_WHOLE = re.compile(r"[0-9]{1,3}", re.ASCII)
_PARAMETER = re.compile(r"\{([a-z_]+)\}")


class Listing(msgspec.Struct, Generic[Item], kw_only=True):
    """One page of a list. Ask again with ``cursor`` = ``next_cursor`` until that is null."""

    object: Literal["list"] = "list"
    data: list[Item]
    next_cursor: str | None = None


class Deleted(msgspec.Struct, kw_only=True):
    """What was asked to go is gone."""

    object: Literal["deleted"] = "deleted"
    id: str


class Nothing(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An empty body."""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is no JSON. ``name`` is ours, never a caller's text."""

    name: str
    content_type: str
    body: bytes


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One authenticated request. ``org_id`` is empty and ``role`` ``operator`` for an operator's
    key; ``body`` is the struct that the endpoint names. ``query`` holds known names only."""

    parts: Parts
    key: ManageKeyRow
    org_id: str
    role: str
    actor: str  # key:mkey_…, for the audit trail
    params: dict[str, str]
    query: dict[str, str]
    body: Any
    now_us: int
    request_id: str
    address: str

    @property
    def limit(self) -> int:
        """How many items the page may have. Raises ApiError."""
        text = self.query.get("limit")
        if text is None:
            return PAGE_DEFAULT
        if _WHOLE.fullmatch(text) is None or not 1 <= int(text) <= PAGE_MAX:
            raise ApiError(
                "REQUEST_001", say("limit is 1 to {page_max}.", page_max=PAGE_MAX), param="limit"
            )
        return int(text)

    @property
    def cursor(self) -> str:
        """What the page before named, or an empty text."""
        text = self.query.get("cursor", "")
        if len(text) > 500:
            raise ApiError("REQUEST_001", "This is no cursor of ours.", param="cursor")
        return text


Handler = Callable[[Call], Awaitable[Any]]


class Endpoint(msgspec.Struct, frozen=True):
    """One row of the table. ``path`` is below PREFIX; ``policy`` a permission of ``core/roles.py``,
    OPERATOR or ANY. A parameter ``{model}`` at the end takes the rest of the path, as ids of models
    may hold slashes. ``query``: (name, description) of each known parameter; lists have ``limit``
    and ``cursor`` besides. With a ``file`` type the handler answers a File and ``answer`` is it."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    policy: str
    handler: Handler
    body: type[msgspec.Struct] | None
    answer: Any  # a struct, Listing[struct] or one that adds to it, or File
    summary: str
    tag: str
    description: str = ""
    query: tuple[tuple[str, str], ...] = ()
    file: str = ""  # the content type of an answer that is a file

    @property
    def is_list(self) -> bool:
        kind = getattr(self.answer, "__origin__", self.answer)
        return isinstance(kind, type) and issubclass(kind, Listing)

    @property
    def parameters(self) -> list[str]:
        """The names in the path."""
        return _PARAMETER.findall(self.path)

    @property
    def query_names(self) -> tuple[str, ...]:
        names = tuple(name for name, _ in self.query)
        return (*names, "limit", "cursor") if self.is_list else names


def page(rows: Sequence[Item], limit: int, cursor: Callable[[Item], str]) -> Listing[Item]:
    """A page of ``rows``, of which ``limit + 1`` were asked for."""
    shown = list(rows[:limit])
    return Listing(data=shown, next_cursor=cursor(shown[-1]) if len(rows) > limit else None)


def check_table(endpoints: Sequence[Endpoint]) -> None:
    """ValueError for a row that could be served wrongly; run when the table is made."""
    seen: set[tuple[str, str]] = set()
    for row in endpoints:
        where = f"{row.method} {row.path}"
        shape = (row.method, _PARAMETER.sub("{}", row.path))
        if shape in seen:
            raise ValueError(f"{where} stands twice in the table")
        seen.add(shape)
        if row.policy not in (*PERMISSIONS, OPERATOR, ANY):
            raise ValueError(f"{where}: there is no policy {row.policy!r}")
        if row.body is not None and not row.body.__struct_config__.forbid_unknown_fields:
            raise ValueError(f"{where}: {row.body.__name__} takes unknown fields")
        if (row.answer is File) != bool(row.file) or (row.file and row.method != "GET"):
            raise ValueError(f"{where}: a file is got, and has a type")
        if (row.body is not None) != (row.method in ("POST", "PUT", "PATCH")):
            raise ValueError(f"{where}: POST, PUT and PATCH have a body, GET and DELETE have none")
