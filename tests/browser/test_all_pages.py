"""Every page of the table, in both languages and themes, wide and narrow (journeys 1, 2, 30).

What holds for all: it is light; it opens for who may see it; axe finds nothing; nothing is wider
than the screen; the language switch keeps path, query and anchor. That no English is left in
Chinese is sure because the server runs with strict texts: a missing translation is a 500.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import Response

from tests.browser.addresses import address, role_for, shown
from tests.browser.conftest import Site
from tokenmarket.web.site.pages import Page

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = (320, 390, 720, 768)  # 720: 1440 at 200 %
PAGES = pytest.mark.parametrize("row", shown(), ids=lambda row: row.path)
HTML_LANG = {"en": "en", "zh": "zh-CN"}
# A theme changes colours and nothing else.
GENERATED = ("/docs/api/reference", "/docs/api/management", "/docs/api/operator")
COLOURS = ["color-contrast", "link-in-text-block"]

KB = 1_000
# design/web.md section 9, transferred bytes
CONSOLE_BYTES_MAX, PUBLIC_BYTES_MAX = 110 * KB, 100 * KB
SCRIPT_BYTES_MAX, STYLE_BYTES_MAX = 30 * KB, 14 * KB
REQUESTS_MAX = 10
SHIFT_MAX = 0.02
# Notes what moves by itself, as a share of the screen, from the beginning of each document on.
WATCH = """
window.moved = 0;
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.moved += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
# Two frames later everything before them has been told.
MOVED = """() => new Promise(done =>
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(window.moved)))))"""


def violations(
    page: BrowserPage, rules: list[str] | None = None, *, colours: bool = True
) -> list[str]:
    """What axe finds, one line per rule and element; ``rules``: those alone."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    only = {"type": "tag", "values": TAGS} if rules is None else {"type": "rule", "values": rules}
    options = {
        "runOnly": only,
        "resultTypes": ["violations"],
        "rules": {} if colours else {name: {"enabled": False} for name in COLOURS},
    }
    found = page.evaluate("options => axe.run(options)", options)
    return [
        f"{item['id']}: {node['target']} {node['html'][:120]}"
        for item in found["violations"]
        for node in item["nodes"]
    ]


@PAGES
def test_page(page: BrowserPage, site: Site, row: Page) -> None:
    role = role_for(row)
    if role is not None:
        site.sign_in(page, role)
    path = address(row, site)
    page.add_init_script(WATCH)
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    response = page.goto(f"{site.url}/en{path}?range=7d#main")
    assert response is not None
    assert response.status == 200, (path, response.status)
    moved = page.evaluate(MOVED)
    assert moved <= SHIFT_MAX, (path, moved)
    check_page(page, path, "en")
    loads = weights(answers)
    check_weight(row, loads, len(answers))
    generated = row.path.endswith(GENERATED)
    assert violations(page) == [], path
    if not generated:
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        assert violations(page, COLOURS) == [], (path, "dark")
    answers.clear()
    switch(page, f"{site.url}/zh{path}?range=7d#main", "zh")
    check_page(page, path, "zh")
    # what English has brought is the same file
    loads["document"] = weights(answers)["document"]
    check_weight(row, loads, len(answers))
    # Colours are those of the theme, not of the language. The references are one template over
    # a thousand rows: half a minute of axe, once.
    if not generated:
        assert violations(page, colours=False) == [], path
    switch(page, f"{site.url}/en{path}?range=7d#main", "en")


def check_page(page: BrowserPage, path: str, lang: str) -> None:
    """Language, title, and nothing wider than the screen."""
    assert page.evaluate("document.documentElement.lang") == HTML_LANG[lang]
    assert page.title().strip()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        wider = page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wider <= 0, (path, lang, width, wider)
    page.set_viewport_size({"width": 1440, "height": 900})


def switch(page: BrowserPage, url: str, lang: str) -> None:
    """Follow the link of the other language."""
    page.locator(f'a[hreflang="{HTML_LANG[lang]}"]:visible').first.click()
    page.wait_for_url(url)


def weights(answers: list[Response]) -> dict[str, int]:
    """Transferred bytes by kind."""
    sizes: dict[str, int] = {}
    for answer in answers:
        kind = answer.request.resource_type
        sizes[kind] = sizes.get(kind, 0) + answer.request.sizes()["responseBodySize"]
    return sizes


def check_weight(row: Page, sizes: dict[str, int], requests: int) -> None:
    """What the page and all it loads weigh, as transferred."""
    public = row.policy.kind == "public"
    assert sum(sizes.values()) <= (PUBLIC_BYTES_MAX if public else CONSOLE_BYTES_MAX), sizes
    assert sizes.get("script", 0) <= SCRIPT_BYTES_MAX, sizes
    assert sizes.get("stylesheet", 0) <= STYLE_BYTES_MAX, sizes
    assert requests <= REQUESTS_MAX, requests
