"""Tax on invoices and credit notes: exact to the last digit, rounded once, kept as issued."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.money import USD, World
from tests.unit.payments.test_invoices import at, charged, funded, issued
from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.ledger import refunds
from tokenmarket.payments.invoicing import document_of
from tokenmarket.payments.tax import percent, profile_of, rate_bp_from, set_profile, taxed
from tokenmarket.store.tax_profiles import TaxProfile
from tokenmarket.web.invoice_sheet import sheet_of

CENT = USD // 100
INCLUDED = TaxProfile("VAT", 2_000, True)
ADDED = TaxProfile("VAT", 2_000, False)
READER = SimpleNamespace(lang="en", _=lambda english, **values: english.format(**values))


@pytest.mark.parametrize(
    ("profile", "amount", "tax"),
    [
        (INCLUDED, 12 * USD, 2 * USD),
        (INCLUDED, 1, 0),
        (INCLUDED, 3 * CENT, CENT),  # half a cent goes up
        (INCLUDED, 3 * CENT - 1, 0),
        (INCLUDED, -3 * CENT, -CENT),  # and away from zero on a credit note
        (ADDED, 10 * USD, 2 * USD),
        (ADDED, 25 * CENT // 10, CENT),
        (ADDED, 25 * CENT // 10 - 1, 0),
        (ADDED, -25 * CENT // 10, -CENT),
        (TaxProfile("x", 0, True), 77 * USD, 0),
        (TaxProfile("x", 10_000, True), 2 * USD, USD),
        (ADDED, 9_000_000_000 * USD, 1_800_000_000 * USD),
    ],
)
def test_the_tax_is_rounded_once_to_a_cent(profile: TaxProfile, amount: int, tax: int) -> None:
    found = taxed(profile, amount)
    assert found.tax_nano == tax
    assert found.net_nano + found.tax_nano == found.gross_nano
    assert (found.gross_nano if profile.included else found.net_nano) == amount


def test_rates_are_read_exactly() -> None:
    for text, rate_bp in (("20", 2_000), (" 7.5 % ", 750), ("0.01", 1), ("100", 10_000), ("0", 0)):
        assert rate_bp_from(text) == rate_bp
        assert rate_bp_from(percent(rate_bp)) == rate_bp
    for text in ("", "-1", "100.01", "1.234", "1e1", "٢٠", "%", "twenty", "9" * 50):
        with pytest.raises(Refused):
            rate_bp_from(text)


async def set_tax(w: World, profile: TaxProfile | None, org_id: str = "o1") -> None:
    await set_profile(w.database, org_id, profile, actor="user:op", now_us=w.clock.wall)


async def test_an_invoice_and_its_credit_note_say_net_tax_and_gross(w: World) -> None:
    await funded(w)
    await charged(w, "r1", 6 * USD + 1, at_us=at(2026, 10, 5), items=[])
    await set_tax(w, INCLUDED)
    (row,) = await issued(w, at(2026, 11, 2))
    tax = document_of(row).tax
    assert tax is not None
    assert (tax.net_nano, tax.tax_nano, tax.gross_nano) == (5 * USD + 1, USD, row.total_nano)
    await set_tax(w, TaxProfile("GST", 1_000, False))
    assert document_of(row).tax == tax  # what was issued stays
    shown = dict(sheet_of(READER, row).totals)
    assert shown["VAT 20 % (included)"] == "$1.00"
    assert shown["Net"] == "$5.000000001"
    assert shown["Gross"] == shown["Paid from the balance"] == "$6.000000001"
    assert not any("without tax" in note for note in sheet_of(READER, row).notes)
    w.clock.wall = at(2026, 11, 5)
    await refunds.refund(
        w.database, request_id="r1", refund_id="1", amount_nano=5 * USD, reason="sorry",
        now_us=w.clock.wall,
    )  # fmt: skip
    (note,) = await issued(w, at(2026, 12, 2))
    tax = document_of(note).tax
    assert note.kind == "credit_note"
    assert tax is not None
    assert (tax.name, tax.net_nano, tax.tax_nano, tax.gross_nano) == (
        "GST", -5 * USD, -USD // 2, -5 * USD - USD // 2,
    )  # fmt: skip


async def test_without_a_profile_nothing_is_said_about_tax(w: World) -> None:
    await funded(w)
    await charged(w, "r1", USD, at_us=at(2026, 10, 5), items=[])
    await set_tax(w, INCLUDED)
    await set_tax(w, None)
    assert await profile_of(w.database, "o1") is None
    (row,) = await issued(w, at(2026, 11, 2))
    assert document_of(row).tax is None
    assert any("without tax" in note for note in sheet_of(READER, row).notes)


async def test_what_is_no_tax_is_refused(w: World) -> None:
    for wrong in (
        TaxProfile("", 1, True),
        TaxProfile("a\nb", 1, True),
        TaxProfile("x" * 41, 1, True),
        TaxProfile("VAT", -1, True),
        TaxProfile("VAT", 10_001, True),
    ):
        with pytest.raises(Refused):
            await set_tax(w, wrong)
    with pytest.raises(NotThere):
        await set_tax(w, INCLUDED, "org_none")
    await set_tax(w, INCLUDED)
    assert await profile_of(w.database, "o1") == INCLUDED
    assert await profile_of(w.database, "o2") is None
