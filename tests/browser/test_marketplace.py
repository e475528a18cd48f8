"""The marketplace as a visitor uses it (journey 9)."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])


def test_j09_pinyin_is_searched_for_when_it_has_become_characters(page: Page, site: Site) -> None:
    site.open(page, "/models", "zh")
    page.locator("input[name=q]").focus()
    keyboard = page.context.new_cdp_session(page)
    composing = {"text": "sha'xiang", "selectionStart": 9, "selectionEnd": 9}
    keyboard.send("Input.imeSetComposition", composing)
    keyboard.send("Input.insertText", {"text": "沙箱对话"})
    expect(page).to_have_url(re.compile(r"q=%E6%B2%99%E7%AE%B1"))
    assert "sha" not in page.url


@LANGS
def test_j09_filters_narrow_the_list_and_stay_in_the_address(
    page: Page, site: Site, lang: str
) -> None:
    site.open(page, "/models", lang)
    rows = page.locator("#found tbody tr")
    everything = rows.count()
    page.locator("select[name=operation]").select_option("rerank")
    expect(page).to_have_url(re.compile("operation=rerank"))
    expect(page.locator("#found tbody tr", has_text="sandbox-rerank")).to_have_count(1)
    expect(page.locator("#found tbody tr", has_text="sandbox-chat")).to_have_count(0)
    assert 0 < rows.count() < everything
    page.locator("input[name=q]").fill("sandbox")
    expect(rows).to_have_count(1)
    page.reload()
    expect(rows).to_have_count(1)
    assert page.locator("input[name=q]").input_value() == "sandbox"
    other = {"en": "zh-CN", "zh": "en"}[lang]
    with page.expect_navigation():  # the rows of the page before would do for ``expect``
        page.locator(f'a[hreflang="{other}"]:visible').first.click()
    expect(rows).to_have_count(1)
    page.locator("input[name=q]").fill("no such model")
    expect(rows).to_have_count(0)


@LANGS
def test_j09_prices_have_units_and_change_with_the_currency(
    page: Page, site: Site, lang: str
) -> None:
    site.set_exchange_rate("7.1", "2026-11-24")
    site.open(page, "/models?q=sandbox-chat", lang)
    row = page.locator("#found tbody tr").first
    expect(row).to_contain_text("$0.10")
    expect(row).to_contain_text({"en": "1M tokens", "zh": "百万 Token"}[lang])
    page.locator("a", has_text="CNY").first.click()
    expect(row).to_contain_text("≈ ¥0.7100")
    expect(page.locator("#found")).to_contain_text("2026-11-24")
    row.locator("a").click()
    expect(page.locator("h1")).to_be_visible()
    expect(page.locator("main")).to_contain_text("≈ ¥0.7100")


@LANGS
def test_a_model_shows_no_figure_that_was_not_measured(page: Page, site: Site, lang: str) -> None:
    site.open(page, "/models/deepseek/DeepSeek-V4-pro", lang)
    routes = page.locator("#routes")
    expect(routes).to_contain_text({"en": "No data yet", "zh": "暂无数据"}[lang])
    assert "%" not in routes.inner_text()
    code = page.locator("#code [data-tab]:visible")
    expect(code).to_have_count(1)
    expect(code).to_contain_text("DeepSeek-V4-pro")


def test_an_alias_and_a_wrong_vendor_lead_to_the_one_address(page: Page, site: Site) -> None:
    site.open(page, "/models/somebody/deepseek-v4-pro")
    expect(page).to_have_url(f"{site.url}/en/models/deepseek/DeepSeek-V4-pro")
