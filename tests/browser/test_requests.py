"""Journeys 16 to 19 and 28: usage is one number, filters live in the address, receipts."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])
SIGNS = {"en": "$", "zh": "US$"}


@contextmanager
def books(site: Site) -> Iterator[sqlite3.Connection]:
    """The server's database, beside it: checkpoints are left to the server."""
    connection = sqlite3.connect(site.server.data / "tokenmarket.db", timeout=10)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def set_time_zone(site: Site, zone: str) -> None:
    """What the settings page of an organisation does."""
    with books(site) as connection:
        connection.execute(
            "UPDATE organization SET time_zone = ? WHERE id = ?", (zone, site.org_id)
        )


@contextmanager
def time_zone(site: Site, zone: str) -> Iterator[None]:
    set_time_zone(site, zone)
    try:
        yield
    finally:
        set_time_zone(site, "UTC")


def usd(text: str) -> Decimal:
    """The amount that a page shows."""
    return Decimal(re.sub(r"[^0-9.]", "", text))


@LANGS
@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
def test_j16_usage_is_one_number(page: Page, site: Site, lang: str, zone: str) -> None:
    """Total, rows, chart's table, CSV, ledger and receipts agree to the last digit."""
    for text in ("one", "two"):
        site.server.chat(text)
    site.sign_in(page, "owner")
    with time_zone(site, zone):
        for group in ("day", "model", "key"):
            site.open(page, f"@/usage?range=90d&by={group}", lang)
            expect(page.locator("main .sub").first).to_contain_text(zone)
            total = usd(page.locator("dl.facts dd").first.inner_text())
            rows = page.locator("section.card").last.locator("tbody tr")
            cells = [rows.nth(n).locator("td").nth(5).inner_text() for n in range(rows.count())]
            assert sum(map(usd, cells), Decimal()) == total
            page.locator("details.astable > summary").first.click()
            shown = page.locator("details.astable tbody tr td:last-child").all_inner_texts()
            assert sum(map(usd, shown), Decimal()) == total
            with page.expect_download() as download:
                page.get_by_role("link", name=re.compile("CSV")).click()
            text = download.value.path().read_text(encoding="utf-8-sig")
            head, *lines, last = csv.reader(io.StringIO(text))
            assert zone in head[0]
            assert Decimal(last[-1]) == total
            assert sum((Decimal(line[-1]) for line in lines), Decimal()) == total
    receipts, ledger = site_sums(site)
    assert receipts == ledger == total


def site_sums(site: Site) -> tuple[Decimal, Decimal]:
    """What the receipts of all requests say was charged, and what the ledger moved for usage."""

    with books(site) as connection:
        ids = connection.execute(
            "SELECT request_id FROM usage_event WHERE org_id = ?", (site.org_id,)
        ).fetchall()
        [moved_nano] = connection.execute(
            "SELECT sum(amount_nano) FROM transfer WHERE org_id = ? AND kind = 'capture'",
            (site.org_id,),
        ).fetchone()
    charged = [Decimal(site.server.receipt(one)["amounts"]["charged"]) for [one] in ids]
    return sum(charged, Decimal()), Decimal(moved_nano) / 10**9


@LANGS
def test_j17_filters_live_in_the_address(page: Page, site: Site, lang: str) -> None:
    answer = site.server.chat("to be found")
    site.server.post("/embeddings", {"model": "sandbox-embed", "input": "x"})
    site.server.chat(model="no-such-model")
    site.sign_in(page, "viewer")
    site.open(page, "@/requests", lang)
    rows = page.locator("#results table.rows tbody tr")
    everything = page.url
    page.get_by_role("searchbox").last.fill("sandbox-embed")
    page.wait_for_url(re.compile("q=sandbox-embed"))
    expect(rows.first.locator("td").nth(2)).to_have_text("sandbox-embed")
    models = rows.locator("td:nth-child(3)")
    assert set(models.all_inner_texts()) == {"sandbox-embed"}
    narrowed = page.url
    page.reload()
    expect(page.get_by_role("searchbox").last).to_have_value("sandbox-embed")
    assert set(models.all_inner_texts()) == {"sandbox-embed"}
    page.go_back()
    page.wait_for_url(everything)
    expect(page.get_by_role("searchbox").last).to_have_value("")
    expect(models.filter(has_text="sandbox-chat").first).to_be_visible()
    page.locator("select[name=status]").select_option("rejected")
    page.wait_for_url(re.compile("status=rejected"))
    expect(rows.first).to_contain_text("MODEL_001")
    colleague = page.context.new_page()
    colleague.goto(narrowed)
    assert set(colleague.locator("#results table.rows td:nth-child(3)").all_inner_texts()) == {
        "sandbox-embed"
    }
    colleague.close()
    site.open(page, f"@/requests?q={answer.request_id[:24]}", lang)
    expect(rows).to_have_count(1)
    expect(rows.first.locator("a")).to_have_attribute("href", re.compile(answer.request_id))
    site.open(page, "@/requests?cost_over=many&latency_over=1", lang)
    expect(page.get_by_role("alert")).to_be_visible()


