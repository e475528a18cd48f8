"""Journey 25: the documentation. Code tabs, copying, search in both languages, no dead link."""

from __future__ import annotations

import re
from html import unescape

import pytest
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import expect

from tests.browser.conftest import Site
from tokenmarket.web.manual.library import load

LIBRARY = load()
LANGS = pytest.mark.parametrize("lang", ["en", "zh"])
HREF = re.compile(r'href="([^"]+)"')
ID = re.compile(r' id="([^"]+)"')
# The documentation's own pages and places.
OURS = re.compile(r"/(en|zh)/docs(/|#|$)|#|/llms\.txt")


@LANGS
def test_j25_code_tabs_and_copy(page: BrowserPage, site: Site, lang: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.url)
    site.open(page, "/docs/api/chat", lang)
    tabs = page.locator(".codetabs")
    first = tabs.first
    for language in ("curl", "Python", "JavaScript"):
        first.locator(f'input[value="{language}"]').check()
        for at in range(tabs.count()):
            shown = [
                one.get_attribute("data-tab")
                for one in tabs.nth(at).locator(".code").all()
                if one.is_visible()
            ]
            assert shown == [language]
    page.reload()
    expect(first.locator('.code[data-tab="JavaScript"]')).to_be_visible()
    expect(first.locator('.code[data-tab="curl"]')).to_be_hidden()
    first.locator('.code[data-tab="JavaScript"] [data-copy-code]').click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("const answer = await fetch(`${process.env.URL}/chat/completions`")


@LANGS
def test_j25_tabs_work_without_scripts(page: BrowserPage, site: Site, lang: str) -> None:
    browser = page.context.browser
    assert browser is not None
    context = browser.new_context(java_script_enabled=False)
    try:
        still = context.new_page()
        still.goto(f"{site.url}/{lang}/docs/quickstart")
        first = still.locator(".codetabs").first
        expect(first.locator(".code:visible")).to_have_count(1)
        first.locator('input[value="Python"]').check()
        expect(first.locator('.code[data-tab="Python"]')).to_be_visible()
        expect(first.locator(".code:visible")).to_have_count(1)
    finally:
        context.close()


@pytest.mark.parametrize(
    ("lang", "words", "leads_to"),
    [
        ("en", "idempotency key", "/en/docs/retries"),
        ("en", "AUTH_001", "/en/docs/errors#auth_001"),
        ("zh", "谁付钱", "/zh/docs/billing#who-pays"),
        ("zh", "计费", "/zh/docs/billing"),
    ],
)
def test_j25_search(page: BrowserPage, site: Site, lang: str, words: str, leads_to: str) -> None:
    site.open(page, "/docs", lang)
    page.keyboard.press("/")
    page.keyboard.type(words)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/docs/search\?q="))
    hits = page.locator("#results h2 a")
    assert leads_to in [hit.get_attribute("href") for hit in hits.all()]
    expect(page.locator("#results mark").first).to_be_visible()
    page.locator(f'#results a[href="{leads_to}"]').click()
    page.wait_for_url(site.url + leads_to)


@LANGS
def test_j25_search_of_nothing_and_of_noise(page: BrowserPage, site: Site, lang: str) -> None:
    site.open(page, '/docs/search?q=") OR title:*<b>', lang)
    expect(page.locator("h1")).to_be_visible()
    assert page.locator("#results b b").count() == 0
    site.open(page, "/docs/search?q=qqqqzzzz", lang)
    expect(page.locator("#results")).to_contain_text("qqqqzzzz")
    site.open(page, "/docs/search", lang)
    assert page.locator("#results h2").count() == 0


@LANGS
def test_j25_the_search_answers_while_typing(page: BrowserPage, site: Site, lang: str) -> None:
    site.open(page, "/docs/search", lang)
    page.locator("main input[type=search]").fill("webhook")
    expect(page.locator("#results h2").first).to_be_visible()


@LANGS
def test_j25_no_link_is_dead(site: Site, lang: str) -> None:
    """Every page of the documentation, what it links to below /docs, and the headings there."""
    places: dict[str, set[str]] = {}
    links: set[tuple[str, str]] = set()
    for one in LIBRARY.ordered[lang]:
        answer = site.server.call("GET", one.url, key=None)
        assert answer.status == 200, one.url
        text = answer.body.decode()
        places[one.url] = set(ID.findall(text))
        links |= {(one.url, unescape(link)) for link in HREF.findall(text) if OURS.match(link)}
        twin = site.server.call("GET", f"/{lang}/docs/{one.file}", key=None)
        assert twin.status == 200
        assert twin.headers["content-type"].startswith("text/markdown")
    dead: list[tuple[str, str]] = []
    for source, link in sorted(links):
        path, _, anchor = link.partition("#")
        target = path or source
        if target in places:
            if anchor and anchor not in places[target]:
                dead.append((source, link))
        elif site.server.call("GET", target, key=None).status != 200:
            dead.append((source, link))
    assert dead == []


def test_the_list_for_programs(site: Site) -> None:
    answer = site.server.call("GET", "/llms.txt", key=None)
    assert answer.status == 200
    for address in re.findall(r"\((http[^)]+\.md)\)", answer.body.decode()):
        path = "/" + address.split("/", 3)[3]
        assert site.server.call("GET", path, key=None).status == 200, address


def test_the_page_of_an_error_is_where_the_error_says(page: BrowserPage, site: Site) -> None:
    error = site.server.call("GET", "/api/v1/key", key="tm_live_wrong").error
    page.goto(error["docs_url"])
    expect(page.locator("#auth_001")).to_be_in_viewport()
