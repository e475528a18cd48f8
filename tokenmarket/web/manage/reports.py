"""Management endpoints for what happened: requests with receipts, usage, usage as CSV; for
operators the requests and the ledger of all organizations. The functions of the pages."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from tokenmarket.accounts.admin import NotThere
from tokenmarket.core.csv_rows import CONTENT_TYPE
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.wording import said_by, say
from tokenmarket.reports.asking import (
    FILTER_WORDS,
    SEARCH_WORDS,
    TIME_WORDS,
    Asked,
    BadFilter,
    cursor,
    read_asked,
)
from tokenmarket.reports.names import Names, namer, names_of
from tokenmarket.reports.requests import Line, models_meant
from tokenmarket.reports.usage import GROUPS, Sums, Usage, usage
from tokenmarket.reports.usage_csv import usage_csv
from tokenmarket.store import accounts as rows
from tokenmarket.store import report_ledger
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Endpoint, File, Listing
from tokenmarket.web.manage.organization import zone_of
from tokenmarket.web.openapi.objects import Receipt

_UTC = ZoneInfo("UTC")
_ROW = re.compile(r"[0-9]{1,15}")


class RequestLine(msgspec.Struct, kw_only=True):
    """One request in a list; its receipt has everything. ``charged`` is null while it runs."""

    object: Literal["request_line"] = "request_line"
    id: str
    organization_id: str
    key_id: str
    created_at: int
    status: str
    operation: str
    model: str
    provider: str
    failed_providers: list[str]
    error_code: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    first_byte_ms: float | None
    duration_ms: float | None
    charged: str | None


class RequestPage(Listing[RequestLine], kw_only=True):
    """One page of requests. ``searched_to`` is null unless the search stopped at its bound: then
    requests that are older than this unix time may match too, and ``next_cursor`` goes on there."""

    searched_to: int | None = None


class UsageSums(msgspec.Struct, kw_only=True):
    """Sums over finished requests; ``charged`` is a decimal string in USD."""

    requests: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    charged: str


class UsageGroup(msgspec.Struct, kw_only=True):
    """One group: ``id`` is the day, the model, the key; ``name`` is what people call it."""

    id: str
    name: str
    usage: UsageSums
    previous: UsageSums


class UsageCell(msgspec.Struct, kw_only=True):
    """One group on one day."""

    day: str
    id: str
    usage: UsageSums


class UsageReport(msgspec.Struct, kw_only=True):
    """Usage of a stretch of days in ``time_zone``, beside as many days before."""

    object: Literal["usage_report"] = "usage_report"
    first_day: str
    last_day: str
    time_zone: str
    group_by: str
    data: list[UsageGroup]
    days: list[UsageCell]
    total: UsageSums
    previous_total: UsageSums


class LedgerEntry(msgspec.Struct, kw_only=True):
    """One double entry of the ledger."""

    object: Literal["ledger_entry"] = "ledger_entry"
    id: str
    organization_id: str
    kind: str
    debit: str
    credit: str
    amount: str
    ref: str
    reason: str
    created_at: int


async def listing(call: Call) -> RequestPage:
    names, zone = await _about(call.parts, call.org_id)
    return await _listing(call, call.org_id, names, zone)


async def listing_of_all(call: Call) -> RequestPage:
    org_id = call.query.get("organization_id", "")
    if not org_id:
        return await _listing(call, None, Names({}, {}, {}), _UTC)
    names, zone = await _about(call.parts, org_id)
    return await _listing(call, org_id, names, zone)


async def _listing(call: Call, org_id: str | None, names: Names, zone: ZoneInfo) -> RequestPage:
    asked = _asked(call, zone, "7d")
    meant = models_meant(asked.text, call.parts.catalog.current.models)
    found = await call.parts.reports.requests.listing(org_id, asked, names, meant, call.limit)
    following = found.next_place
    to_us = found.searched_to_us
    return RequestPage(
        data=[_line(line) for line in (*found.running, *found.lines)],
        next_cursor=None if following is None else cursor(following),
        searched_to=None if to_us is None else to_us // 1_000_000,
    )


async def receipt(call: Call) -> Any:
    told = await call.parts.reports.requests.one(call.org_id, call.params["id"])
    if told is None:
        raise NotThere("There is no such request.")
    return told.receipt


async def receipt_of_any(call: Call) -> Any:
    requests = call.parts.reports.requests
    org_id = await requests.org_of(call.params["id"])
    told = None if org_id is None else await requests.one(org_id, call.params["id"])
    if told is None:
        raise NotThere("There is no such request.")
    return told.receipt


async def report(call: Call) -> UsageReport:
    found, names, group = await _usage(call)
    name = namer(group, names)
    span = found.span
    return UsageReport(
        first_day=span.first_day.isoformat(),
        last_day=span.last_day.isoformat(),
        time_zone=span.zone.key,
        group_by=group,
        data=[
            UsageGroup(
                id=row.name,
                name=name(row.name),
                usage=_sums(row.sums),
                previous=_sums(row.before),
            )
            for row in found.rows
        ],
        days=[
            UsageCell(day=cell.day.isoformat(), id=cell.name, usage=_sums(cell.sums))
            for cell in found.cells
        ],
        total=_sums(found.total),
        previous_total=_sums(found.total_before),
    )


async def report_csv(call: Call) -> File:
    found, names, group = await _usage(call)
    span = found.span
    return File(
        name=f"usage-{span.first_day}-{span.last_day}.csv",
        content_type=CONTENT_TYPE,
        body=(await asyncio.to_thread(usage_csv, found, namer(group, names))).encode(),
    )


async def ledger(call: Call) -> Listing[LedgerEntry]:
    place = call.cursor
    if place and _ROW.fullmatch(place) is None:
        raise ApiError("REQUEST_001", "This is no cursor of ours.", param="cursor")
    kind = call.query.get("kind", "")
    if kind and kind not in report_ledger.KINDS:
        kinds = ", ".join(report_ledger.KINDS)
        raise ApiError("REQUEST_001", say("kind is one of {kinds}.", kinds=kinds), param="kind")
    await call.parts.wallet.flush()
    async with call.parts.database.read() as conn:
        found = await report_ledger.ledger_page(
            conn,
            org_id=call.query.get("organization_id") or None,
            kind=kind or None,
            ref=call.query.get("ref") or None,
            before_row=int(place) if place else None,
            limit=call.limit,
        )
    return Listing(
        data=[
            LedgerEntry(
                id=entry.id,
                organization_id=entry.org_id,
                kind=entry.kind,
                debit=entry.debit,
                credit=entry.credit,
                amount=usd_from_nano(entry.amount_nano),
                ref=entry.ref,
                reason=entry.reason,
                created_at=entry.ts_us // 1_000_000,
            )
            for entry in found.entries
        ],
        next_cursor=None if found.next_row is None else str(found.next_row),
    )


# ------------------------------------------------------------------------------------------ parts


async def _about(parts: Any, org_id: str) -> tuple[Names, ZoneInfo]:
    """The names of an organization and the zone of its days."""
    async with parts.database.read() as conn:
        names = await names_of(conn, org_id)
        org = await rows.org_by_id(conn, org_id)
    return names, _UTC if org is None else zone_of(org)


def _asked(call: Call, zone: ZoneInfo, default: str) -> Asked:
    """Raises ApiError with the parameter that cannot be understood."""
    try:
        return read_asked(call.query, zone, call.now_us, default=default)
    except BadFilter as error:
        raise ApiError("REQUEST_001", said_by(error), param=error.field) from error


async def _usage(call: Call) -> tuple[Usage, Names, str]:
    names, zone = await _about(call.parts, call.org_id)
    group = call.query.get("group_by", "day")
    if group not in GROUPS:
        groups = ", ".join(GROUPS)
        raise ApiError(
            "REQUEST_001", say("group_by is one of {groups}.", groups=groups), param="group_by"
        )
    asked = _asked(call, zone, "30d")
    await call.parts.wallet.flush()
    return await usage(call.parts.database, call.org_id, asked, group, names), names, group


def _sums(some: Sums) -> UsageSums:
    return UsageSums(
        requests=some.requests,
        failed=some.failed,
        prompt_tokens=some.prompt_tokens,
        completion_tokens=some.completion_tokens,
        cached_tokens=some.cached_tokens,
        reasoning_tokens=some.reasoning_tokens,
        charged=usd_from_nano(some.charge_nano),
    )


def _line(line: Line) -> RequestLine:
    return RequestLine(
        id=line.request_id,
        organization_id=line.org_id,
        key_id=line.key_id,
        created_at=line.at_us // 1_000_000,
        status=line.status,
        operation=line.operation,
        model=line.model,
        provider=line.provider,
        failed_providers=list(line.failed_providers),
        error_code=line.error_code or None,
        prompt_tokens=line.prompt_tokens,
        completion_tokens=line.completion_tokens,
        first_byte_ms=line.first_byte_ms,
        duration_ms=line.duration_ms,
        charged=None if line.charge_nano is None else usd_from_nano(line.charge_nano),
    )


_DESCRIBED = {
    "range": "1h, 24h, 7d, 30d or 90d, in the organization's time zone.",
    "from": "The first day, as 2026-11-23, or unix seconds; instead of range.",
    "to": "The last day, included, or unix seconds.",
    "q": "The beginning of a request's id, or part of a model's name.",
    "status": "succeeded, failed, cancelled, rejected or running.",
    "model": "Requests of this model.",
    "provider": "Requests that this provider answered.",
    "key": "Requests of this API key, by its id.",
    "member": "Requests of keys that this member made, by the user's id.",
    "team": "Requests of this team's keys, by its id.",
    "operation": "Requests of this operation, as chat.",
    "error": "Requests that ended with this error code.",
    "cost_over": "Requests that were charged at least this, in USD.",
    "latency_over": "Requests that took at least this long, in seconds.",
    "group_by": "day, model, key, member, team, provider or operation.",
    "organization_id": "Of this organization only.",
    "kind": "topup, grant, expiry, capture, refund or adjustment.",
    "ref": "Entries of this request or payment, by its id.",
}


def _query(*names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, _DESCRIBED[name]) for name in names)


_TAG = "Requests and usage"
_USAGE_QUERY = _query(*TIME_WORDS, *FILTER_WORDS, "group_by")
ENDPOINTS = [
    Endpoint(
        "GET",
        "/requests",
        "view",
        listing,
        None,
        RequestPage,
        "Requests, newest first; running ones stand on the first page.",
        _TAG,
        query=_query(*SEARCH_WORDS),
    ),
    Endpoint(
        "GET", "/requests/{id}", "view", receipt, None, Receipt, "The receipt of a request.", _TAG
    ),
    Endpoint(
        "GET",
        "/usage",
        "view",
        report,
        None,
        UsageReport,
        "Usage by day, model, key, member, team, provider or operation.",
        _TAG,
        query=_USAGE_QUERY,
    ),
    Endpoint(
        "GET",
        "/usage.csv",
        "view",
        report_csv,
        None,
        File,
        "The same as a CSV file.",
        _TAG,
        query=_USAGE_QUERY,
        file="text/csv",
    ),
    Endpoint(
        "GET",
        "/admin/requests",
        OPERATOR,
        listing_of_all,
        None,
        RequestPage,
        "Requests of all organizations, newest first.",
        _TAG,
        query=_query("organization_id", *SEARCH_WORDS),
    ),
    Endpoint(
        "GET",
        "/admin/requests/{id}",
        OPERATOR,
        receipt_of_any,
        None,
        Receipt,
        "The receipt of a request of any organization.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/admin/ledger",
        OPERATOR,
        ledger,
        None,
        Listing[LedgerEntry],
        "Entries of the ledger of all organizations, newest first.",
        _TAG,
        query=_query("organization_id", "kind", "ref"),
    ),
]
