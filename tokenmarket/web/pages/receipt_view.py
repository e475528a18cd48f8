"""A receipt as the page shows it: attempts as a waterfall, price lines, holds, ledger, facts."""

from __future__ import annotations

from typing import Any, NamedTuple

from markupsafe import Markup

from tokenmarket.core.money import nano_from_usd
from tokenmarket.reports.requests import Told
from tokenmarket.store.money_ledger import Transfer
from tokenmarket.web.site import charts, formats
from tokenmarket.web.site.charts import Span
from tokenmarket.web.site.visit import Visit


class AttemptView(NamedTuple):
    """One try; ``bar`` on the scale of the whole request."""

    provider: str
    upstream_model: str
    failed: bool
    status: int | None
    error: str | None
    duration_ms: float | None
    first_byte_ms: float | None
    bar: Markup


class ItemView(NamedTuple):
    """One line of the price."""

    unit: str
    quantity: str
    usd: str
    per: int
    amount_nano: int


class ReceiptView(NamedTuple):
    """``document`` is the receipt itself; amounts of it are here as integers."""

    document: dict[str, Any]
    status: str
    fell_back: bool
    at_us: int
    attempts: list[AttemptView]
    items: list[ItemView]
    held_nano: int
    charged_nano: int
    released_nano: int
    uncollected_nano: int
    refunded_nano: int
    entries: list[Transfer]
    balance_after_nano: int | None


def receipt_view(visit: Visit, told: Told) -> ReceiptView:
    """From the document and the ledger."""
    receipt = told.receipt
    attempts: list[dict[str, Any]] = receipt.get("attempts") or []
    items: list[dict[str, Any]] = receipt.get("items") or []
    amounts: dict[str, str] = receipt.get("amounts") or {}
    total_ms: float = receipt.get("duration_ms") or max(
        ((one.get("started_ms") or 0) + (one.get("duration_ms") or 0) for one in attempts),
        default=0,
    )
    status = str(receipt.get("status", ""))
    failed_first = any(one.get("error") for one in attempts[:-1])
    return ReceiptView(
        receipt,
        status,
        status == "succeeded" and failed_first,
        int(receipt.get("created_at") or 0) * 1_000_000,
        [_attempt(visit, one, total_ms) for one in attempts],
        [
            ItemView(
                str(one["unit"]),
                str(one["quantity"]),
                str(one["usd"]),
                int(one["per"]),
                nano_from_usd(one["amount"]),
            )
            for one in items
        ],
        nano_from_usd(amounts.get("held", "0")),
        nano_from_usd(amounts.get("charged", "0")),
        nano_from_usd(amounts.get("released", "0")),
        nano_from_usd(amounts.get("uncollected", "0")),
        sum(entry.amount_nano for entry in told.entries if entry.kind == "refund"),
        told.entries,
        told.balance_after_nano,
    )


def _attempt(visit: Visit, one: dict[str, Any], total_ms: float) -> AttemptView:
    """Waiting, then generating; a failed attempt is one stretch."""
    started_ms = float(one.get("started_ms") or 0)
    duration_ms = one.get("duration_ms")
    length_ms = float(duration_ms or 0)
    first_ms = one.get("first_byte_ms")
    failed = bool(one.get("error"))
    if failed:
        spans = [Span("fail", started_ms, length_ms)]
    elif first_ms is None:
        spans = [Span("wait", started_ms, length_ms)]
    else:
        first = min(float(first_ms), length_ms)
        spans = [
            Span("wait", started_ms, first),
            Span("gen", started_ms + first, length_ms - first),
        ]
    label = f"{one.get('provider')}: {formats.milliseconds(visit.lang, duration_ms)}"
    return AttemptView(
        str(one.get("provider") or ""),
        str(one.get("upstream_model") or ""),
        failed,
        one.get("status"),
        one.get("error"),
        duration_ms,
        first_ms,
        charts.waterfall_bar(spans, total_ms, label),
    )
