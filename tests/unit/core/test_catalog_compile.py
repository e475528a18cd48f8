"""References between rows, prices with markup, and which routes count as unpriced."""

from __future__ import annotations

import pytest

from tokenmarket.core.catalog import Catalog
from tokenmarket.core.catalog_toml import CatalogError, check, compile, parse
from tokenmarket.core.pricing import charge
from tokenmarket.core.usage import Usage

BASE = """
[[provider]]
name = "p"
adapter = "openai"
base_url = "https://p.example"

[[provider]]
name = "q"
adapter = "openai"
base_url = "https://q.example"

[[model]]
id = "m"
operation = "OPERATION"
aliases = ["em"]
CAPABILITIES

[[route]]
model = "m"
provider = "p"
MARKUP
price = [
ROWS
]
"""


def built(
    *rows: str, operation: str = "chat", capabilities: str = "", markup: str = "", more: str = ""
) -> Catalog:
    text = BASE.replace("OPERATION", operation).replace("CAPABILITIES", capabilities)
    text = text.replace("MARKUP", markup)
    return compile(
        parse(text.replace("ROWS", "\n".join(f"  {{ {row} }}," for row in rows)) + more, "f"), 7
    )


IN, OUT = 'unit = "input_token", usd = "1.5"', 'unit = "output_token", usd = "6"'


def test_a_snapshot() -> None:
    catalog = built(IN, OUT)
    assert catalog.version == 7
    assert catalog.aliases == {"em": "m"}
    (route,) = catalog.routes["m"]
    assert route.model is catalog.models["m"]
    assert route.provider is catalog.providers["p"]
    assert (route.upstream_model, route.unpriced, route.costs) == ("m", None, None)


def test_markup_is_on_prices_and_not_on_costs() -> None:
    catalog = built(
        IN, OUT, markup='markup_percent = "12.5"\ncost = [{ unit = "input_token", usd = "1" }]'
    )
    (route,) = catalog.routes["m"]
    usage = Usage(input_tokens=10**6, output_tokens=10**6)
    assert charge(route.prices, usage) == 8_437_500_000
    assert route.costs is not None
    assert charge(route.costs, Usage(input_tokens=10**6)) == 10**9
    assert {row.unit: row.usd for row in route.prices.rows} == {
        "input_token": "1.6875",
        "output_token": "6.75",
    }


def test_routes_are_in_the_order_of_priority() -> None:
    catalog = built(IN, OUT, markup="priority = 5", more='[[route]]\nmodel = "m"\nprovider = "q"')
    assert [route.provider.name for route in catalog.routes["m"]] == ["q", "p"]


@pytest.mark.parametrize(
    ("rows", "operation", "capabilities", "unpriced"),
    [
        ([IN, OUT], "chat", "", None),
        ([IN], "chat", "", "output_token"),
        ([OUT], "completions", "", "input_token"),
        ([], "chat", "", "input_token"),
        (['unit = "request", usd = "1"'], "chat", "", "input_token"),
        ([IN.replace("1.5", "0"), OUT.replace("6", "0")], "chat", "", None),
        ([IN, f'{OUT}, when = {{ mode = "a" }}'], "chat", "", "output_token"),
        ([IN, f"{OUT}, when = {{ context_above = 9 }}"], "chat", "", "output_token"),
        ([IN, OUT], "chat", "capabilities = { audio_input = true }", "audio_input_token"),
        ([IN, OUT], "chat", "capabilities = { audio_output = true }", "audio_output_token"),
        ([IN, OUT], "chat", "capabilities = { audio_input = false }", None),
        ([IN], "embeddings", "", None),
        ([OUT], "embeddings", "", "input_token"),
        ([], "video", "", "video_second"),
        (['unit = "video_second", usd = "1", when = { mode = "std" }'], "video", "", None),
        ([IN], "images", "", "image"),
        (['unit = "search", usd = "0.002"'], "rerank", "", None),
    ],
)
def test_a_route_that_lacks_a_row_is_kept_but_marked(
    rows: list[str], operation: str, capabilities: str, unpriced: str | None
) -> None:
    (route,) = built(*rows, operation=operation, capabilities=capabilities).routes["m"]
    assert route.unpriced == unpriced


@pytest.mark.parametrize(
    ("more", "line", "key", "word"),
    [
        ('[[route]]\nmodel = "mm"\nprovider = "p"', 26, "route mm: model", "no model 'mm'"),
        ('[[route]]\nmodel = "m"\nprovider = "pp"', 26, "route m: provider", "no provider 'pp'"),
        (
            '[[model]]\nid = "n"\noperation = "chat"\ndefault_provider = "q"',
            26,
            "model n: default_provider",
            "no route",
        ),
    ],
)
def test_references_that_point_nowhere(more: str, line: int, key: str, word: str) -> None:
    with pytest.raises(CatalogError, match=word) as caught:
        built(IN, OUT, more=more)
    assert [(f.file, f.line, f.key) for f in caught.value.faults] == [("f", line, key)]


def test_an_alias_may_not_be_another_models_name() -> None:
    one = parse('[[model]]\nid = "m"\noperation = "chat"\naliases = ["x"]', "a")
    two = parse('[[model]]\nid = "n"\noperation = "chat"\naliases = ["m"]', "b")
    document = type(one)(models=(*one.models, *two.models))
    (fault,) = check(document)
    assert (fault.file, fault.key) == ("b", "model n: aliases")
    assert compile(document, 1, strict=False).aliases == {"x": "m"}


def test_a_server_starts_without_rows_that_point_nowhere() -> None:
    text = '[[route]]\nmodel = "gone"\nprovider = "gone"'
    catalog = compile(parse(text, "f"), 1, strict=False)
    assert catalog.routes == {}
