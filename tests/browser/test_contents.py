"""Content of requests: switched on, read on a receipt, deleted, switched off; who may."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.support.residents import session
from tests.support.server import until


def kept_request(site: Site, text: str) -> str:
    """The id of a request whose content is kept: the server has noticed by then."""

    def kept() -> str | None:
        sent.append(site.server.chat(text).request_id)
        return next((one for one in sent if any(folder.glob(f"*/*/{one}"))), None)

    sent: list[str] = []
    folder = site.server.data / "contents"
    return until(kept, "the content of a request", 10)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_content_is_stored_read_and_deleted(page: Page, site: Site, lang: str) -> None:
    site.sign_in(page, "owner")
    before = site.server.chat("said before").request_id
    site.open(page, f"@/requests/{before}", lang)
    page.locator("#request-content a").click()  # not stored: to the settings
    page.get_by_label({"en": "Days stored", "zh": "存储天数"}[lang]).fill("7")
    page.locator("main form#contents button").click()
    expect(page.locator("main .callout.warn")).to_contain_text("7")

    request_id = kept_request(site, f'answer <b data-{lang}="1">')
    site.open(page, f"@/requests?q={request_id}", lang)
    page.locator(f'a.rowlink[href$="{request_id}"]').click()
    drawer = page.get_by_role("dialog").first
    drawer.locator("#request-content a.btn").click()
    content = drawer.locator("#request-content")
    expect(content).to_be_focused()
    expect(content.locator("pre").first).to_contain_text(f'<b data-{lang}=\\"1\\">')
    expect(content.locator("pre").nth(1)).to_contain_text("chat.completion")
    expect(content.locator("b[data-en], b[data-zh]")).to_have_count(0)

    operator, owner = site.people["operator"], site.people["owner"]
    site.sign_in(page, "operator")  # no member: nothing is there, unless through somebody's eyes
    address = f"{site.url}/{lang}/console/{site.org_id}/requests/{request_id}/content"
    assert page.context.request.get(address).status == 404
    looking = session(site.server.data, owner.user_id, operator.user_id)
    page.context.add_cookies([{"name": "tm_session", "value": looking, "url": site.url}])
    assert page.context.request.get(address).ok

    site.sign_in(page, "viewer")  # sees the receipt, and that it is not for them
    site.open(page, f"@/requests/{request_id}", lang)
    expect(page.locator("#request-content")).to_contain_text("7")
    expect(page.locator("#request-content a")).to_have_count(0)
    refused = page.context.request.get(page.url + "/content")
    assert refused.status == 403

    site.sign_in(page, "developer")  # may read and delete, and not switch
    site.open(page, f"@/requests/{request_id}/content", lang)
    page.locator('[commandfor="delete-content"]').first.click()
    page.locator("#delete-content form button").first.click()
    page.wait_for_url(f"**/requests/{request_id}")
    page.locator("#request-content a.btn").click()
    expect(page.locator("#request-content pre")).to_have_count(0)

    site.sign_in(page, "owner")
    site.open(page, "@/audit?group=content", lang)
    lines = page.locator("#audit-lines tbody tr").filter(has_text=request_id)
    expect(lines).to_have_count(4)  # read by owner, operator, developer; deleted by the last
    expect(lines.nth(2)).to_contain_text(operator.email)
    expect(lines.nth(2)).to_contain_text(owner.email)
    site.open(page, "@/settings/contents", lang)
    page.locator('[commandfor="off"]').first.click()
    page.locator("#off form button").first.click()
    expect(page.locator("main .callout.ok").last).to_be_visible()
    assert not list((site.server.data / "contents").glob("*/*/*"))
