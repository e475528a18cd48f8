"""Prices of routes, dated: a change is drafted, looked at, scheduled, and published at its moment.

What a reader must know:

* ``publish_due`` is called by the running server every second. A change is published in one
  transaction with its state, so a crash leaves it scheduled or published, and a second call finds
  nothing to do. What was due while the server was down is published when it starts, in order.
* A request keeps the price it started with (the sheet is pinned in its hold).
* A change that no longer fits (its route is gone) fails with the reason; nothing else waits for it.
"""

from __future__ import annotations

import os

import msgspec

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.backoffice.catalog_edits import (
    InvalidRow,
    apply,
    checked,
    find_model,
    find_route,
    in_force,
)
from tokenmarket.core import ids
from tokenmarket.core.catalog_compile import unpriced_unit
from tokenmarket.core.catalog_rows import CatalogDocument
from tokenmarket.core.price_terms import (
    Example,
    PriceTerms,
    RowDifference,
    differences,
    example,
    terms_of,
    with_terms,
)
from tokenmarket.core.texts import N_
from tokenmarket.core.wording import say
from tokenmarket.store import accounts as rows
from tokenmarket.store import price_changes
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.price_changes import PriceChange, State

OPEN_MAX = 1_000
REASON_CHARS_MAX = 500
AHEAD_US = 2 * 366 * 86_400_000_000  # a date further away is a mistyped one
SYSTEM = "system:publisher"
OPEN: tuple[State, ...] = ("draft", "scheduled")


class Preview(msgspec.Struct, frozen=True):
    """What a change would do."""

    rows: list[RowDifference]
    example: Example
    version_before: str
    version_after: str

    @property
    def below_cost(self) -> bool:
        """Whether some price would be below what we pay ourselves."""
        return any(row.margin_bp is not None and row.margin_bp < 0 for row in self.rows)


async def preview(
    conn: Connection, shipped: CatalogDocument, key: tuple[str, str], terms: PriceTerms
) -> Preview:
    """``key`` is (model, provider). Raises NotThere, Refused."""
    document = await in_force(conn, shipped)
    before = terms_of(find_route(document, key))
    return compare(before, _checked(document, key, terms))


def compare(before: PriceTerms, after: PriceTerms) -> Preview:
    return Preview(
        differences(before, after),
        example(before, after),
        before.sheet().version,
        after.sheet().version,
    )


async def draft(
    conn: Connection,
    shipped: CatalogDocument,
    key: tuple[str, str],
    terms: PriceTerms,
    *,
    effective_us: int,
    reason: str,
    now_us: int,
    actor: str,
) -> PriceChange:
    """Kept, not yet decided. Raises NotThere, Refused, Taken."""
    document = await in_force(conn, shipped)
    before = terms_of(find_route(document, key))
    terms = _checked(document, key, terms)
    if terms == before:
        raise Refused(N_("This is the price in force already."))
    if await price_changes.count_open(conn) >= OPEN_MAX:
        raise Taken(N_("There are 1000 open price changes: publish or cancel some first."))
    row = PriceChange(
        id=ids.new_id("pch", now_us, os.urandom(ids.RANDOM_BYTES)),
        model=key[0],
        provider=key[1],
        terms=terms,
        state="draft",
        effective_us=_checked_moment(effective_us, now_us),
        reason=_checked_reason(reason),
        author=actor,
        created_us=now_us,
        version_before=before.sheet().version,
        version_after=terms.sheet().version,
        terms_before=before,
    )
    await price_changes.insert_change(conn, row)
    detail: dict[str, object] = {
        "change": row.id,
        "effective_us": row.effective_us,
        "terms": msgspec.to_builtins(terms),
        "reason": row.reason,
    }
    await rows.append_audit(conn, now_us, actor, "price.draft", _subject(row), detail)
    return row


async def schedule(conn: Connection, change_id: str, *, now_us: int, actor: str) -> PriceChange:
    """From a draft to what will happen at its moment (at once if that has passed).

    Raises NotThere, Taken.
    """
    row = await find(conn, change_id)
    if not await price_changes.decide(conn, row.id, ("draft",), state="scheduled"):
        raise Taken(N_("This change is not a draft any more."))
    detail: dict[str, object] = {"change": row.id, "effective_us": row.effective_us}
    await rows.append_audit(conn, now_us, actor, "price.schedule", _subject(row), detail)
    return await find(conn, change_id)


