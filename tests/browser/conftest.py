"""Pages in a real Chromium against the running program.

``page`` fails at its end if the browser saw an error, a breach of the content security policy, or a
request to another host. Chromium is Debian's, started once per process; ``make test`` installs it.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.support.residents import Person, populate, session, set_exchange_rate, user_id
from tests.support.server import Server

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--lang=en-US",
]


@dataclass
class Site:
    """A server with people in it; ``url`` has no slash at the end."""

    server: Server
    people: dict[str, Person]
    org_id: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def sign_in(self, page: Page, role: str) -> None:
        """The page belongs to the person of this role from now on."""
        # a new session: pages that want a fresh password take one that is minutes old
        token = session(self.server.data, self.people[role].user_id)
        page.context.add_cookies([{"name": "tm_session", "value": token, "url": self.url}])

    def set_exchange_rate(self, cny: str, day: str) -> None:
        """What prices are shown at in CNY."""
        set_exchange_rate(self.server.data, cny, day)

    def user_id(self, email: str) -> str:
        """Of somebody who signed up during the test."""
        return user_id(self.server.data, email)

    def open(self, page: Page, path: str, lang: str = "en") -> None:
        """A page of the site by its path without the language; ``@`` is the demo organisation."""
        path = path.replace("@", f"/console/{self.org_id}", 1) if path.startswith("@") else path
        page.goto(f"{self.url}/{lang}{path}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Playwright's loop runs in its thread until the end: these tests have a process of their own
    (``make test``), because no other test could run a loop there."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The server that most tests share; they leave things behind in it."""
    yield from served(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def quiet_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server of this module alone, where nothing has happened yet."""
    yield from served(tmp_path_factory.mktemp("quiet"))


def served(folder: Path, **environment: str) -> Iterator[Site]:
    """A server with people, for a fixture; ``environment``: further settings."""
    settings = {"TOKENMARKET_STRICT_TEXTS": "true", "TOKENMARKET_SIGN_UP": "open", **environment}
    server = Server(folder / "data", **settings)
    try:
        people = populate(server.data)
        org_id = server.get("/key").json["organization"]["id"]
        yield Site(server, people, org_id)
    finally:
        server.running.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is absent")
    expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    try:
        yield context
    finally:
        context.close()


class Complaints(list[str]):
    """What the browser complained of. A test that provokes an answer of an error says so with
    ``expect``: the console line of a failed load that matches is dropped."""

    def __init__(self) -> None:
        super().__init__()
        self._expected: list[str] = []

    def expect(self, pattern: str) -> None:
        self._expected.append(pattern)

    def left(self) -> list[str]:
        return [
            line for line in self if not any(re.search(known, line) for known in self._expected)
        ]


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def page(context: BrowserContext, complaints: Complaints) -> Iterator[Page]:
    page = context.new_page()
    watch(page, complaints)
    yield page
    assert complaints.left() == []


def watch(page: Page, complaints: list[str]) -> None:
    """Note errors, breaches of the policy, and requests to other hosts."""

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"console: {message.text}")

    page.on("console", console)
    page.on("pageerror", lambda error: complaints.append(f"script: {error}"))

    def requested(request: object) -> None:
        address = getattr(request, "url", "")
        if not address.startswith(("http://127.0.0.1:", "data:", "blob:", "about:")):
            complaints.append(f"another host: {address}")

    page.on("request", requested)
