"""Management endpoints for kept contents: the switch, the two bodies of a request. The functions of
the pages."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.accounts.admin import NotThere
from tokenmarket.contents.service import State
from tokenmarket.core.contents import DAYS_MAX, Side
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import OrgRow
from tokenmarket.web.manage.endpoint import Call, Deleted, Endpoint


class ContentStorage(msgspec.Struct, kw_only=True):
    """Whether bodies of requests are stored. ``days`` null: they are not; ``days_max``: the most
    that this installation allows, 0: none."""

    object: Literal["content_storage"] = "content_storage"
    days: int | None
    days_max: int


class ContentStorageChanges(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``days`` null stops it, and deletes everything that was stored."""

    days: Annotated[int, msgspec.Meta(ge=1, le=DAYS_MAX)] | None


class StoredBody(msgspec.Struct, kw_only=True):
    """One body. ``size`` is that of the whole body in bytes; ``cut``: ``text`` is only its
    beginning; ``text`` null: it was not text. ``files`` describes those of a form."""

    content_type: str
    size: int
    text: str | None
    cut: bool
    files: list[str]


class RequestContent(msgspec.Struct, kw_only=True):
    """Both bodies of a request; null unless ``state`` is kept. ``status`` is the answer's."""

    object: Literal["request_content"] = "request_content"
    id: str
    state: State
    status: int | None
    request: StoredBody | None
    answer: StoredBody | None


async def storage(call: Call) -> ContentStorage:
    async with call.parts.database.read() as conn:
        org = await rows.org_by_id(conn, call.org_id)
    if org is None:
        raise NotThere("There is no such organization.")
    return _storage(call, org)


async def switch(call: Call) -> ContentStorage:
    changes: ContentStorageChanges = call.body
    contents = call.parts.contents
    org = await contents.switch(call.org_id, changes.days, now_us=call.now_us, actor=call.actor)
    return _storage(call, org)


async def show(call: Call) -> RequestContent:
    request_id = await _own(call)
    found = await call.parts.contents.read(
        call.org_id, request_id, now_us=call.now_us, actor=call.actor
    )
    content = found.content
    return RequestContent(
        id=request_id,
        state=found.state,
        status=None if content is None else content.status,
        request=None if content is None else _body(content.request),
        answer=None if content is None or content.answer is None else _body(content.answer),
    )


async def delete(call: Call) -> Deleted:
    request_id = await _own(call)
    gone = await call.parts.contents.delete(
        call.org_id, request_id, now_us=call.now_us, actor=call.actor
    )
    if not gone:
        raise NotThere("Of this request nothing is stored.")
    return Deleted(id=request_id)


async def _own(call: Call) -> str:
    """The id of a request of the key's organisation. Raises NotThere."""
    request_id = call.params["id"]
    if await call.parts.reports.requests.one(call.org_id, request_id) is None:
        raise NotThere("There is no such request.")
    return request_id


def _storage(call: Call, org: OrgRow) -> ContentStorage:
    contents = call.parts.contents
    return ContentStorage(days=contents.days_of(org) or None, days_max=contents.days_max)


def _body(side: Side) -> StoredBody:
    return StoredBody(
        content_type=side.content_type,
        size=side.size,
        text=side.text,
        cut=side.cut,
        files=list(side.files),
    )


_TAG = "Content of requests"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/organization/content",
        "view",
        storage,
        None,
        ContentStorage,
        "Whether bodies of requests are stored.",
        _TAG,
    ),
    Endpoint(
        "PUT",
        "/organization/content",
        "settings",
        switch,
        ContentStorageChanges,
        ContentStorage,
        "Store bodies of requests, or stop and delete them.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/requests/{id}/content",
        "contents",
        show,
        None,
        RequestContent,
        "The bodies of a request.",
        _TAG,
        "Each reading is noted in the audit log.",
    ),
    Endpoint(
        "DELETE",
        "/requests/{id}/content",
        "contents",
        delete,
        None,
        Deleted,
        "Delete the bodies of a request.",
        _TAG,
    ),
]
