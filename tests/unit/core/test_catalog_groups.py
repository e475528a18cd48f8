"""A group's snapshot: its prices are the markup on everybody's, exactly, and its routes are those
it may use."""

from __future__ import annotations

import pytest

from tokenmarket.catalog import CatalogSource, load_shipped
from tokenmarket.core.catalog import Catalog
from tokenmarket.core.catalog_groups import Group, Sheets, for_group, marked_up, percent_text
from tokenmarket.core.money import nano_from_usd
from tokenmarket.core.pricing import charge, price_row, price_sheet
from tokenmarket.core.usage import Usage

SOURCE = CatalogSource(load_shipped())
BASE: Catalog = SOURCE.current


def grouped(group: Group, sheets: Sheets | None = None) -> Catalog:
    return for_group(BASE, group, {} if sheets is None else sheets)


@pytest.mark.parametrize(
    ("markup_bp", "usd", "due_nano"),
    [
        (0, "2.00", 2_000_000_000),
        (1250, "2.25", 2_250_000_000),
        (-2500, "1.50", 1_500_000_000),
        (1, "2.0002", 2_000_200_000),
        (-9999, "0.0002", 200_000),
    ],
)
def test_a_markup_is_exact(markup_bp: int, usd: str, due_nano: int) -> None:
    sheet = marked_up(price_sheet([price_row("input_token", "2")]), markup_bp)
    assert sheet.rows[0].usd == usd
    assert charge(sheet, Usage(input_tokens=1_000_000)) == due_nano


def test_a_price_is_rounded_up_and_never_free() -> None:
    sheet = marked_up(price_sheet([price_row("input_token", "0.000000001")]), -9_999)
    assert sheet.rows[0].nano_per_million == 1


def test_the_shown_price_is_the_charged_one_for_every_unit() -> None:
    """What is shown is per ``per`` units: charging just so many must give the shown amount."""
    for unit, field, count in (
        ("image", "images", 1),
        ("audio_second", "audio_ms", 1_000),
        ("character", "characters", 1_000_000),
        ("output_token", "output_tokens", 1_000_000),
    ):
        sheet = marked_up(price_sheet([price_row(unit, "0.04")]), 1_000)
        due = charge(sheet, Usage(**{field: count}))
        assert due == nano_from_usd(sheet.rows[0].usd) == 44_000_000, unit


def test_a_group_has_sheets_of_its_own_for_every_route() -> None:
    catalog = grouped(Group("grp", "partners", 1_000))
    assert catalog.routes.keys() == BASE.routes.keys()
    for name, routes in catalog.routes.items():
        for own, everybody in zip(routes, BASE.routes[name], strict=True):
            assert own.provider == everybody.provider
            free = all(row.nano_per_million == 0 for row in everybody.prices.rows)
            assert free or own.prices.version != everybody.prices.version


def test_a_group_without_a_markup_has_everybodys_prices() -> None:
    catalog = grouped(Group("grp", "plain"))
    for name, routes in catalog.routes.items():
        for own, everybody in zip(routes, BASE.routes[name], strict=True):
            assert own.prices == everybody.prices


def test_sheets_are_made_once() -> None:
    sheets: Sheets = {}
    first = grouped(Group("a", "a", 500), sheets)
    second = grouped(Group("b", "b", 500), sheets)
    name = "deepseek-flash"
    assert first.routes[name][0].prices is second.routes[name][0].prices


def test_what_a_group_may_not_use_is_not_there() -> None:
    group = Group("grp", "g", 0, models=frozenset({"DeepSeek-V4-pro", "sandbox-chat"}))
    catalog = grouped(group)
    assert set(catalog.models) == set(catalog.routes) == {"DeepSeek-V4-pro", "sandbox-chat"}
    assert "deepseek-v4-pro" in catalog.aliases
    assert set(catalog.aliases.values()) <= set(catalog.models)

    only = Group("grp", "g", 0, providers=frozenset({"dataeyes"}))
    model = grouped(only).models["DeepSeek-V4-pro"]
    routes = grouped(only).routes["DeepSeek-V4-pro"]
    assert [route.provider.name for route in routes] == ["dataeyes"]
    assert model.default_provider is None  # "deepseek" is not theirs
    assert routes[0].model == model
    assert "deepseek-flash" not in grouped(only).models  # there is no route to it for them


def test_the_source_keeps_one_view_per_group_and_tells_all_sheets() -> None:
    source = CatalogSource(load_shipped())
    source.replace(source.document, [Group("grp_a", "a", 1_000)])
    own, everybody = source.for_group("grp_a"), source.for_group(None)
    assert everybody is source
    assert source.for_group("grp_unknown") is source
    name = "deepseek-flash"
    sheets = source.sheets()
    for view in (own, everybody):
        assert view.current.routes[name][0].prices.version in sheets
    assert b'"usd":"0.33"' in own.openai_model(own.current.models[name])
    assert b'"usd":"0.3' not in everybody.openai_model(everybody.current.models[name]).replace(
        b'"usd":"0.30"', b""
    )
    own_sheet = own.current.routes[name][0].prices
    source.replace(source.document, [Group("grp_a", "a", 1_000)])
    assert source.for_group("grp_a").current.routes[name][0].prices is own_sheet
    source.set_credentialed(frozenset({"deepseek"}))
    shown = source.for_group("grp_a")
    assert shown.unavailable_reason(shown.current.models[name]) is None
    source.replace(source.document, [])
    assert source.for_group("grp_a") is source


@pytest.mark.parametrize(
    ("bp", "text"), [(0, "0"), (1250, "12.5"), (-500, "-5"), (7, "0.07"), (10_000, "100")]
)
def test_percentages_as_text(bp: int, text: str) -> None:
    assert percent_text(bp) == text
