"""API keys as a person manages them (journey 8), and what each role sees of them."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, Site
from tests.support.server import TAKES_EFFECT_S, until

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])
SECRET = "[data-secret]"


def make(page: Page, site: Site, lang: str, name: str, **fields: str) -> str:
    """A key made on the page; its text."""
    site.open(page, "@/keys/new", lang)
    page.fill("#name", name)
    for field, text in fields.items():
        page.fill(f"#{field}", text)
    page.locator("main form button[type=submit]").click()
    return page.locator(SECRET).inner_text()


def status_of(site: Site, key: str) -> int:
    return site.server.chat(key=key).status


def becomes(site: Site, key: str, status: int) -> None:
    """Servers follow within two seconds."""
    until(lambda: status_of(site, key) == status, f"{status} for a key", TAKES_EFFECT_S)


@LANGS
def test_j08_a_key_is_shown_once_and_copied(page: Page, site: Site, lang: str) -> None:
    site.sign_in(page, "developer")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    key = make(page, site, lang, f"copy {lang}")
    page.locator(".secret [data-copy]").click()
    expect(page.locator(".toast")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == key
    assert status_of(site, key) == 200
    # the ready line for the shell names this server, and the key is nowhere else
    assert f"{site.url}/api/v1/chat/completions" in page.locator("[data-tab=curl]").inner_text()
    site.open(page, "@/keys", lang)
    page.get_by_role("link", name=f"copy {lang}", exact=True).click()
    page.wait_for_url(re.compile(r"/keys/key_\w+$"))
    assert key not in page.content()
    assert f"{key[:12]}…{key[-4:]}" in page.content()


@LANGS
def test_j08_a_cap_is_reached_raised_and_seen(
    page: Page, site: Site, lang: str, complaints: Complaints
) -> None:
    complaints.expect("422")
    site.sign_in(page, "owner")
    name = f"capped {lang}"
    key = make(page, site, lang, name, spend_month="0.000001")
    refused = site.server.chat(key=key)
    assert (refused.status, refused.error["code"]) == (403, "BILLING_003")
    site.open(page, "@/keys", lang)
    page.get_by_role("link", name=name, exact=True).click()
    assert page.input_value("#spend_month") == "0.000001"
    page.fill("#spend_month", "lots")
    page.locator("form:has(#name) button[type=submit]").click()
    expect(page.locator("#spend_month-error")).to_be_visible()
    expect(page.locator("#spend_month")).to_have_attribute("aria-invalid", "true")
    page.fill("#spend_month", "1")
    page.locator("form:has(#name) button[type=submit]").click()
    expect(page.locator("[data-flash]")).to_be_visible()
    becomes(site, key, 200)


@LANGS
def test_j08_roll_with_overlap_then_disable(page: Page, site: Site, lang: str) -> None:
    site.sign_in(page, "admin")
    name = f"rolled {lang}"
    old = make(page, site, lang, name)
    site.open(page, "@/keys", lang)
    page.get_by_role("link", name=name, exact=True).click()
    page.locator("button[command=show-modal][commandfor=roll]").click()
    page.locator("#overlap_s").select_option("3600")
    page.locator("#roll form button[type=submit]").click()
    new = page.locator(SECRET).inner_text()
    assert new != old
    assert [status_of(site, key) for key in (old, new)] == [200, 200]
    # the newest of the two is first in the list
    site.open(page, "@/keys", lang)
    page.get_by_role("link", name=name, exact=True).first.click()
    page.locator("button[command=show-modal][commandfor=disable]").click()
    disable = page.locator("#disable form button[type=submit]")
    expect(disable).to_be_disabled()
    page.fill("#disable-typed", name)
    disable.click()
    page.wait_for_url(re.compile(r"/keys$"))
    becomes(site, new, 401)
    assert status_of(site, old) == 200


def test_an_end_in_the_past_is_refused(page: Page, site: Site, complaints: Complaints) -> None:
    complaints.expect("422")
    site.sign_in(page, "owner")
    site.open(page, "@/keys/new")
    page.fill("#name", "late")
    page.fill("#expires", "2020-01-01")
    page.locator("main form button[type=submit]").click()
    expect(page.locator("#expires-error")).to_be_visible()
    assert page.input_value("#name") == "late"


def test_the_filter_follows_typing_and_the_address(page: Page, site: Site) -> None:
    site.sign_in(page, "owner")
    for name in ("apples", "pears"):
        make(page, site, "en", f"filter {name}")
    site.open(page, "@/keys")
    rows = page.locator("#keys-list tbody tr")
    page.fill("input[name=q][type=search]:not([data-slash])", "filter pe")
    expect(rows).to_have_count(1)
    expect(page).to_have_url(re.compile("q=filter"))
    page.reload()
    expect(rows).to_have_count(1)
    page.locator("select[name=state]").select_option("disabled")
    expect(rows).to_have_count(0)
    page.go_back()
    expect(rows).to_have_count(1)


@pytest.mark.parametrize("role", ["viewer", "billing"])
def test_low_roles_only_look(page: Page, site: Site, role: str, complaints: Complaints) -> None:
    complaints.expect("403")
    site.sign_in(page, role)
    site.open(page, "@/keys")
    expect(page.get_by_role("link", name="demo", exact=True)).to_be_visible()
    expect(page.locator('a[href$="/keys/new"]')).to_have_count(0)
    page.get_by_role("link", name="demo", exact=True).click()
    expect(page.locator("main form")).to_have_count(0)
    answer = page.goto(f"{site.url}/en/console/{site.org_id}/keys/new")
    assert answer is not None
    assert answer.status == 403


def test_a_stranger_finds_nothing(page: Page, site: Site, complaints: Complaints) -> None:
    complaints.expect("404")
    site.sign_in(page, "stranger")
    for path in ("keys", "keys/new", "playground/chat"):
        answer = page.goto(f"{site.url}/en/console/{site.org_id}/{path}")
        assert answer is not None
        assert answer.status == 404
