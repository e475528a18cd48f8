"""Kept contents: the two bodies of a request, and the switch of an organisation.

A content is loaded by itself, when somebody asks for it on a receipt: each reading is a line of the
audit log.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from starlette.responses import Response

from tokenmarket.accounts.admin import Refused
from tokenmarket.contents.service import Found
from tokenmarket.core.contents import Said, Side, readable, said
from tokenmarket.core.roles import may
from tokenmarket.web.pages.console.place import place
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit


class Offer(NamedTuple):
    """What a receipt says of its content. ``days`` 0: nothing is kept."""

    days: int
    allowed: bool  # by the operator
    may_read: bool
    may_switch: bool
    address: str
    settings: str


class Shown(NamedTuple):
    """One body as the page shows it; ``spoken`` is what the events of a stream come to."""

    side: Side
    text: str | None
    spoken: list[Said]


def offer(visit: Visit) -> Offer:
    """For the receipt of this page's request."""
    org, by = place(visit)
    contents = visit.parts.contents
    return Offer(
        contents.days_of(org),
        contents.days_max > 0,
        may(by.role, "contents"),
        may(by.role, "settings"),
        visit.url(f"@/requests/{visit.params['id']}/content"),
        visit.url("@/settings/contents"),
    )


async def content(visit: Visit) -> Response:
    """Its own page, or the part of the receipt."""
    org, by = place(visit)
    request_id = visit.params["id"]
    await _check(visit, org.id, request_id)
    found = await visit.parts.contents.read(org.id, request_id, now_us=visit.now_us, actor=by.actor)
    return await visit.render(
        "console/content.html",
        nav="requests",
        found=found,
        bodies=_bodies(visit, found),
        offer=offer(visit),
        request_id=request_id,
        receipt=visit.url(f"@/requests/{request_id}"),
    )


async def delete(visit: Visit) -> Response:
    """Of this request only; the receipt stays."""
    org, by = place(visit)
    request_id = visit.params["id"]
    await _check(visit, org.id, request_id)
    gone = await visit.parts.contents.delete(
        org.id, request_id, now_us=visit.now_us, actor=by.actor
    )
    flash = ("ok", visit._("The content is deleted.")) if gone else None
    return visit.redirect(visit.url(f"@/requests/{request_id}"), flash=flash)


async def switch(visit: Visit) -> Response:
    """Whether contents are kept, and for how long."""
    org, by = place(visit)
    contents = visit.parts.contents
    errors: dict[str, str] = {}
    text = visit.form.get("days", "")
    if visit.request.method == "POST":
        off = "off" in visit.form
        digits = text.isascii() and text.isdecimal() and len(text) <= 4
        try:
            days = None if off else int(text) if digits else 0
            await contents.switch(org.id, days, now_us=visit.now_us, actor=by.actor)
        except Refused as error:
            errors = {"days": visit._(str(error))}
        else:
            done = visit._("Content is no longer stored; what was stored is deleted.")
            flash = done if off else visit._("Saved.")
            return visit.redirect(visit.url("@/settings/contents"), ("ok", flash))
    return await visit.render(
        "console/contents.html",
        status=422 if errors else 200,
        errors=errors,
        days=contents.days_of(org),
        days_max=contents.days_max,
        entry=text or contents.days_of(org) or min(30, contents.days_max),
    )


async def _check(visit: Visit, org_id: str, request_id: str) -> None:
    """Raises Answered(404) for a request of nobody or of somebody else."""
    if await visit.parts.reports.requests.one(org_id, request_id) is None:
        raise visit.not_found()


def _bodies(visit: Visit, found: Found) -> list[tuple[str, Shown]]:
    """(title, body)."""
    content = found.content
    if content is None:
        return []
    bodies = [(visit.p_("body", "Request"), _shown(content.request))]
    if content.answer is not None:
        bodies.append((visit.p_("body", "Answer"), _shown(content.answer)))
    return bodies


def _shown(side: Side) -> Shown:
    text = side.text
    if text is None:
        return Shown(side, None, [])
    if side.streamed:
        return Shown(side, text, said(text))
    try:
        return Shown(side, readable(text), [])
    except (msgspec.MsgspecError, RecursionError):  # no JSON, or the beginning of it
        return Shown(side, text, [])


_CONTENT = "/{lang}/console/{org}/requests/{id}/content"
PAGES = [
    Page(_CONTENT, content, member("contents")),
    Page(f"{_CONTENT}/delete", delete, member("contents"), ("POST",)),
    Page(
        "/{lang}/console/{org}/settings/contents",
        switch,
        member("settings"),
        ("GET", "POST"),
        step_up=True,
    ),
]
