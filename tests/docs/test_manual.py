"""Both languages of the documentation have the same files, headings and code; all links lead on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import PurePosixPath

import pytest

from tests.conftest import ROOT
from tests.support.documentation import FENCE, blocks, without_comments
from tokenmarket.config import SECRET_KEY_ENV, SETTINGS
from tokenmarket.core.errors import CODES, ApiError
from tokenmarket.web.manual.library import LANGS, Library, Page, load, read_page

LIBRARY: Library = load()
PAGES = [page for lang in LANGS for page in LIBRARY.ordered[lang]]
ENGLISH = LIBRARY.ordered["en"]
HEADING = re.compile(r"^#{2,4} .*$", re.MULTILINE)
HEADING_ID = re.compile(r" \{#([a-z0-9_-]+)\}$")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# Addresses of the site that are no file of the documentation: the references are made by us.
ELSEWHERE = re.compile(r"https://|/llms\.txt$|(\.\./)?api/(reference|management)\.md(#|$)")


def prose(page: Page) -> str:
    return FENCE.sub("", page.source)


def heading_ids(page: Page) -> list[str | None]:
    found = [HEADING_ID.search(line) for line in HEADING.findall(prose(page))]
    return [match[1] if match else None for match in found]


def named(page: Page) -> str:
    return f"{page.lang}/{page.path}"


def test_both_languages_have_the_same_pages_in_the_same_order() -> None:
    def places(lang: str) -> list[tuple[str, str, int]]:
        return [(page.path, page.section, page.order) for page in LIBRARY.ordered[lang]]

    assert places("en") == places("zh")
    assert len(ENGLISH) >= 30


def test_no_two_pages_of_a_section_have_the_same_place() -> None:
    places = [(page.section, page.order) for page in ENGLISH]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_headings_have_ids_of_their_own(page: Page) -> None:
    ids = heading_ids(page)
    assert None not in ids
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("page", ENGLISH, ids=named)
def test_both_languages_have_the_same_heading_ids(page: Page) -> None:
    other = LIBRARY.by_path["zh", page.path]
    assert heading_ids(page) == heading_ids(other)


@pytest.mark.parametrize("page", ENGLISH, ids=named)
def test_both_languages_have_the_same_code(page: Page) -> None:
    """Comments are translated, nothing else."""

    def code(of: Page) -> list[tuple[str, str, str]]:
        return [
            (block.language, block.kind, without_comments(block.text))
            for block in blocks(of.source)
        ]

    assert code(page) == code(LIBRARY.by_path["zh", page.path])


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_a_page_and_a_heading_of_the_same_language(page: Page) -> None:
    broken: list[str] = []
    for link in LINK.findall(prose(page)):
        if ELSEWHERE.search(link):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else LIBRARY.find(page.lang, resolved(page, path))
        if target is None or (anchor and anchor not in heading_ids(target)):
            broken.append(link)
    assert broken == []


def resolved(page: Page, link: str) -> str:
    """``../errors.md`` on ``api/chat`` -> ``errors``."""
    parts: list[str] = []
    for part in (PurePosixPath(page.path).parent / link).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    name = "/".join(parts).removesuffix(".md")
    return "" if name == "index" else name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_chinese_and_english_are_not_mixed_up(page: Page) -> None:
    """Chinese has full-width punctuation without a space before it; English has no Chinese."""
    text = re.sub(r"`[^`]*`", "x", prose(page))
    if page.lang == "en":
        assert re.findall(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]+", text) == []
        return
    assert re.findall(r"[ \t]+[，。；：、？！）」]", text) == []
    assert re.findall(r"[\u4e00-\u9fff][,;:?!](?=\s|[\u4e00-\u9fff]|$)", text, re.MULTILINE) == []
    assert re.findall(r"[\u4e00-\u9fff]\.(?=\s|$)", text, re.MULTILINE) == []


@pytest.mark.parametrize("lang", LANGS)
def test_docs_url_of_every_error_leads_to_its_heading(lang: str) -> None:
    ids = heading_ids(LIBRARY.by_path[lang, "errors"])
    for code in CODES:
        body = ApiError(code, "…").body("req_1", "https://gateway.example", lang)
        url = str(body["docs_url"])
        path, _, anchor = url.removeprefix("https://gateway.example").partition("#")
        assert path == f"/{lang}/docs/errors"
        assert anchor in ids


@pytest.mark.parametrize("lang", LANGS)
def test_the_table_of_errors_is_that_of_the_program(lang: str) -> None:
    rows = re.findall(
        r"^\| (\d{3}) \| \[`(\w+)`\]\(#(\w+)\) \| `(\w+)` \|",
        LIBRARY.by_path[lang, "errors"].source,
        re.MULTILINE,
    )
    assert rows == [
        (str(code.status), name, name.lower(), code.type) for name, code in CODES.items()
    ]


@pytest.mark.parametrize("lang", LANGS)
def test_the_settings_are_all_there(lang: str) -> None:
    source = LIBRARY.by_path[lang, "configuration"].source
    shown = dict(re.findall(r"^\| `(TOKENMARKET_\w+)` \| `?([\w–]+)`? \|", source, re.MULTILINE))
    del shown[SECRET_KEY_ENV]
    assert shown == {setting.env: setting.key for setting in SETTINGS}


def test_the_wheel_carries_every_page() -> None:
    """Package data as setuptools finds it: the link to ``docs/`` is followed."""
    listing = subprocess.run(
        [sys.executable, "-c", _PACKAGE_DATA], cwd=ROOT, capture_output=True, text=True, check=True
    )
    carried = {line for line in listing.stdout.splitlines() if line.endswith(".md")}
    folder = "tokenmarket/web/manual/content"
    assert carried == {f"{folder}/{page.lang}/{page.file}" for page in PAGES}


_PACKAGE_DATA = """
from setuptools import Distribution
found = Distribution()
found.parse_config_files()
command = found.get_command_obj("build_py")
command.finalize_options()
for package, folder, _, names in command.data_files:
    for name in names:
        print(f"{package.replace('.', '/')}/{name}")
"""


def test_front_matter_is_demanded() -> None:
    with pytest.raises(ValueError, match="begins with front matter"):
        read_page("# A page\n", "en", "page")
    with pytest.raises(ValueError, match="give title"):
        read_page("---\ntitle: A page\n---\n", "en", "page")
    with pytest.raises(ValueError, match="sections are"):
        read_page("---\ntitle: A\ndescription: B\nsection: nowhere\norder: 1\n---\n", "en", "page")
