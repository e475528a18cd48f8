"""Every page of the table, in both languages and themes, wide and narrow (journeys 1, 2, 30).

What holds for all: it opens for who may see it; axe finds nothing; nothing is wider than the
screen; the language switch keeps path, query and anchor. That no English is left in Chinese is
sure because the server runs with strict texts: a missing translation is a 500.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Page as BrowserPage

from tests.browser.addresses import address, role_for, shown
from tests.browser.conftest import Site
from tokenmarket.web.site.pages import Page

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = (320, 390, 720, 768)  # 720: 1440 at 200 %
PAGES = pytest.mark.parametrize("row", shown(), ids=lambda row: row.path)
LANGS = pytest.mark.parametrize("lang", ["en", "zh"])


def violations(page: BrowserPage) -> list[str]:
    """What axe finds, one line per rule and element."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("tags => axe.run({runOnly: {type: 'tag', values: tags}})", TAGS)
    return [
        f"{item['id']}: {node['target']} {node['html'][:120]}"
        for item in found["violations"]
        for node in item["nodes"]
    ]


def open_page(page: BrowserPage, site: Site, row: Page, lang: str) -> str:
    """The page as who may see it; its path without the language."""
    role = role_for(row)
    if role is not None:
        site.sign_in(page, role)
    path = address(row, site)
    response = page.goto(f"{site.url}/{lang}{path}", wait_until="networkidle")
    assert response is not None
    assert response.status == 200, (path, response.status)
    return path


@LANGS
@PAGES
def test_page(page: BrowserPage, site: Site, row: Page, lang: str) -> None:
    path = open_page(page, site, row, lang)
    html_lang = page.evaluate("document.documentElement.lang")
    assert html_lang == {"en": "en", "zh": "zh-CN"}[lang]
    assert page.title().strip()
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        assert violations(page) == [], (path, theme)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        wider = page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wider <= 0, (path, width, wider)


@PAGES
def test_j01_the_language_switch_keeps_the_place(page: BrowserPage, site: Site, row: Page) -> None:
    role = role_for(row)
    if role is not None:
        site.sign_in(page, role)
    path = address(row, site)
    page.goto(f"{site.url}/en{path}?range=7d#main")
    page.locator('a[hreflang="zh-CN"]:visible').first.click()
    page.wait_for_url(f"{site.url}/zh{path}?range=7d#main")
    page.locator('a[hreflang="en"]:visible').first.click()
    page.wait_for_url(f"{site.url}/en{path}?range=7d#main")
