"""The operator's journeys: a provider and its price (23), looking through somebody's eyes (24), a
route that is down (10)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, Site
from tests.support.server import Sandbox, until


@pytest.fixture(scope="module")
def site(quiet_site: Site) -> Site:
    """What an operator changes here (providers, routes, prices) is not for other tests."""
    return quiet_site


LANGS = pytest.mark.parametrize("lang", ["en", "zh"])
SAVE = {"en": "Save", "zh": "保存"}
KEY = "sk-upstream-0123456789abcdef"
MODEL = """
[[model]]
id = "{model}"
operation = "chat"
vendor = "tests"
context_tokens = 8000
max_output_tokens = 1000
"""
BROKEN = """
[[provider]]
name = "down-{lang}"
adapter = "vllm"
base_url = "http://127.0.0.1:1/v1"
[[route]]
model = "{model}"
provider = "down-{lang}"
price = [ {{ unit = "input_token", usd = "5" }}, {{ unit = "output_token", usd = "5" }} ]
[[route]]
model = "{model}"
provider = "sandbox"
upstream_model = "sandbox-chat"
priority = 1
price = [ {{ unit = "input_token", usd = "1" }}, {{ unit = "output_token", usd = "1" }} ]
"""


def press(page: Page, action: str) -> None:
    """The button of the form whose hidden ``action`` is this one."""
    form = page.locator(f'form:has(input[name="action"][value="{action}"])')
    form.locator("button[type=submit]").click()


@LANGS
def test_j23_a_provider_a_route_and_its_price(
    page: Page, site: Site, tmp_path: Path, lang: str
) -> None:
    name, model = f"own-{lang}", f"own-model-{lang}"
    site.server.apply(MODEL.format(model=model))
    upstream = Sandbox(tmp_path, key=KEY)
    try:
        site.sign_in(page, "operator")
        site.open(page, "/admin/providers/new", lang)
        page.fill("#name", name)
        page.select_option("#adapter", "vllm")
        page.fill("#base_url", upstream.url)
        page.fill("#key", KEY)
        page.locator("main form.form button[type=submit]").click()
        page.wait_for_url(f"**/{lang}/admin/providers/{name}")
        assert KEY not in page.content()
        press(page, "test")
        expect(page.locator(".callout.ok")).to_be_visible()
        assert KEY not in page.content()

        route = page.locator('form:has(input[value="add_route"])')
        until(lambda: _knows(page, model), "the page knows the model")
        route.locator("#model").fill(model)
        route.locator("#upstream_model").fill("sandbox-chat")
        route.locator("button[type=submit]").click()
        page.wait_for_url(f"**/admin/prices/new/{name}/{model}")
        for row, (unit, usd) in enumerate((("input_token", "2"), ("output_token", "4"))):
            page.locator('select[name="unit"]').nth(row).select_option(unit)
            page.locator('input[name="usd"]').nth(row).fill(usd)
        page.fill("#markup_percent", "25")
        page.fill("#reason", "first price")
        page.locator("main form.form button[type=submit]").click()

        page.wait_for_url("**/admin/prices/versions/pch_*")
        expect(page.locator("table").first).to_contain_text("$2.50")
        expect(page.locator("table").first).to_contain_text("$5.00")
        assert not site.server.listed(model).get("available")  # a preview changes nothing
        press(page, "schedule")

        def answered() -> bool:
            return site.server.chat(model=model).status == 200

        until(answered, "the price is published", 10)
        answer = site.server.chat(model=model)
        receipt = site.server.final_receipt(answer.request_id)
        assert {item["usd"] for item in receipt["items"]} == {"2.50", "5.00"}
        page.reload()
        expect(page.locator(".pill.ok")).to_be_visible()
        assert receipt["price_version"] in page.content()
    finally:
        upstream.end()


def _knows(page: Page, model: str) -> bool:
    page.reload()
    return page.locator(f'datalist option[value="{model}"]').count() == 1


@LANGS
def test_j24_through_somebodys_eyes_nothing_is_changed(
    page: Page, site: Site, complaints: Complaints, lang: str
) -> None:
    complaints.expect("status of 403")
    user_id = site.people["developer"].user_id
    site.sign_in(page, "operator")
    site.open(page, f"/admin/users/{user_id}", lang)
    page.locator('button[commandfor="look"]').first.click()
    page.locator("#look button[type=submit], #look form button").first.click()
    page.wait_for_url(f"**/{lang}/console/**")
    expect(page.locator(".banner.acting")).to_contain_text("developer@example.test")
    response = page.request.post(
        f"{site.url}/{lang}/console/{site.org_id}/keys/new", form={"name": "stolen"}
    )
    assert response.status == 403
    page.locator(".banner.acting button").click()
    expect(page.locator(".banner.acting")).to_have_count(0)

    site.sign_in(page, "operator")
    site.open(page, f"/admin/audit?action=user.impersonate&object={user_id}", lang)
    expect(page.locator("#audit-list")).to_contain_text("operator@example.test")
    site.open(page, "/admin/audit?check=1", lang)
    expect(page.locator(".callout.ok")).to_be_visible()


@LANGS
def test_j10_a_route_goes_down_and_the_next_one_answers(page: Page, site: Site, lang: str) -> None:
    model = f"shaky-{lang}"
    site.server.apply_models(
        MODEL.format(model=model) + BROKEN.format(model=model, lang=lang), model
    )
    receipts = [
        site.server.final_receipt(site.server.chat(model=model).request_id) for _ in range(6)
    ]
    first = receipts[0]
    assert [one["provider"] for one in first["attempts"]] == [f"down-{lang}", "sandbox"]
    assert {item["usd"] for item in first["items"]} == {"1.00"}  # the second route's price
    items = sum(Decimal(item["amount"]) for item in first["items"])
    assert items == Decimal(first["amounts"]["charged"])
    assert len(receipts[-1]["attempts"]) == 1  # the breaker is open: it is not asked any more

    site.sign_in(page, "operator")
    site.open(page, "/admin", lang)
    expect(page.locator("main")).to_contain_text(model)
    site.open(page, f"/admin/routes/down-{lang}/{model}", lang)
    expect(page.locator(".pill.bad")).to_be_visible()
    press(page, "reset")
    expect(page.locator(".callout.ok")).to_be_visible()
    expect(page.locator(".pill.bad")).to_have_count(0)


@LANGS
def test_an_announcement_and_a_suspension_reach_everybody(
    page: Page, site: Site, lang: str
) -> None:
    key = site.server.create_org(f"late payer {lang}", "1")
    org_id = site.server.get("/key", key=key).json["organization"]["id"]
    assert site.server.chat(key=key).status == 200
    site.sign_in(page, "operator")
    site.open(page, f"/admin/orgs/{org_id}", lang)
    page.locator('button[commandfor="suspend"]').first.click()
    page.fill("#suspend-reason", "no payment")
    page.locator("#suspend form button[type=submit]").click()
    until(lambda: site.server.chat(key=key).status == 401, "the key is refused", 5)

    site.open(page, "/admin/announcements", lang)
    page.fill("#text_en", f"Maintenance tonight {lang}")
    page.fill("#text_zh", f"今晚维护 {lang}")
    page.locator("main form.form button[type=submit]").click()
    text = {"en": f"Maintenance tonight {lang}", "zh": f"今晚维护 {lang}"}[lang]

    def showing() -> bool:
        site.open(page, "/models", lang)
        return page.locator(".banner", has_text=text).count() == 1

    until(showing, "the announcement shows", 10)
    site.open(page, "/admin/announcements", lang)
    page.locator("tr", has_text=text).locator("form button").click()
    expect(page.locator(".callout.ok")).to_be_visible()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_operator_closes_sign_up_and_names_help(page: Page, site: Site, lang: str) -> None:
    form = page.locator('form:has(input[value="people"])')

    def save(sign_up: str, support: str) -> None:
        site.open(page, "/admin/settings", lang)
        form.locator("#sign_up").select_option(sign_up)
        form.locator("#support").fill(support)
        form.locator("button[type=submit]").click()

    site.sign_in(page, "operator")
    save("closed", "help@example.test")
    expect(form.locator("#support")).to_have_value("help@example.test")
    try:
        page.context.clear_cookies()
        until(lambda: _helps(page, site, lang), "every page says where help is")
        site.open(page, "/sign-up", lang)
        expect(page.locator("input[name=email]")).to_have_count(0)
    finally:
        site.sign_in(page, "operator")
        save("", "")


def _helps(page: Page, site: Site, lang: str) -> bool:
    site.open(page, "/sign-in", lang)
    return page.locator('footer a[href="mailto:help@example.test"]').count() == 1