async def cancel(conn: Connection, change_id: str, *, now_us: int, actor: str) -> PriceChange:
    """Raises NotThere, or Taken for what is published already."""
    row = await find(conn, change_id)
    if not await price_changes.decide(conn, row.id, OPEN, state="cancelled", decided_us=now_us):
        raise Taken(N_("This change is decided already."))
    await rows.append_audit(conn, now_us, actor, "price.cancel", _subject(row), {"change": row.id})
    return await find(conn, change_id)


async def publish_due(
    database: Database, shipped: CatalogDocument, *, now_us: int
) -> list[PriceChange]:
    """Publish what is due; those that were decided, in order. One read when there is nothing."""
    async with database.read() as conn:
        due = await price_changes.due(conn, now_us)
    found: list[PriceChange] = []
    for change_id in due:
        try:
            async with database.begin() as conn:
                found.append(await _publish(conn, shipped, change_id, now_us))
        except (InvalidRow, Refused, NotThere) as error:
            async with database.begin() as conn:
                found.append(await _fail(conn, change_id, str(error), now_us))
        except Taken:
            continue  # somebody cancelled it a moment ago
    return found


async def find(conn: Connection, change_id: str) -> PriceChange:
    """Raises NotThere."""
    row = await price_changes.find(conn, change_id) if ids.is_id(change_id, "pch") else None
    if row is None:
        raise NotThere(N_("There is no such price change."))
    return row


async def _publish(
    conn: Connection, shipped: CatalogDocument, change_id: str, now_us: int
) -> PriceChange:
    row = await find(conn, change_id)
    document = await in_force(conn, shipped)
    key = (row.model, row.provider)
    before = find_route(document, key)
    terms = _checked(document, key, row.terms)
    decided = await price_changes.decide(
        conn,
        row.id,
        ("scheduled",),
        state="published",
        decided_us=now_us,
        version_before=terms_of(before).sheet().version,
        version_after=terms.sheet().version,
        terms_before=terms_of(before),
    )
    if not decided:
        raise Taken(N_("This change is decided already."))
    await apply(conn, shipped, CatalogDocument(routes=(with_terms(before, terms),)), now_us)
    after = await find(conn, change_id)
    detail: dict[str, object] = {
        "change": row.id,
        "author": row.author,
        "version_before": after.version_before,
        "version_after": after.version_after,
    }
    await rows.append_audit(conn, now_us, SYSTEM, "price.publish", _subject(row), detail)
    return after


async def _fail(conn: Connection, change_id: str, problem: str, now_us: int) -> PriceChange:
    row = await find(conn, change_id)
    problem = problem[:REASON_CHARS_MAX]
    await price_changes.decide(
        conn, row.id, ("scheduled",), state="failed", decided_us=now_us, problem=problem
    )
    detail: dict[str, object] = {"change": row.id, "problem": problem}
    await rows.append_audit(conn, now_us, SYSTEM, "price.fail", _subject(row), detail)
    return await find(conn, change_id)


def _checked(document: CatalogDocument, key: tuple[str, str], terms: PriceTerms) -> PriceTerms:
    """The terms as a catalog file with them would be read. Raises NotThere, Refused."""
    row = with_terms(find_route(document, key), terms)
    read = checked(CatalogDocument(routes=(row,))).routes[0]
    found = terms_of(read)
    missing = unpriced_unit(find_model(document, key[0]), found.sheet())
    if missing is not None:
        raise Refused(
            say(
                "Every request produces {missing}: give it a price without conditions.",
                missing=missing,
            )
        )
    return found


def _checked_moment(effective_us: int, now_us: int) -> int:
    """Now for a moment that has passed: the past is not rewritten."""
    if effective_us > now_us + AHEAD_US:
        raise Refused(N_("The date is more than two years away."))
    return max(effective_us, now_us)


def _checked_reason(text: str) -> str:
    reason = text.strip()
    if not reason or len(reason) > REASON_CHARS_MAX or not reason.isprintable():
        raise Refused(N_("Give a reason in one line of at most 500 characters."))
    return reason


def _subject(row: PriceChange) -> str:
    return f"{row.model} at {row.provider}"
