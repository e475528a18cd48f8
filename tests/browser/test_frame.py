"""What holds for the whole site: first visit, theme, headers (journeys 3 and 27)."""

import http.client

import pytest
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import Site


def ask(site: Site, path: str, **headers: str) -> http.client.HTTPResponse:
    """GET without following redirects."""
    connection = http.client.HTTPConnection("127.0.0.1", site.server.port, timeout=20)
    connection.request(
        "GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()}
    )
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


@pytest.mark.parametrize(
    ("headers", "lang"),
    [
        ({}, "en"),
        ({"accept_language": "zh-CN,zh;q=0.9,en;q=0.8"}, "zh"),
        ({"accept_language": "fr, en;q=0.5, zh;q=0.7"}, "zh"),
        ({"accept_language": "zh;q=0.2, en-GB;q=0.3"}, "en"),
        ({"accept_language": "zh;q=x, *"}, "en"),
        ({"accept_language": "en", "cookie": "tm_lang=zh"}, "zh"),
        ({"accept_language": "zh", "cookie": "tm_lang=xx"}, "zh"),
    ],
)
def test_j03_the_first_visit_goes_to_the_visitors_language(
    site: Site, headers: dict[str, str], lang: str
) -> None:
    response = ask(site, "/", **headers)
    assert response.status == 307
    assert response.headers["location"] == f"/{lang}/"
    assert "Accept-Language" in response.headers["vary"]


def test_an_unknown_page_is_a_page_in_the_visitors_language(site: Site) -> None:
    for path in ("/nothing", "/en/nothing", "/zh/console/org_unknown/keys%00"):
        response = ask(site, path, accept="text/html", accept_language="zh")
        expected = 303 if "console" in path else 404
        assert response.status in (404, expected), path


def test_every_answer_carries_the_headers_of_safety(site: Site) -> None:
    for path in ("/en/", "/en/sign-in", "/zh/nothing"):
        headers = ask(site, path, accept="text/html").headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert "frame-ancestors 'none'" in policy, path
        assert "require-trusted-types-for 'script'" in policy, path
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-request-id"].startswith("req_")


def test_j27_the_theme_stays_and_is_there_before_the_first_paint(
    page: BrowserPage, site: Site
) -> None:
    site.sign_in(page, "owner")
    site.open(page, "@")
    before = page.locator("html").get_attribute("data-theme")
    page.locator("[data-theme-toggle]:visible").first.click()
    after = page.locator("html").get_attribute("data-theme")
    assert after != before
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    assert cookies["tm_theme"] == after
    html = page.context.request.get(f"{site.url}/en/models").text()
    assert f'data-theme="{after}"' in html  # the server sets it: no flash
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == after
