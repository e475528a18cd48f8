"""Reading works without scripts (journey 28; the receipt is in ``test_requests.py``)."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.addresses import address, shown
from tests.browser.conftest import Site
from tokenmarket.web.site.pages import Page as Row

PUBLIC = [row for row in shown() if row.policy.kind == "public"]


@pytest.fixture
def plain(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=False)
    try:
        yield context.new_page()
    finally:
        context.close()


@pytest.mark.parametrize("row", PUBLIC, ids=lambda row: row.path)
def test_j28_every_public_page_can_be_read(plain: Page, site: Site, row: Row) -> None:
    response = plain.goto(f"{site.url}/en{address(row, site)}")
    assert response is not None
    assert response.status == 200
    expect(plain.locator("h1").first).to_be_visible()
    for tabs in plain.locator(".codetabs").all():
        expect(tabs.locator("[data-tab]:visible")).to_have_count(1)


def test_j28_filters_work_by_their_button(plain: Page, site: Site) -> None:
    site.open(plain, "/models")
    plain.locator("select[name=operation]").select_option("rerank")
    plain.locator(".filters button[type=submit]").click()
    expect(plain.locator("#found tbody tr", has_text="sandbox-rerank")).to_have_count(1)
    expect(plain.locator("#found tbody tr", has_text="sandbox-chat")).to_have_count(0)


def test_j28_code_tabs_switch(plain: Page, site: Site) -> None:
    site.open(plain, "/models/tokenmarket/sandbox-chat")
    tabs = plain.locator(".codetabs").first
    tabs.locator("label", has_text="Python").click()
    expect(tabs.locator("[data-tab]:visible")).to_have_count(1)
    expect(tabs.locator("[data-tab]:visible")).to_contain_text("from openai import OpenAI")
