"""The documentation is run: every block marked `run` of every page, in order, against a server.

Only the English pages are run: the Chinese ones have the same blocks (tests/docs/test_manual.py).
Providers of the examples answer by the sandbox, at the prices of the shipped catalog.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documentation import Block, blocks, masked, run_block, search_path
from tests.support.server import PROGRAM, TAKES_EFFECT_S, Sandbox, Server, until
from tokenmarket.web.manual.library import Page, load

OFFICE_URL = "http://127.0.0.1:8090/v1"  # what a page writes for `sh serve`
OFFICE_KEY = "office-secret"
# The examples of the first public page name this provider and these models.
STAND_IN = """
[[provider]]
name = "dataeyes"
adapter = "sandbox"
base_url = "sandbox:"

[[route]]
model = "DeepSeek-V4-pro"
provider = "dataeyes"
upstream_model = "sandbox-chat"
price = [
  { unit = "input_token", usd = "1.32" },
  { unit = "cached_input_token", usd = "0.044" },
  { unit = "output_token", usd = "3.96" },
]

[[route]]
model = "kling-v1"
provider = "dataeyes"
upstream_model = "sandbox-video"
price = [{ unit = "video_second", usd = "0.14" }]
"""


def runnable(page: Page) -> bool:
    return any(block.kind == "run" for block in blocks(page.source))


PAGES = [page for page in load().ordered["en"] if runnable(page)]


class Place:
    """A running gateway, and a sandbox as a server of somebody's own."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(folder / "data")
        try:
            self.office = Sandbox(folder / "office", key=OFFICE_KEY)
            self.server.apply_models(STAND_IN, "DeepSeek-V4-pro", "kling-v1")
        except BaseException:
            self.server.running.end()
            raise
        self.environment = {
            **self.server.environment,
            "PATH": search_path(PROGRAM.parent),
            "URL": self.server.base_url,
            "KEY": self.server.key,
        }

    def run(self, block: Block, folder: Path) -> str:
        block = block._replace(text=block.text.replace(OFFICE_URL, self.office.url))
        printed = run_block(block, folder, self.environment)
        if "catalog apply" in block.text:
            until(
                lambda: self.server.listed("office-chat").get("available"),
                "the applied catalog",
                TAKES_EFFECT_S,
            )
        return printed


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    found = Place(tmp_path_factory.mktemp("manual"))
    try:
        yield found
        found.server.verify()
    finally:
        found.office.end()
        found.server.running.end()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)
def test_what_is_shown_is_what_happens(place: Place, page: Page, tmp_path: Path) -> None:
    """Every command works as printed; blocks side by side print the one output below them."""
    printed: list[tuple[Block, str]] = []
    ended = 0
    for block in blocks(page.source):
        beside = not page.source[ended : block.starts].strip()
        if not beside or block.language in [ran.language for ran, _ in printed]:
            printed = []
        ended = block.ends
        if block.kind == "run":
            if block.language == "js" and shutil.which("node") is None:
                continue  # test_javascript_can_be_run says so
            printed.append((block, place.run(block, tmp_path)))
        elif block.kind == "output":
            assert printed, f"{page.path}:{block.line}: output of nothing"
            for ran, text in printed:
                assert masked(text) == masked(block.text), f"{page.path}:{ran.line}"
            printed = []
        elif block.language == "toml" and block.kind:
            (tmp_path / block.kind).write_text(block.text, encoding="utf-8")


def test_javascript_can_be_run() -> None:
    """The JavaScript blocks are run by the test above where there is a node."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed: JavaScript examples are not run here")
    assert any(block.language == "js" for page in PAGES for block in blocks(page.source))
