"""What the documentation names is there: commands, metrics, reasons, paths of the API."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tokenmarket.cli.grammar import build_parser
from tokenmarket.core.errors import FailureKind
from tokenmarket.core.webhook_events import EVENT_TYPES, TEST_TYPE
from tokenmarket.web.manage.table import ENDPOINTS
from tokenmarket.web.manual.library import LANGS, Page, load
from tokenmarket.web.openapi.document import manage_document, public_document
from tokenmarket.web.openapi.document import texts as document_texts

LIBRARY = load()
PAGES = [page for lang in LANGS for page in LIBRARY.ordered[lang]]
COMMAND = re.compile(r"(?:^|`|\| |&& |\$ )tokenmarket ((?:[a-z-]+ ?)+)([^`\n|>]*)", re.MULTILINE)
OPTION = re.compile(r"(?<!\S)(--[a-z-]+)")
# The pages' own API is no public contract.
OWN = ROOT / "tokenmarket" / "web" / "site"


def named(page: Page) -> str:
    return f"{page.lang}/{page.path}"


def commands() -> dict[str, argparse.ArgumentParser]:
    """``key create`` -> its parser."""
    found: dict[str, argparse.ArgumentParser] = {}

    def walk(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> None:
        groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not groups:
            found[" ".join(words)] = parser
        for group in groups:
            for name, inner in group.choices.items():
                walk(inner, (*words, name))

    walk(build_parser(), ())
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_exist_with_their_options(page: Page) -> None:
    known = commands()
    wrong: list[str] = []
    for words, rest in COMMAND.findall(page.source.replace("\\\n", " ")):
        given = words.split()
        name = next((" ".join(given[:n]) for n in (2, 1) if " ".join(given[:n]) in known), None)
        if name is None:
            wrong.append(words.strip())
            continue
        options = {text for action in known[name]._actions for text in action.option_strings}
        wrong += [f"{name} {one}" for one in OPTION.findall(rest) if one not in options]
    assert wrong == []


def test_the_check_sees_commands() -> None:
    source = LIBRARY.by_path["en", "limits"].source
    assert len(COMMAND.findall(source)) == 3


def reasons() -> Iterator[str]:
    """Every constant that is given as ``reason=`` to an error of the API."""
    for path in (ROOT / "tokenmarket").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "reason" not in text or OWN in path.parents:
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            name = called.id if isinstance(called, ast.Name) else ""
            if name != "ApiError":
                continue
            for keyword in node.keywords:
                value = keyword.value
                constant = value.value if isinstance(value, ast.Constant) else None
                if keyword.arg == "reason" and isinstance(constant, str):
                    yield constant


@pytest.mark.parametrize("lang", LANGS)
def test_every_reason_is_on_the_page_of_errors(lang: str) -> None:
    source = LIBRARY.by_path[lang, "errors"].source
    shown = set(re.findall(r"`([a-z_0-9]+)`", source))
    assert sorted(set(reasons()) - shown) == []


def test_the_reasons_of_providers_are_kinds_of_failure() -> None:
    """Those that ``replies.caller_error`` hands through are named as they are."""
    source = LIBRARY.by_path["en", "errors"].source
    shown = set(re.findall(r"`([a-z_0-9]+)`", source))
    kinds = set(FailureKind.__args__) - {"bad_request", "not_found", "timeout"}
    assert sorted(kinds - shown) == []


@pytest.mark.parametrize("lang", LANGS)
def test_every_path_of_the_api_is_on_a_page(lang: str) -> None:
    """Written in full, or as the end of one that stands before it (``/edits``)."""
    text = "\n".join(page.source for page in LIBRARY.ordered[lang])
    shown = set(re.findall(r"/[a-z0-9/_{}.-]+", text))
    missing: list[str] = []
    for path in public_document()["paths"]:
        tail = path.removeprefix("/api/v1").removeprefix("/v1")
        plain = re.sub(r"\{\w+(:\w+)?\}", "{id}", tail)
        last = "/" + plain.rsplit("/", 1)[-1]
        if not {plain, f"/v1{plain}", f"/api/v1{plain}", last, path} & shown:
            missing.append(path)
    assert missing == []


@pytest.mark.parametrize("lang", LANGS)
def test_every_event_of_webhooks_is_on_the_page(lang: str) -> None:
    source = LIBRARY.by_path[lang, "webhooks"].source
    assert re.findall(r"^\| `(\w+\.\w+)` \|", source, re.MULTILINE) == [*EVENT_TYPES, TEST_TYPE]


def test_what_people_read_has_one_spelling() -> None:
    descriptions = (public_document(), manage_document(ENDPOINTS))
    texts = [text for document in descriptions for text in document_texts(document)]
    texts += [page.source for page in PAGES]
    texts += [(ROOT / "README.md").read_text()]
    templates = ROOT / "tokenmarket" / "web" / "templates"
    texts += [path.read_text() for path in templates.rglob("*.html")]
    assert [text[:80] for text in texts if "organisation" in text.lower()] == []
