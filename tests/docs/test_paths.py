"""What the documentation names exists: files and folders in backticks, and links between pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "README.zh.md", "ARCHITECTURE.md", "CHANGELOG.md")),
        *(ROOT / "docs" / "decisions").glob("*.md"),
    ]
)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# Something with a slash or one of our endings; not a URL path, not a pattern, not a placeholder.
NAMED = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md|toml|in))`")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
# Made by the program, or written by whoever follows the page.
MADE = {"office.toml", "journal/"}
# The design pages are not part of the repository; DATA stands for the data directory.
NOT_HERE = ("design/", "reference/", "DATA/")


def named(page: Path) -> set[str]:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    return {
        name
        for name in NAMED.findall(text)
        if name not in MADE and not name.startswith(NOT_HERE) and "NAME" not in name
    }


def exists(name: str, page: Path) -> bool:
    """From the root, from the package, or beside the folder that the page speaks of."""
    places = (ROOT, ROOT / "tokenmarket", ROOT / "tokenmarket" / "web")
    if any((place / name).exists() for place in places):
        return True
    return page.parent.name == "decisions" and any(
        (folder / name).is_file() for folder in (ROOT / "tokenmarket").iterdir() if folder.is_dir()
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_exist(page: Path) -> None:
    missing = sorted(name for name in named(page) if not exists(name, page))
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_check_sees_names() -> None:
    assert len(named(ROOT / "ARCHITECTURE.md")) > 40


def test_every_module_of_the_path_is_described() -> None:
    """ARCHITECTURE.md names every module at the top of the package, and every sub-package."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    modules = [path for path in (ROOT / "tokenmarket").iterdir() if not path.name.startswith("_")]
    names = {path.name for path in modules if path.suffix == ".py"}
    names |= {f"{path.name}/" for path in modules if (path / "__init__.py").exists()}
    assert sorted(name for name in names if name not in text) == []
