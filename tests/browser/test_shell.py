"""The frame around pages: menus, dialogs, drawers of the keyboard, and axe while they are open."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, Site
from tests.browser.test_all_pages import violations

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])


def check_themes(page: Page) -> None:
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        assert violations(page) == [], theme


@LANGS
@pytest.mark.parametrize("menu", ["account-menu", "org-menu"])
def test_a_menu_opens_and_closes_by_keyboard(page: Page, site: Site, menu: str, lang: str) -> None:
    site.sign_in(page, "operator" if menu == "account-menu" else "owner")
    site.open(page, "/account/profile", lang)
    button = page.locator(f"[popovertarget={menu}]")
    button.focus()
    page.keyboard.press("Enter")
    box = page.locator(f"#{menu}")
    expect(box).to_be_visible()
    page.keyboard.press("Tab")
    assert box.evaluate("box => box.contains(document.activeElement)")
    check_themes(page)
    page.keyboard.press("Escape")
    expect(box).not_to_be_visible()
    expect(button).to_be_focused()


@LANGS
def test_the_side_menu_of_a_phone(page: Page, site: Site, lang: str) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    site.sign_in(page, "owner")
    site.open(page, "@/keys", lang)
    side, button = page.locator("#side"), page.locator("header [popovertarget=side]")
    expect(side).not_to_be_visible()
    button.focus()
    page.keyboard.press("Enter")
    expect(side).to_be_visible()
    check_themes(page)
    page.keyboard.press("Escape")
    expect(side).not_to_be_visible()
    expect(button).to_be_focused()
    button.click()
    side.get_by_role("link", name={"en": "Playground", "zh": "体验中心"}[lang]).click()
    page.wait_for_url(re.compile("/playground/chat"))
    expect(side).not_to_be_visible()


@LANGS
def test_a_dialog_keeps_and_returns_the_focus(page: Page, site: Site, lang: str) -> None:
    site.sign_in(page, "owner")
    site.open(page, f"@/keys/{site.server.get('/key').json['id']}", lang)
    for name in ("disable", "roll"):
        opener = page.locator(f"[command=show-modal][commandfor={name}]")
        opener.focus()
        page.keyboard.press("Enter")
        dialog = page.locator(f"#{name}")
        expect(dialog).to_be_visible()
        assert dialog.evaluate("dialog => dialog.contains(document.activeElement)")
        check_themes(page)
        page.keyboard.press("Escape")
        expect(dialog).not_to_be_visible()
        expect(opener).to_be_focused()


@LANGS
def test_errors_of_a_form_are_told_beside_their_field(
    page: Page, site: Site, lang: str, complaints: Complaints
) -> None:
    complaints.expect("422")
    site.sign_in(page, "owner")
    site.open(page, "@/keys/new", lang)
    page.fill("#name", "wrong")
    page.fill("#spend_day", "much")
    page.press("#spend_day", "Enter")
    field = page.locator("#spend_day")
    expect(field).to_have_attribute("aria-invalid", "true")
    described = field.get_attribute("aria-describedby") or ""
    expect(page.locator(f"#{described.split()[0]}")).not_to_be_empty()
    expect(page.locator("main [role=alert]")).to_be_visible()
    check_themes(page)


def test_j29_a_key_is_made_and_used_with_the_keyboard_only(page: Page, site: Site) -> None:
    site.sign_in(page, "developer")
    site.open(page, "@/keys/new")
    page.locator("#name").focus()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    secret = page.locator("[data-secret]")
    key = secret.inner_text()
    # the skip link is the first stop of every page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    stops = 0
    while not page.evaluate("document.activeElement.matches('.secret [data-copy]')"):
        page.keyboard.press("Tab")
        stops += 1
        assert stops < 10
    assert site.server.chat(key=key).status == 200


def test_a_form_is_sent_once(page: Page, site: Site) -> None:
    site.sign_in(page, "owner")
    site.open(page, "@/keys/new")
    page.fill("#name", "pressed twice")
    page.locator("main form button[type=submit]").evaluate(
        "button => { button.click(); button.click() }"
    )
    page.locator("[data-secret]").wait_for()
    site.open(page, "@/keys")
    expect(page.get_by_role("link", name="pressed twice", exact=True)).to_have_count(1)


def test_slash_goes_to_the_search_but_not_while_typing(page: Page, site: Site) -> None:
    site.sign_in(page, "owner")
    site.open(page, "@/keys/new")
    page.locator("#main").focus()
    page.keyboard.press("/")
    search = page.locator("[data-slash]")
    expect(search).to_be_focused()
    assert search.input_value() == ""
    page.locator("#name").focus()
    page.keyboard.press("/")
    assert page.input_value("#name") == "/"


def test_the_playground_of_a_model_is_one_link_away(page: Page, site: Site) -> None:
    site.sign_in(page, "owner")
    for model, kind in (("sandbox-rerank", "rerank"), ("sandbox-reasoner", "chat")):
        page.goto(f"{site.url}/en/console?open=playground&model={model}")
        page.wait_for_url(re.compile(rf"/playground/{kind}\?model={model}$"))
        assert page.input_value("#model") == model
