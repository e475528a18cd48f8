"""Operations that providers bill by one of several units: what is held, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.admission import affordable_output_tokens, tokens_estimate
from tokenmarket.core.catalog import Catalog, Model, Provider, Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import parse
from tokenmarket.core.pricing import (
    Bound,
    PriceSheet,
    Unpriced,
    ceiling,
    charge,
    price_row,
    price_sheet,
)
from tokenmarket.core.routing import AVAILABLE, EVERYTHING, Plan, plan, route_bound
from tokenmarket.core.usage import UNITS, Usage, sanitize

RERANK = b'{"model":"m","query":"q","documents":["a","b"]}'
MODEL = Model("m", "rerank", "m", "m", "v", context_tokens=100, max_output_tokens=50)


def sheet_of(**usd: str) -> PriceSheet:
    return price_sheet([price_row(unit, price) for unit, price in usd.items()])


def route(prices: PriceSheet, name: str = "p0") -> Route:
    return Route(MODEL, Provider(name, "cohere", "http://x.test"), "up", prices)


def planned(*routes: Route) -> Plan:
    providers = {found.provider.name: found.provider for found in routes}
    rows = Catalog(1, providers, {"m": MODEL}, {"m": routes}, {})
    return plan(
        parse("rerank", RERANK),
        EVERYTHING,
        rows,
        lambda _: AVAILABLE,
        draw=0,
        near_names=lambda _: [],
    )


def test_each_alternative_counts_where_the_sheet_has_it() -> None:
    bound = Bound(any_units=(("search", 2), ("input_token", 1_000_000), ("request", 1)))
    assert ceiling(sheet_of(search="0.002"), bound) == 4_000_000
    assert ceiling(sheet_of(input_token="0.05"), bound) == 50_000_000
    assert ceiling(sheet_of(request="0.01"), bound) == 10_000_000
    assert ceiling(sheet_of(search="0.002", request="0.01"), bound) == 14_000_000
    assert ceiling(sheet_of(search="0"), bound) == 0


def test_a_sheet_with_none_of_them_is_unpriced() -> None:
    bound = Bound(any_units=(("search", 2), ("input_token", 5)))
    for sheet in (sheet_of(image="1"), sheet_of(request="1"), sheet_of(audio_input_token="1")):
        with pytest.raises(Unpriced) as caught:
            ceiling(sheet, bound)
        assert caught.value.unit == "search"


def test_rows_that_the_request_rules_out_do_not_count() -> None:
    sheet = price_sheet([price_row("image", "1", [("size", "big")])])
    bound = Bound(any_units=(("image", 1), ("request", 1)))
    assert ceiling(sheet, bound, {"size": "big"}) == 10**9
    with pytest.raises(Unpriced, match="image"):
        ceiling(sheet, bound, {"size": "small"})


def test_mandatory_units_stay_mandatory() -> None:
    bound = Bound(units=(("web_search", 1),), any_units=(("search", 1),))
    with pytest.raises(Unpriced, match="web_search"):
        ceiling(sheet_of(search="1"), bound)


UNIT = st.sampled_from(sorted(UNITS))


@given(
    st.dictionaries(UNIT, st.integers(0, 10**10), min_size=1),
    st.dictionaries(UNIT, st.integers(1, 10**6), min_size=1),
    st.data(),
)
def test_the_hold_covers_every_charge_inside_the_bound(
    rows: dict[str, int], most: dict[str, int], data: st.DataObject
) -> None:
    sheet = price_sheet(
        price_row(unit, f"{nano // 10**9}.{nano % 10**9:09d}") for unit, nano in rows.items()
    )
    bound = Bound(any_units=tuple(most.items()))
    usage = Usage(
        **{
            UNITS[unit].field: max(1, count)
            for unit, limit in most.items()
            for count in [data.draw(st.integers(0, limit))]
        }
    )
    try:
        held = ceiling(sheet, bound)
    except Unpriced:
        assert not any(sheet.has(unit) for unit in most)
        return
    assert held >= charge(sheet, usage)


def test_planning_skips_the_route_without_any_of_the_units() -> None:
    found = planned(route(sheet_of(image="1"), "p0"), route(sheet_of(search="0.002"), "p1"))
    assert [one.provider.name for one in found.routes] == ["p1"]
    assert found.candidates[1].reason is not None
    assert "search" in found.candidates[1].reason
    with pytest.raises(ApiError) as caught:
        planned(route(sheet_of(image="1")))
    assert caught.value.code == "MODEL_002"
    assert planned(route(sheet_of(input_token="1"))).routes


def test_neither_the_context_nor_an_output_limit_bounds_such_a_request() -> None:
    asked = parse("rerank", RERANK)
    bound = route_bound(route(sheet_of(search="1")), asked, 4096)
    assert bound == asked.bound
    assert bound.output_tokens == 0
    assert affordable_output_tokens(asked, (route(sheet_of(search="1")),), 10**9) == 0
    assert tokens_estimate(asked) == dict(bound.any_units)["input_token"] // 4


def test_counts_above_an_alternative_are_capped_and_named() -> None:
    bound = Bound(any_units=(("search", 10), ("input_token", 100)))
    usage = sanitize(Usage(searches=500, input_tokens=40), bound, 0)
    assert (usage.searches, usage.input_tokens) == (11, 40)
    assert usage.flags == ("searches_above_bound",)
