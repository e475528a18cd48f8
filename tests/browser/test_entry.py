"""Coming in: sign-up by keyboard, wrong passwords and waits, reset, second factor, sessions, forms
of strangers (journeys 5, 29 and 31)."""

import base64
import re
import time

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, Site
from tests.support.residents import PASSWORD, one_time

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])
NEW = "another long password"


def sign_up(page: Page, site: Site, lang: str, email: str) -> None:
    site.open(page, "/sign-up", lang)
    page.locator("#name").fill("Ann Example")
    page.locator("#email").fill(email)
    page.locator("#password").fill(PASSWORD)
    page.locator("main button[type=submit]").click()
    page.wait_for_url(re.compile(r"/console/org_\w+$"))


def sign_in(page: Page, site: Site, lang: str, email: str, password: str) -> None:
    site.open(page, "/sign-in", lang)
    page.locator("#email").fill(email)
    page.locator("#password").fill(password)
    page.locator("main button[type=submit]").click()


@LANGS
def test_j29_signing_up_needs_only_the_keyboard(page: Page, site: Site, lang: str) -> None:
    site.open(page, "/sign-up", lang)
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.type("Ann Keys")
    page.keyboard.press("Tab")
    page.keyboard.type(f"keys-{lang}@example.test")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"/{lang}/console/org_\w+$"))
    cookie = next(c for c in page.context.cookies() if c["name"] == "tm_session")
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"


@LANGS
def test_j05_wrong_passwords_wait_and_a_link_sets_a_new_one(
    page: Page, site: Site, complaints: Complaints, lang: str
) -> None:
    complaints.expect(r"status of (422|429)")
    email = f"forgets-{lang}@example.test"
    sign_up(page, site, lang, email)
    user_id = site.user_id(email)
    page.context.clear_cookies()
    wrong = {"en": "is not right", "zh": "不正确"}[lang]
    wait = {"en": "Wait", "zh": "请等待"}[lang]
    for _ in range(5):
        sign_in(page, site, lang, email, "not the password")
        expect(page.locator("[role=alert]")).to_contain_text(wrong)
    sign_in(page, site, lang, email, PASSWORD)
    expect(page.locator("[role=alert]")).to_contain_text(wait)
    assert page.locator("#password").input_value() == ""

    token = one_time(site.server.data, "reset", user_id)
    site.open(page, f"/reset/{token}", lang)
    page.locator("#password").fill("ann")
    page.locator("#password").evaluate("field => field.removeAttribute('minlength')")
    page.locator("main button[type=submit]").click()
    expect(page.locator("#password-error")).to_contain_text("10")
    page.locator("#password").fill(NEW)
    page.locator("main button[type=submit]").click()
    page.wait_for_url(f"{site.url}/{lang}/sign-in")
    sign_in(page, site, lang, email, NEW)
    page.wait_for_url(re.compile(r"/console/org_"))
    complaints.expect("status of 404")
    site.open(page, f"/reset/{token}", lang)
    expect(page.locator("h1")).to_contain_text({"en": "does not work", "zh": "已失效"}[lang])


def code(secret: str, ahead_s: int = 0) -> str:
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    totp = TOTP(key, 6, SHA1(), 30, enforce_key_length=False)
    return totp.generate(int(time.time()) + ahead_s).decode()


@LANGS
def test_a_second_factor_is_set_up_and_asked_for(
    page: Page, site: Site, complaints: Complaints, lang: str
) -> None:
    complaints.expect("status of 422")
    email = f"factor-{lang}@example.test"
    sign_up(page, site, lang, email)
    site.open(page, "/account/security", lang)
    page.locator("a[href$='/two-factor']").click()
    secret = page.locator(".copyfield code").inner_text().replace(" ", "")
    page.locator("#code").fill(code(secret))
    page.locator("main form button[type=submit]").click()
    expect(page.locator(".codes li")).to_have_count(10)
    recovery = page.locator(".codes li").first.inner_text()
    page.locator("main a.btn.primary").click()
    expect(page.locator("main")).to_contain_text("10")

    page.context.clear_cookies()
    sign_in(page, site, lang, email, PASSWORD)
    page.locator("#code").fill("000000")
    page.locator("main button[type=submit]").click()
    expect(page.locator("#code-error")).to_be_visible()
    page.locator("#code").fill(recovery)
    page.locator("main button[type=submit]").click()
    page.wait_for_url(re.compile(r"/console/org_"))
    site.open(page, "/account/security", lang)
    expect(page.locator("main")).to_contain_text("9")


