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
GENERATED = ("/docs/api/reference", "/docs/api/management")
COLOURS = ["color-contrast", "link-in-text-block"]

KB = 1_000
# design/web.md section 9, transferred bytes
CONSOLE_BYTES_MAX, PUBLIC_BYTES_MAX = 110 * KB, 100 * KB
SCRIPT_BYTES_MAX, STYLE_BYTES_MAX = 30 * KB, 14 * KB
REQUESTS_MAX = 10


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


@pytest.mark.parametrize("lang", ["en", "zh"])
@PAGES
def test_page(page: BrowserPage, site: Site, row: Page, lang: str) -> None:
    role = role_for(row)
    if role is not None:
        site.sign_in(page, role)
    path = address(row, site)
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    response = page.goto(f"{site.url}/{lang}{path}?range=7d#main")
    assert response is not None
    assert response.status == 200, (path, response.status)
    assert page.evaluate("document.documentElement.lang") == HTML_LANG[lang]
    assert page.title().strip()
    check_weight(row, answers)
    # Colours are those of the theme, not of the language. The two references are one template over
    # a thousand rows: half a minute of axe, once.
    if lang == "en" or not row.path.endswith(GENERATED):
        assert violations(page, colours=lang == "en") == [], path
    if lang == "en" and not row.path.endswith(GENERATED):
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        assert violations(page, COLOURS) == [], (path, "dark")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        wider = page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wider <= 0, (path, width, wider)
    page.set_viewport_size({"width": 1440, "height": 900})
    other = "zh" if lang == "en" else "en"
    page.locator(f'a[hreflang="{HTML_LANG[other]}"]:visible').first.click()
    page.wait_for_url(f"{site.url}/{other}{path}?range=7d#main")


def check_weight(row: Page, answers: list[Response]) -> None:
    """What the page and all it loads weigh, as transferred."""
    sizes: dict[str, int] = {}
    for answer in answers:
        kind = answer.request.resource_type
        sizes[kind] = sizes.get(kind, 0) + answer.request.sizes()["responseBodySize"]
    public = row.policy.kind == "public"
    assert sum(sizes.values()) <= (PUBLIC_BYTES_MAX if public else CONSOLE_BYTES_MAX), sizes
    assert sizes.get("script", 0) <= SCRIPT_BYTES_MAX, sizes
    assert sizes.get("stylesheet", 0) <= STYLE_BYTES_MAX, sizes
    assert len(answers) <= REQUESTS_MAX, [answer.url for answer in answers]
