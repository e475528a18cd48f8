"""Members, roles and teams: an invitation's way, what a role may not open, a team's budget, the
trace of a setting (journeys 6, 7 and 22)."""

import http.client
import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, Site
from tests.support.residents import PASSWORD
from tests.support.server import until

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])


@LANGS
def test_j06_an_invited_viewer_reads_and_changes_nothing(
    page: Page, site: Site, complaints: Complaints, lang: str
) -> None:
    complaints.expect("status of (403|404)")
    email = f"invited-{lang}@example.test"
    site.sign_in(page, "admin")
    site.open(page, "@/members/invite", lang)
    assert page.locator("input[name=role]").count() == 4  # an admin makes no owners
    page.locator("#email").fill(email)
    page.locator("#role-viewer").check()
    page.locator("main form button[type=submit]").click()
    link = page.locator("[data-secret]").inner_text()
    site.open(page, "@/members", lang)
    expect(page.locator("main")).to_contain_text(email)

    page.context.clear_cookies()
    page.goto(link)
    page.locator("#name").fill("Ina")
    page.locator("#password").fill(PASSWORD)
    page.locator("main form button[type=submit]").click()
    page.wait_for_url(f"{site.url}/{lang}/console/{site.org_id}")
    for hidden in ("members", "teams", "settings", "audit"):
        assert page.locator(f"nav a[href$='/{site.org_id}/{hidden}']").count() == 0
        answer = page.goto(f"{site.url}/{lang}/console/{site.org_id}/{hidden}")
        assert answer is not None
        assert answer.status == 403, hidden
    site.open(page, "@/keys", lang)
    assert page.locator("a[href$='/keys/new']").count() == 0

    page.context.clear_cookies()
    page.goto(link)
    expect(page.locator("h1")).to_contain_text({"en": "does not work", "zh": "已失效"}[lang])
    site.sign_in(page, "owner")
    site.open(page, "@/members", lang)
    row = page.locator("tr", has_text=email)
    row.locator("select").select_option("billing")
    row.locator("form button").first.click()
    expect(page.locator("[data-flash]")).to_be_visible()
    assert page.locator("tr", has_text=email).locator("select").input_value() == "billing"
    page.locator("tr", has_text=email).locator("button[commandfor]").click()
    page.locator("dialog[open] form button[type=submit]").click()
    expect(page.locator("tr", has_text=email)).to_have_count(0)


@LANGS
def test_j07_a_stranger_finds_no_organisation(
    page: Page, site: Site, complaints: Complaints, lang: str
) -> None:
    complaints.expect("status of 404")
    site.sign_in(page, "stranger")
    for path in ("members", "teams", "settings", "audit", "members/invite", "keys"):
        answer = page.goto(f"{site.url}/{lang}/console/{site.org_id}/{path}")
        assert answer is not None
        assert answer.status == 404, path


def chat(site: Site, key: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=20)
    body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": "Hello!"}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection.request("POST", "/api/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@LANGS
def test_j22_a_teams_budget_stops_its_keys(page: Page, site: Site, lang: str) -> None:
    site.sign_in(page, "owner")
    site.open(page, "@/teams/new", lang)
    page.locator("#name").fill(f"Budget {lang}")
    page.locator("#spend_month").fill("0.000001")
    page.locator("main form button[type=submit]").click()
    page.wait_for_url(re.compile("/teams/team_"))
    team_id = page.url.rpartition("/")[2]
    site.open(page, "@/keys/new", lang)
    page.locator("#name").fill("of a team")
    page.locator("select[name=team]").select_option(team_id)
    page.locator("main form button[type=submit]").first.click()
    key = page.locator("[data-secret]").inner_text()
    status, text = chat(site, key)
    assert status == 403, text
    error = json.loads(text)["error"]
    assert (error["code"], error["scope"]) == ("BILLING_003", "team")
    site.open(page, f"@/teams/{team_id}", lang)
    page.locator("#spend_month").fill("1")
    page.locator("main form button[type=submit]").first.click()
    expect(page.locator("[data-flash]")).to_be_visible()
    until(lambda: chat(site, key)[0] == 200, "the new budget")
    site.open(page, f"@/teams/{team_id}", lang)
    spent = page.locator(".facts dd").first.inner_text()
    assert re.fullmatch(r"(US)?\$0\.0000\d+", spent), spent


@LANGS
def test_settings_and_their_trace(page: Page, site: Site, lang: str) -> None:
    site.sign_in(page, "owner")
    site.open(page, "@/settings", lang)
    page.locator("#time_zone").select_option("Asia/Shanghai")
    page.locator("main form button[type=submit]").first.click()
    expect(page.locator("[data-flash]")).to_be_visible()
    site.open(page, "@/audit", lang)
    expect(page.locator("main")).to_contain_text("Asia/Shanghai")
    expect(page.locator("tbody tr").first).to_contain_text("UTC → Asia/Shanghai")
    page.locator("select[name=group]").select_option("key")
    expect(page).to_have_url(re.compile("group=key"))
    expect(page.locator("tbody")).not_to_contain_text("Asia/Shanghai")
    site.open(page, "@/settings", lang)
    page.locator("#time_zone").select_option("UTC")
    page.locator("main form button[type=submit]").first.click()
    expect(page.locator("[data-flash]")).to_be_visible()
