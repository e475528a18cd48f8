"""Webhook endpoints in the console: made, tested against a receiver here, rotated, turned off."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, Site, served
from tests.support.server import until
from tests.support.webhooks import Receiver, receiving
from tokenmarket.core.video.webhooks import verify

LANGS = pytest.mark.parametrize("lang", ["en", "zh"])
WORDS = {
    "en": (
        "Send a test event",
        "Delivered",
        "Send again",
        "Failed, will be tried again",
        "Turn off",
    ),
    "zh": ("发送测试事件", "已送达", "重新发送", "失败，将重试", "关闭"),
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Site]:
    """A server that may send to the receiver, which is on a private address."""
    folder = tmp_path_factory.mktemp("webhooks")
    yield from served(folder, TOKENMARKET_WEBHOOK_ORIGINS=receiver.origin)


def button(page: Page, text: str) -> None:
    page.get_by_role("button", name=text, exact=True).click()


@LANGS
def test_an_endpoint_from_its_making_to_its_end(
    page: Page, site: Site, receiver: Receiver, lang: str
) -> None:
    test, delivered, again, failed, off = WORDS[lang]
    receiver.posts.clear()
    site.sign_in(page, "developer")
    site.open(page, "@/webhooks", lang)
    page.locator('a[href$="/webhooks/new"]').first.click()
    page.locator("#url").fill(receiver.url)
    page.locator("#description").fill("Our videos")
    page.locator("#events-key\\.created").check()
    page.locator("main form button.primary").click()
    secret = page.locator("[data-secret]").inner_text()
    assert secret.startswith("whsec_")
    page.locator('a[href*="/webhooks/whe_"]').click()
    home = page.url

    button(page, test)
    page.wait_for_url(re.compile(r"/deliveries/whd_"))
    expect(page.locator("main")).to_contain_text(delivered)
    expect(page.locator("main")).to_contain_text("thank you")
    [(headers, body)] = receiver.posts
    event_id = verify([secret], headers, body, int(time.time()))
    expect(page.locator("main")).to_contain_text(event_id)

    receiver.status = 500
    button(page, again)
    expect(page.locator("main")).to_contain_text(failed)
    receiver.status = 200
    assert receiver.posts[-1][0]["webhook-id"] == event_id

    page.goto(home)
    page.locator("button[command=show-modal][commandfor=rotate]").click()
    page.locator("#rotate button.primary").click()
    second = page.locator("[data-secret]").inner_text()
    site.server.create_key()
    event = until(lambda: b"key.created" in receiver.posts[-1][1], "the event of the key")
    assert event
    headers, body = receiver.posts[-1]
    for one in (secret, second):
        verify([one], headers, body, int(time.time()))

    page.goto(home)
    button(page, off)
    expect(page.get_by_role("button", name=test)).to_have_count(0)
    page.locator("button[command=show-modal][commandfor=delete]").click()
    page.locator("#delete form button.danger").click()
    page.wait_for_url(re.compile(r"/webhooks$"))
    expect(page.locator("main")).not_to_contain_text(receiver.url)


@LANGS
def test_an_address_that_cannot_be_reached_is_said_beside_its_field(
    page: Page, site: Site, complaints: Complaints, lang: str
) -> None:
    complaints.expect("status of 422")
    site.sign_in(page, "owner")
    site.open(page, "@/webhooks/new", lang)
    page.locator("#url").fill("https://10.0.0.1/hook")
    page.locator("main form button.primary").click()
    expect(page.locator("#url")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#url-error")).to_be_visible()
    expect(page.locator("#url")).to_have_value("https://10.0.0.1/hook")


@LANGS
def test_a_viewer_may_not(page: Page, site: Site, complaints: Complaints, lang: str) -> None:
    complaints.expect("status of 403")
    site.sign_in(page, "viewer")
    answer = page.goto(f"{site.url}/{lang}/console/{site.org_id}/webhooks")
    assert answer is not None
    assert answer.status == 403