@LANGS
def test_j17_the_list_is_live(page: Page, site: Site, lang: str) -> None:
    """A request shows in the open list by itself."""
    site.sign_in(page, "developer")
    site.open(page, "@/requests", lang)
    answer = site.server.chat("while somebody looks")
    expect(page.locator(f'a[href$="{answer.request_id}"]')).to_be_visible(timeout=15_000)


@LANGS
def test_j18_receipt_by_keyboard_and_permalink(page: Page, site: Site, lang: str) -> None:
    answer = site.server.chat("with a receipt")
    charged = Decimal(site.server.receipt(answer.request_id)["amounts"]["charged"])
    site.sign_in(page, "viewer")
    # of this request only: a live list might move the row away
    site.open(page, f"@/requests?q={answer.request_id}", lang)
    listed = page.url
    link = page.locator(f'a.rowlink[href$="{answer.request_id}"]')
    link.focus()
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_role("heading", level=1)).to_contain_text(answer.request_id)
    assert page.url.endswith(answer.request_id)
    permalink = page.url
    shown = drawer.locator("dl.facts dd").nth(1).inner_text()
    assert shown.startswith(SIGNS[lang])
    assert usd(shown) == charged
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(link).to_be_focused()
    page.wait_for_url(listed)
    page.goto(permalink)
    article = page.locator("article.receipt")
    expect(article).to_contain_text(f"{answer.request_id}.c")
    document = page.context.request.get(f"{permalink}/json").json()
    assert document["id"] == answer.request_id
    assert Decimal(document["amounts"]["charged"]) == charged


def test_j18_a_receipt_of_another_organisation_is_not_there(page: Page, site: Site) -> None:
    answer = site.server.chat("not yours")
    site.sign_in(page, "stranger")
    for path in ("", "/json"):
        address = f"{site.url}/en/console/{site.org_id}/requests/{answer.request_id}{path}"
        assert page.context.request.get(address).status == 404
    site.sign_in(page, "operator")
    address = f"{site.url}/en/admin/requests/{answer.request_id}"
    assert page.context.request.get(address).status == 200
    site.sign_in(page, "owner")
    assert page.context.request.get(address).status == 404


def test_j19_a_retry_with_the_same_key_is_charged_once(page: Page, site: Site) -> None:
    site.sign_in(page, "owner")
    site.open(page, "@/usage?range=7d&by=model")
    before = usd(page.locator("dl.facts dd").first.inner_text())
    body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "once"}]}
    first, second = (
        site.server.post("/chat/completions", body, headers={"Idempotency-Key": "j19"})
        for _ in range(2)
    )
    assert first.json["id"] == second.json["id"]
    request_id = str(first.request_id)
    charged = Decimal(site.server.receipt(request_id)["amounts"]["charged"])
    assert charged > 0
    page.reload()
    assert usd(page.locator("dl.facts dd").first.inner_text()) == before + charged
    site.open(page, f"@/requests/{request_id}")
    expect(page.locator("article.receipt")).to_contain_text(f"{request_id}.c")


@LANGS
def test_j28_reading_without_scripts(browser: Browser, site: Site, lang: str) -> None:
    answer = site.server.chat("no scripts here")
    context = browser.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        site.sign_in(page, "viewer")
        site.open(page, "@/requests", lang)
        page.locator("input[name=q]").last.fill(answer.request_id)
        page.locator("form.filters [data-submit]").click()
        page.wait_for_url(re.compile(f"q={answer.request_id}"))
        page.locator("#results table.rows a").first.click()
        page.wait_for_url(re.compile(f"{answer.request_id}$"))
        expect(page.locator("article.receipt")).to_contain_text("sandbox-chat")
        site.open(page, "@/usage", lang)
        expect(page.locator("section.card").last).to_contain_text(SIGNS[lang])
    finally:
        context.close()
