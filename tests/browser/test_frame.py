"""What holds for the whole site: first visit, theme, headers, weight (journeys 3 and 27)."""

import http.client

import pytest
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import Response

from tests.browser.addresses import address, role_for, shown
from tests.browser.conftest import Site
from tokenmarket.web.site.pages import Page

KB = 1_000
# design/web.md section 9, transferred bytes
CONSOLE_BYTES_MAX, PUBLIC_BYTES_MAX = 110 * KB, 100 * KB
SCRIPT_BYTES_MAX, STYLE_BYTES_MAX = 30 * KB, 14 * KB
REQUESTS_MAX = 10
PAGES = pytest.mark.parametrize("row", shown(), ids=lambda row: row.path)


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


@PAGES
def test_what_a_page_weighs(page: BrowserPage, site: Site, row: Page) -> None:
    role = role_for(row)
    if role is not None:
        site.sign_in(page, role)
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(f"{site.url}/en{address(row, site)}", wait_until="networkidle")
    sizes: dict[str, int] = {}
    for answer in answers:
        kind = answer.request.resource_type
        sizes[kind] = sizes.get(kind, 0) + answer.request.sizes()["responseBodySize"]
    public = row.policy.kind == "public"
    assert sum(sizes.values()) <= (PUBLIC_BYTES_MAX if public else CONSOLE_BYTES_MAX), sizes
    assert sizes.get("script", 0) <= SCRIPT_BYTES_MAX, sizes
    assert sizes.get("stylesheet", 0) <= STYLE_BYTES_MAX, sizes
    assert len(answers) <= REQUESTS_MAX, [answer.url for answer in answers]


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
