"""Pages of the documentation as HTML: code tabs, headings, links; HTML in a page is text."""

from __future__ import annotations

import re

import pytest

from tokenmarket.web.manual.library import LANGS, Library, Page
from tokenmarket.web.manual.markdown import address, entries, parse
from tokenmarket.web.manual.reader import Manual
from tokenmarket.web.manual.rendering import Rendered, render

MANUAL = Manual("https://gateway.example")


def page(source: str, path: str = "api/chat", lang: str = "en") -> Page:
    return Page(lang, path, "Title", "What it is about", "api", 1, source)


def html(source: str, lang: str = "en") -> str:
    return "".join(piece.html for piece in render(page(source, lang=lang), "https://x").pieces)


def kinds(rendered: Rendered) -> list[tuple[str, list[str]]]:
    return [(piece.kind, [code.name for code in piece.code]) for piece in rendered.pieces]


def test_html_in_a_page_is_text() -> None:
    assert html("<script>alert(1)</script> **b**") == (
        "<p>&lt;script&gt;alert(1)&lt;/script&gt; <strong>b</strong></p>\n"
    )


def test_a_link_with_a_script_is_no_link() -> None:
    assert "href" not in html("[x](javascript:alert(1))")


def test_headings_take_their_id_and_link_to_themselves() -> None:
    shown = html("## Safe `retries` {#safe-retries}\n")
    assert '<h2 id="safe-retries">Safe <code>retries</code>' in shown
    assert 'href="#safe-retries"' in shown
    assert "{#" not in shown
    headings = render(page("## Safe `retries` {#safe-retries}\n"), "").headings
    assert [(one.level, one.id, one.text) for one in headings] == [
        (2, "safe-retries", "Safe retries")
    ]


def test_a_heading_without_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match="has no id"):
        parse(page("## Retries\n"))


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("../errors.md#auth_001", "/en/docs/errors#auth_001"),
        ("account.md", "/en/docs/api/account"),
        ("../index.md", "/en/docs"),
        ("#here", "#here"),
        ("/llms.txt", "/llms.txt"),
        ("https://example.com/a.md", "https://example.com/a.md"),
    ],
)
def test_links_between_files_lead_to_pages(link: str, leads_to: str) -> None:
    assert address(page(""), link) == leads_to


def test_shell_python_and_javascript_side_by_side_are_tabs() -> None:
    source = (
        "```sh run\na\n```\n\n```python run\nb\n```\n\n```js run\nc\n```\n\n"
        "```text output\nd\n```\n\n```sh\ne\n```\n\n```sh\nf\n```\n"
    )
    assert kinds(render(page(source), "")) == [
        ("tabs", ["curl", "Python", "JavaScript"]),
        ("code", ["output"]),
        ("code", ["Shell"]),
        ("code", ["Shell"]),
    ]


def test_prose_between_blocks_keeps_them_apart() -> None:
    source = (
        "```sh run\na\n```\n\nand\n\n```python run\nb\n```\n\n```toml office.toml\nc = 1\n```\n"
    )
    assert kinds(render(page(source), "")) == [
        ("code", ["Shell"]),
        ("html", []),
        ("code", ["Python"]),
        ("code", ["office.toml"]),
    ]


def test_code_is_escaped_and_coloured_by_classes() -> None:
    code = render(page("```js\nlet a = '<b>';\n```\n"), "").pieces[0].code[0]
    assert "&lt;b&gt;" in code.html
    assert "style=" not in code.html
    assert re.search(r'<span class="\w+">', code.html)


def test_the_gateway_has_its_own_address_in_examples() -> None:
    rendered = render(
        page("At `https://HOST/api`:\n\n```sh\ncurl https://HOST/api\n```\n"), "http://g"
    )
    assert "http://g/api" in rendered.pieces[0].html
    assert rendered.pieces[1].code[0].text == "curl http://g/api\n"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("按用量\n扣费", "按用量扣费"),
        ("结束，\n`x` 之后", "结束，<code>x</code> 之后"),
        ("共 3\n个", "共 3\n个"),
        ("one\ntwo", "one\ntwo"),
    ],
)
def test_a_line_break_is_a_space_only_where_one_belongs(source: str, text: str) -> None:
    assert html(source, "zh") == f"<p>{text}</p>\n"


def test_sections_for_the_search_hold_prose_and_code() -> None:
    source = (
        "Top.\n\n## One {#one}\n\nText `code`.\n\n```sh run\ncurl\n```\n\n```text output\nOK\n```\n"
    )
    found = [(one.anchor, one.heading, one.body) for one in entries(page(source))]
    assert found == [
        ("", "", "What it is about Top."),
        ("one", "One", "Text code. curl\n"),
    ]


@pytest.mark.parametrize("lang", LANGS)
def test_every_page_can_be_drawn(lang: str) -> None:
    for one in MANUAL.library.ordered[lang]:
        rendered = MANUAL.rendered(one)
        assert rendered.pieces
        assert all("https://HOST" not in piece.html for piece in rendered.pieces)
        assert MANUAL.rendered(one) is rendered


def test_search_results_are_escaped_and_marked() -> None:
    source = "## One {#one}\n\nWrite <b> and find.\n"
    library = Library({"en": (page(source),), "zh": ()}, {("en", "api/chat"): page(source)})
    found = Manual("", library).search("en", "find")
    assert [(one.url, str(one.snippet)) for one in found] == [
        ("/en/docs/api/chat#one", "Write &lt;b&gt; and <mark>find</mark>.")
    ]


def test_the_list_for_programs_names_every_page() -> None:
    text = MANUAL.llms()
    for lang in LANGS:
        for one in MANUAL.library.ordered[lang]:
            assert f"(https://gateway.example/{lang}/docs/{one.file})" in text


def test_the_twin_is_markdown_with_a_title() -> None:
    shown = MANUAL.library.by_path["zh", "quickstart"]
    twin = MANUAL.twin(shown)
    assert twin.startswith("# 快速开始\n")
    assert "https://gateway.example/api/v1" in twin