@LANGS
def test_a_new_password_renews_the_session_and_ends_the_others(
    page: Page, site: Site, lang: str
) -> None:
    email = f"changes-{lang}@example.test"
    sign_up(page, site, lang, email)

    def cookie() -> str:
        return next(c["value"] for c in page.context.cookies() if c["name"] == "tm_session")

    first = cookie()
    sign_in_elsewhere = page.context.browser
    assert sign_in_elsewhere is not None
    other = sign_in_elsewhere.new_context()
    try:
        elsewhere = other.new_page()
        sign_in(elsewhere, site, lang, email, PASSWORD)
        elsewhere.wait_for_url(re.compile(r"/console/org_"))
        site.open(page, "/account/security", lang)
        expect(page.locator("tbody tr")).to_have_count(2)
        page.locator("#old").fill(PASSWORD)
        page.locator("#password").fill(NEW)
        page.locator("form[action$='/password'] button[type=submit]").click()
        expect(page.locator("[data-flash]")).to_be_visible()
        expect(page.locator("tbody tr")).to_have_count(1)
        assert cookie() != first
        site.open(elsewhere, "/account/profile", lang)
        elsewhere.wait_for_url(re.compile("/sign-in"))
    finally:
        other.close()


@LANGS
def test_j31_an_ended_session_changes_nothing_and_leads_back(
    page: Page, site: Site, complaints: Complaints, lang: str
) -> None:
    complaints.expect("status of 401")
    email = f"ended-{lang}@example.test"
    sign_up(page, site, lang, email)
    site.open(page, "/account/profile", lang)
    page.context.clear_cookies()
    page.locator("#name").fill("Somebody Else")
    page.locator("main form button[type=submit]").first.click()
    expect(page.locator("h1")).to_contain_text({"en": "sign in again", "zh": "重新登录"}[lang])
    expect(page.locator("main")).to_contain_text("req_")
    site.open(page, "/account/profile?x=1", lang)
    assert page.url.endswith(f"/{lang}/sign-in?next=/{lang}/account/profile%3Fx%3D1")
    page.locator("#email").fill(email)
    page.locator("#password").fill(PASSWORD)
    page.locator("main button[type=submit]").click()
    page.wait_for_url(f"{site.url}/{lang}/account/profile?x=1")
    assert page.locator("#name").input_value() == "Ann Example"


def test_j31_a_form_of_another_site_is_refused(page: Page, site: Site) -> None:
    site.sign_in(page, "viewer")
    site.open(page, "/account/profile")
    token = page.locator("main input[name=csrf]").first.input_value()
    ask = page.context.request
    url = f"{site.url}/en/account/profile"
    here = {"origin": site.url}
    for form, headers in (
        ({"name": "X"}, here),
        ({"name": "X", "csrf": "x" * len(token)}, here),
        ({"name": "X", "csrf": token}, {"origin": "https://evil.example"}),
        ({"name": "X", "csrf": token}, {"origin": "null"}),
    ):
        answer = ask.post(url, form=form, headers=headers)
        assert answer.status == 403, headers
        assert "req_" in answer.text()
    page.reload()
    assert page.locator("#name").input_value() == "Viewer"
    assert ask.post(url, form={"name": "Viewer", "csrf": token}, headers=here).status == 200


def test_where_a_sign_in_leads_is_always_this_site(page: Page, site: Site) -> None:
    for path in (
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
    ):
        site.open(page, f"/sign-in?next={path}")
        assert page.locator("input[name=next]").input_value() == "/en/console"


@LANGS
def test_the_first_operator_comes_in_by_a_link(page: Page, site: Site, lang: str) -> None:
    token = one_time(site.server.data, "welcome", "")
    site.open(page, f"/welcome/{token}", lang)
    page.locator("#name").fill("Root")
    page.locator("#email").fill(f"root-{lang}@example.test")
    page.locator("#password").fill(PASSWORD)
    page.locator("main button[type=submit]").click()
    page.wait_for_url(f"{site.url}/{lang}/console/{site.org_id}")
    assert page.locator("a[href$='/admin']").count() > 0
