"""The README is run: every block marked `run`, in order, in both languages, against a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.documentation import (
    Block,
    blocks,
    masked,
    run_block,
    search_path,
    without_comments,
)
from tests.support.server import PROGRAM, TAKES_EFFECT_S, Sandbox, Server, until
from tokenmarket.catalog import load_shipped
from tokenmarket.config import SECRET_KEY_ENV
from tokenmarket.core.errors import CODES
from tokenmarket.settings import SETTINGS

PAGES = ("README.md", "README.zh.md")
OFFICE_URL = "http://127.0.0.1:8090/v1"  # what the page writes for `sh serve`
OFFICE_KEY = "office-secret"


def read_blocks(page: str) -> list[Block]:
    return blocks((ROOT / page).read_text(encoding="utf-8"))


class Reader:
    """Somebody who follows the page: a directory, a shell, and the key that was printed."""

    def __init__(self, server: Server, sandbox: Sandbox, folder: Path) -> None:
        self.server = server
        self.sandbox = sandbox
        self.folder = folder
        self.environment = {
            **server.environment,
            "PATH": search_path(PROGRAM.parent),
            "URL": server.base_url,
            "KEY": server.key,
        }

    def run(self, block: Block) -> str:
        """What the block prints; it must succeed."""
        block = block._replace(text=block.text.replace(OFFICE_URL, self.sandbox.url))
        printed = run_block(block, self.folder, self.environment)
        if "catalog apply" in block.text:
            until(
                lambda: self.server.listed("office-chat").get("available"),
                "the applied catalog",
                TAKES_EFFECT_S,
            )
        return printed

    def follow(self, page: str) -> Iterator[tuple[Block, str, Block | None]]:
        """(block, what it printed, the output block that follows it) for all that is run."""
        found = read_blocks(page)
        for block, after in zip(found, [*found[1:], None], strict=True):
            if block.kind == "run":
                shown = after if after is not None and after.kind == "output" else None
                yield block, self.run(block), shown
            elif block.language == "toml":
                (self.folder / block.kind).write_text(block.text, encoding="utf-8")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    server = Server(tmp_path / "data")
    try:
        sandbox = Sandbox(tmp_path / "office", key=OFFICE_KEY)
        try:
            folder = tmp_path / "clone"
            folder.mkdir()
            yield Reader(server, sandbox, folder)
        finally:
            sandbox.end()
    finally:
        server.running.end()


@pytest.mark.parametrize("page", PAGES)
def test_what_is_shown_is_what_happens(reader: Reader, page: str) -> None:
    """Every command works as printed, and prints what the page says."""
    compared = 0
    for block, printed, shown in reader.follow(page):
        if shown is not None:
            assert masked(printed) == masked(shown.text), f"{page}:{block.line}"
            compared += 1
    assert compared >= 10
    reader.server.verify()


def test_both_languages_show_the_same_commands() -> None:
    """Comments are translated, nothing else."""

    def commands(page: str) -> list[tuple[str, str, str]]:
        return [
            (block.language, block.kind, without_comments(block.text))
            for block in read_blocks(page)
            if block.kind != "output"
        ]

    assert commands(PAGES[0]) == commands(PAGES[1])


def rows(page: str, cell: str) -> list[list[str]]:
    """The table rows of which some cell matches ``cell``, as lists of the codes in backticks."""
    lines = (ROOT / page).read_text(encoding="utf-8").split("\n")
    return [
        re.findall(r"`([^`]+)`", line)
        for line in lines
        if line.startswith("|") and re.search(cell, line)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_the_settings_are_all_there(page: str) -> None:
    shown = {row[0]: row[1] for row in rows(page, r"^\| `TOKENMARKET_")}
    del shown[SECRET_KEY_ENV]
    assert shown == {setting.env: setting.key for setting in SETTINGS}


@pytest.mark.parametrize("page", PAGES)
def test_the_error_codes_are_all_there(page: str) -> None:
    lines = (ROOT / page).read_text(encoding="utf-8").split("\n")
    shown: set[tuple[int, str]] = set()
    for line in lines:
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and re.fullmatch(r"\d{3}( / \d{3})?", cells[1]):
            codes = re.findall(r"`(\w+)`", cells[2])
            shown.update(zip(map(int, cells[1].split(" / ")), codes, strict=True))
    assert shown == {(code.status, name) for name, code in CODES.items()}


@pytest.mark.parametrize("page", PAGES)
def test_the_providers_are_those_of_the_catalog(page: str) -> None:
    document = load_shipped()
    models = {row.model.id for row in document.models}
    shown = rows(page, r"^\| `(?!TOKENMARKET_)[A-Z_]+` \| `")
    assert {(row[0], row[1]) for row in shown} == {
        (row.provider.api_key_env, row.provider.name)
        for row in document.providers
        if row.provider.api_key_env is not None
    }
    for row in shown:
        assert {name for name in row[2:] if name != "base_url"} <= models, row
