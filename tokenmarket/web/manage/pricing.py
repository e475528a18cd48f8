"""Management endpoints of the operator about prices: drafted, looked at, scheduled, published."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tokenmarket.backoffice import prices
from tokenmarket.core.catalog_rows import PriceEntry
from tokenmarket.core.errors import ApiError
from tokenmarket.core.price_terms import PriceTerms
from tokenmarket.core.wording import say
from tokenmarket.store import price_changes
from tokenmarket.store.price_changes import PriceChange as ChangeRow
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Endpoint, Listing, Nothing, page

_TAG = "supply"
_STATES = ("draft", "scheduled", "published", "cancelled", "failed")
_Text = Annotated[str, msgspec.Meta(max_length=2_000)]


class PriceRowBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One price row: a unit of the catalog, a decimal in USD, and when it holds."""

    unit: str
    usd: str
    when: dict[str, str] = {}
    context_above: int = 0


class PriceChangeBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A new price of one route. Without effective_at it holds as soon as it is scheduled."""

    model: str
    provider: str
    price: list[PriceRowBody]
    cost: list[PriceRowBody] = []
    markup_percent: str = "0"
    effective_at: int | None = None
    reason: _Text


class PriceDifference(msgspec.Struct, kw_only=True):
    """One row before and after, what it costs, and the margin; percentages are decimal strings."""

    unit: str
    when: dict[str, str]
    context_above: int
    before_usd: str | None
    after_usd: str | None
    cost_usd: str | None
    change_percent: str | None
    margin_percent: str | None


class PriceChange(msgspec.Struct, kw_only=True):
    """A dated price change and what it does."""

    object: Literal["price_change"] = "price_change"
    id: str
    model: str
    provider: str
    state: Literal["draft", "scheduled", "published", "cancelled", "failed"]
    effective_at: int
    published_at: int | None
    reason: str
    author: str
    markup_percent: str
    version_before: str | None
    version_after: str | None
    problem: str | None
    rows: list[PriceDifference]


async def list_changes(call: Call) -> Listing[PriceChange]:
    state = call.query.get("state")
    if state is not None and state not in _STATES:
        raise ApiError(
            "REQUEST_001",
            say("state is one of {states}.", states=", ".join(_STATES)),
            param="state",
        )
    async with call.parts.database.read() as conn:
        rows = await price_changes.listed(
            conn,
            model=call.query.get("model"),
            provider=call.query.get("provider"),
            states=None if state is None else (msgspec.convert(state, price_changes.State),),
            before_id=call.cursor or None,
            limit=call.limit + 1,
        )
    return page([_change(row) for row in rows], call.limit, lambda one: one.id)


async def draft_change(call: Call) -> PriceChange:
    body: PriceChangeBody = call.body
    terms = PriceTerms(_entries(body.price), _entries(body.cost), body.markup_percent)
    at_us = call.now_us if body.effective_at is None else body.effective_at * 1_000_000
    async with call.parts.database.begin() as conn:
        row = await prices.draft(
            conn,
            call.parts.catalog.shipped,
            (body.model, body.provider),
            terms,
            effective_us=at_us,
            reason=body.reason,
            now_us=call.now_us,
            actor=call.actor,
        )
    return _change(row)


async def show_change(call: Call) -> PriceChange:
    async with call.parts.database.read() as conn:
        return _change(await prices.find(conn, call.params["change"]))


async def schedule_change(call: Call) -> PriceChange:
    async with call.parts.database.begin() as conn:
        return _change(
            await prices.schedule(conn, call.params["change"], now_us=call.now_us, actor=call.actor)
        )


async def cancel_change(call: Call) -> PriceChange:
    async with call.parts.database.begin() as conn:
        return _change(
            await prices.cancel(conn, call.params["change"], now_us=call.now_us, actor=call.actor)
        )


def _change(row: ChangeRow) -> PriceChange:
    preview = prices.compare(row.terms_before or PriceTerms(), row.terms)
    return PriceChange(
        id=row.id,
        model=row.model,
        provider=row.provider,
        state=row.state,
        effective_at=row.effective_us // 1_000_000,
        published_at=row.decided_us // 1_000_000
        if row.state == "published" and row.decided_us
        else None,
        reason=row.reason,
        author=row.author,
        markup_percent=row.terms.markup_percent,
        version_before=row.version_before,
        version_after=row.version_after,
        problem=row.problem,
        rows=[
            PriceDifference(
                unit=one.unit,
                when=dict(one.when),
                context_above=one.context_above,
                before_usd=one.before_usd,
                after_usd=one.after_usd,
                cost_usd=one.cost_usd,
                change_percent=_percent(one.change_bp),
                margin_percent=_percent(one.margin_bp),
            )
            for one in preview.rows
        ],
    )


def _percent(bp: int | None) -> str | None:
    if bp is None:
        return None
    return f"{'-' if bp < 0 else ''}{abs(bp) // 100}.{abs(bp) % 100:02d}"


def _entries(rows: list[PriceRowBody]) -> tuple[PriceEntry, ...]:
    return tuple(
        PriceEntry(row.unit, row.usd, tuple(sorted(row.when.items())), row.context_above)
        for row in rows
    )


_FILTERS = (
    ("model", "Only of this model."),
    ("provider", "Only at this provider."),
    ("state", "draft, scheduled, published, cancelled or failed."),
)
_CHANGE = "/admin/price-changes/{change}"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/admin/price-changes",
        OPERATOR,
        list_changes,
        None,
        Listing[PriceChange],
        "Price changes, newest first.",
        _TAG,
        query=_FILTERS,
    ),
    Endpoint(
        "POST",
        "/admin/price-changes",
        OPERATOR,
        draft_change,
        PriceChangeBody,
        PriceChange,
        "Drafts a price change and says what it would do.",
        _TAG,
    ),
    Endpoint(
        "GET",
        _CHANGE,
        OPERATOR,
        show_change,
        None,
        PriceChange,
        "One price change.",
        _TAG,
    ),
    Endpoint(
        "POST",
        f"{_CHANGE}/schedule",
        OPERATOR,
        schedule_change,
        Nothing,
        PriceChange,
        "Lets a draft happen at its moment; the running server publishes it.",
        _TAG,
    ),
    Endpoint(
        "POST",
        f"{_CHANGE}/cancel",
        OPERATOR,
        cancel_change,
        Nothing,
        PriceChange,
        "Cancels a change that is not published yet.",
        _TAG,
    ),
]
