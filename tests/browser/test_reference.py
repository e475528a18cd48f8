"""Journey 26: the API reference lists every path of the app, in both languages."""

import json

import pytest
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import Site

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])
APIS = pytest.mark.parametrize(
    ("paths", "document"),
    [
        (["/docs/api/reference"], "/api/v1/openapi.json"),
        (["/docs/api/management", "/docs/api/operator"], "/api/manage/v1/openapi.json"),
    ],
    ids=["public", "management"],
)


@LANGS
@APIS
def test_j26_every_path_is_listed(
    page: BrowserPage, site: Site, paths: list[str], document: str, lang: str
) -> None:
    described = json.loads(page.request.get(site.url + document).text())
    shown: dict[str, str] = {}
    for path in paths:
        site.open(page, path, lang)
        shown |= page.evaluate(
            """() => Object.fromEntries([...document.querySelectorAll('.op')].map(op =>
                [op.getAttribute('aria-labelledby'), op.innerText]))"""
        )
    assert described["paths"]
    for where, methods in described["paths"].items():
        for method, operation in methods.items():
            first = operation.get("x-same-as")
            if first is None:
                text = shown.pop(operation["operationId"])
                assert method.upper() in text
                assert where in text
    assert shown == {}  # and nothing that is not there
    for where, methods in described["paths"].items():
        if any("x-same-as" in operation for operation in methods.values()):
            assert page.get_by_text(where, exact=True).count() >= 1


@LANGS
def test_j26_code_in_three_languages(page: BrowserPage, site: Site, lang: str) -> None:
    site.open(page, "/docs/api/reference#createRerank", lang)
    section = page.locator('section.op[aria-labelledby="createRerank"]')
    assert section.locator(".code:visible").count() == 1
    assert "curl " in section.locator(".code:visible").inner_text()
    section.get_by_role("radio", name="Python").check()
    assert section.locator(".code:visible").count() == 1
    assert "httpx.post" in section.locator(".code:visible").inner_text()
    page.reload()
    assert "httpx.post" in section.locator(".code:visible").inner_text()


@LANGS
def test_j26_a_menu_entry_leads_to_its_operation(page: BrowserPage, site: Site, lang: str) -> None:
    site.open(page, "/docs/api/reference", lang)
    page.locator('.docnav a[href="#getRequest"]').click()
    page.wait_for_url("**#getRequest")
    assert page.locator("#getRequest").is_visible()


def test_j26_the_playground_is_one_click_away(page: BrowserPage, site: Site) -> None:
    site.open(page, "/docs/api/reference")
    link = page.locator('section.op[aria-labelledby="createImage"] aside a')
    assert link.get_attribute("href") == "/en/sign-in"
    site.sign_in(page, "developer")
    page.reload()
    assert link.get_attribute("href") == f"/en/console/{site.org_id}/playground/image"
