"""A management key from making to its end, by the pages, and what it opens meanwhile."""

import pytest
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import Site


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_made_used_disabled(page: BrowserPage, site: Site, lang: str) -> None:
    name = f"robot {lang}"
    site.sign_in(page, "admin")
    site.open(page, "@/settings/api", lang)
    page.locator('.head a[href$="/settings/api/new"]').click()
    page.fill("#name", name)
    assert page.locator("#role option").count() == 4  # an admin makes no owner
    page.select_option("#role", "billing")
    page.locator('main form.form button[type="submit"]').click()
    secret = page.locator("[data-secret]").inner_text()
    assert secret.startswith("tm_adm_")
    shown = site.server.call("GET", "/api/manage/v1/key", key=secret)
    assert shown.json["role"] == "billing"
    assert shown.json["maker"] == f"user:{site.people['admin'].user_id}"
    site.open(page, "@/settings/api", lang)
    assert secret not in page.content()
    row = page.locator("tr", has_text=name)
    assert "Admin" in row.inner_text()
    row.locator("button").click()
    page.locator("dialog[open] form button[type=submit]").click()
    page.wait_for_url("**/settings/api")
    assert page.locator("tr.off", has_text=name).count() == 1
    gone = site.server.call("GET", "/api/manage/v1/key", key=secret)
    assert (gone.status, gone.error["reason"]) == (401, "key_disabled")


def test_an_operators_key_belongs_to_no_organisation(page: BrowserPage, site: Site) -> None:
    site.sign_in(page, "operator")
    site.open(page, "/admin/settings/api/new")
    page.fill("#name", "desk")
    page.locator('main form.form button[type="submit"]').click()
    secret = page.locator("[data-secret]").inner_text()
    shown = site.server.call("GET", "/api/manage/v1/key", key=secret).json
    assert (shown["role"], shown["organization_id"]) == ("operator", None)
