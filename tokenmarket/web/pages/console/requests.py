"""The requests of an organisation: filters in the address, histogram, live list, receipts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from tokenmarket.core.catalog import OPERATIONS
from tokenmarket.reports.asking import (
    RANGES,
    SEARCH_WORDS,
    Asked,
    BadFilter,
    cursor,
    read_asked,
)
from tokenmarket.reports.names import Names, names_of
from tokenmarket.reports.requests import Listing, models_meant
from tokenmarket.store.usage_sums import values_between
from tokenmarket.web.pages.console.contents import offer
from tokenmarket.web.pages.drawn import histogram
from tokenmarket.web.pages.receipt_view import receipt_view
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit

SEEN = "seen"  # what a live list has already; not part of what is asked


async def listing(visit: Visit) -> Response:
    """The list, or its fragment: 204 if nothing has changed since ``seen``."""
    org_id = visit.params["org"]
    async with visit.parts.database.read() as conn:
        names = await names_of(conn, org_id)
    asked, problems = read_filters(visit)
    shown = await list_context(visit, org_id, names, asked, visit.url("@/requests"))
    if shown is None:
        return Response(status_code=204)
    return await visit.render("console/requests.html", problems=problems, **shown)


async def list_context(
    visit: Visit, org_id: str | None, names: Names, asked: Asked, base: str, **kept: str
) -> dict[str, Any] | None:
    """What a list of requests shows, of one organisation or of all; None: what the page has already
    is still right. ``kept``: further members of the list's address."""
    reports = visit.parts.reports.requests
    meant = models_meant(asked.text, visit.parts.catalog.current.models)
    found = await reports.listing(org_id, asked, names, meant)
    mark = fingerprint(found)
    if visit.fragment and visit.query.get(SEEN) == mark:
        return None
    bars = await reports.histogram(org_id, asked, names, meant)
    return {
        "nav": "requests",
        "asked": asked,
        "names": names,
        "found": found,
        "drawn": None if bars is None else histogram(visit, bars.columns),
        "counted_from_us": None if bars is None else bars.counted_from_us,
        "ranges": range_names(visit),
        "choices": await choices(visit, org_id, asked, names),
        "given": given(visit),
        "narrowed": narrowed(asked),
        "base": base,
        **links(visit, base, found, mark, **kept),
    }


def read_filters(visit: Visit, default: str = "7d") -> tuple[Asked, dict[str, str]]:
    """What the address asks for; what of it cannot be understood is left out and told."""
    values = {name: value for name, value in visit.query.items() if name != SEEN}
    problems: dict[str, str] = {}
    while True:
        try:
            return read_asked(values, visit.time_zone, visit.now_us, default=default), problems
        except BadFilter as error:
            problems[error.field] = visit._(str(error))
            values.pop(error.field, None)
            if error.field == "from":  # the two belong together
                values.pop("to", None)


def fingerprint(found: Listing) -> str:
    """Changes when the list does."""
    lines = [(line.request_id, line.status) for line in (*found.running, *found.lines)]
    return hashlib.sha256(msgspec.json.encode(lines)).hexdigest()[:16]


def kept(query: Mapping[str, str], **changes: str) -> str:
    """The filters of an address as a query, with changes; empty ones are left out."""
    values = {name: query.get(name, "") for name in SEARCH_WORDS} | changes
    text = urlencode({name: value for name, value in values.items() if value})
    return f"?{text}" if text else ""


def links(visit: Visit, base: str, found: Listing, mark: str, **further: str) -> dict[str, Any]:
    """Addresses of the pages before and after, and what a live list asks for."""
    first = "cursor" not in visit.query
    live = first and "to" not in visit.query and not visit.query.get("q", "").startswith("req_")
    following = found.next_place
    return {
        "first": None if first else base + kept(visit.query, **further),
        "following": None
        if following is None
        else base + kept(visit.query, cursor=cursor(following), **further),
        "live": base + kept(visit.query, **{SEEN: mark}, **further) if live else None,
    }


def range_names(visit: Visit) -> list[tuple[str, str]]:
    """(value, text) of the ranges of time."""
    texts = {
        "1h": visit._("Last hour"),
        "24h": visit._("Last 24 hours"),
        "7d": visit.n_("Last {n} day", "Last {n} days", 7),
        "30d": visit.n_("Last {n} day", "Last {n} days", 30),
        "90d": visit.n_("Last {n} day", "Last {n} days", 90),
    }
    return [(name, texts[name]) for name in RANGES]


async def choices(
    visit: Visit, org_id: str | None, asked: Asked, names: Names
) -> dict[str, list[tuple[str, str]]]:
    """What the selects offer as (value, text): what there was in this time, and what is chosen."""
    columns = {
        "model": "model",
        "provider": "provider",
        "operation": "operation",
        "error": "error_code",
    }
    async with visit.parts.database.read() as conn:
        there = await values_between(conn, org_id, asked.span.from_us, asked.span.to_us)
    found: dict[str, list[tuple[str, str]]] = {
        "key": [(key.id, f"{key.name} …{key.last4}") for key in names.keys.values()],
        "member": list(names.members.items()),
        "team": list(names.teams.items()),
    }
    for name, column in columns.items():
        chosen = str(getattr(asked, name))
        if name == "operation" and chosen not in OPERATIONS:
            chosen = ""
        values = {value for dimension, value in there if dimension == column} | {chosen}
        found[name] = [(value, value) for value in sorted(values - {""})]
    return found


def given(visit: Visit) -> dict[str, str]:
    """What the fields of the filters show again as it was written."""
    return {name: visit.query.get(name, "") for name in SEARCH_WORDS}


def narrowed(asked: Asked) -> int:
    """How many filters there are beside time, text and status."""
    plain = (asked.model, asked.provider, asked.key, asked.member, asked.team, asked.operation)
    return sum(map(bool, (*plain, asked.error, asked.cost_over_nano, asked.latency_over_us)))


async def receipt(visit: Visit) -> Response:
    """One request, whole page or drawer."""
    org_id = visit.params["org"]
    told = await visit.parts.reports.requests.one(org_id, visit.params["id"])
    if told is None:
        raise visit.not_found()
    async with visit.parts.database.read() as conn:
        names = await names_of(conn, org_id)
    return await visit.render(
        "console/request.html",
        nav="requests",
        view=receipt_view(visit, told),
        names=names,
        back=visit.url("@/requests"),
        json_address=visit.url(f"@/requests/{visit.params['id']}/json"),
        content=offer(visit),
    )


async def receipt_json(visit: Visit) -> Response:
    """The document, as the API gives it."""
    org_id = visit.params["org"]
    told = await visit.parts.reports.requests.one(org_id, visit.params["id"])
    if told is None:
        raise visit.not_found()
    return Response(pretty(told.receipt), media_type="application/json")


def pretty(document: dict[str, Any]) -> bytes:
    """JSON for people."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


NOBODY_NAMES = Names({}, {}, {})

PAGES = [
    Page("/{lang}/console/{org}/requests", listing, member("view")),
    Page("/{lang}/console/{org}/requests/{id}", receipt, member("view")),
    Page("/{lang}/console/{org}/requests/{id}/json", receipt_json, member("view")),
]
