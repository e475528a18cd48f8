"""Every route is explained, nothing excluded is used, and draws follow the weights exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import prod
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.catalog import Catalog, DataPolicy, Model, Provider, Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import parse
from tokenmarket.core.pricing import price_row, price_sheet
from tokenmarket.core.requests import Request
from tokenmarket.core.routing import AVAILABLE, EVERYTHING, Allowed, Plan, RouteState, plan

MODEL = Model("m", "chat", "m", "m", "v", context_tokens=1000, max_output_tokens=100)
NAMES = ("p0", "p1", "p2", "p3")


def sheet(usd_in: str = "1", usd_out: str = "2") -> Any:
    return price_sheet([price_row("input_token", usd_in), price_row("output_token", usd_out)])


def route(name: str, *, model: Model = MODEL, **more: Any) -> Route:
    data = more.pop("data", DataPolicy())
    provider = Provider(name, "openai", f"http://{name}.test/v1", data=data)
    prices = more.pop("prices", None) or sheet()
    return Route(model, provider, f"{model.id}-at-{name}", prices, **more)


def catalog(*routes: Route, extra: tuple[str, ...] = ()) -> Catalog:
    by_model: dict[str, list[Route]] = {}
    for found in sorted(routes, key=lambda r: r.priority):
        by_model.setdefault(found.model.id, []).append(found)
    providers = {r.provider.name: r.provider for r in routes}
    providers |= {name: Provider(name, "openai", "http://x.test") for name in extra}
    return Catalog(
        1,
        providers,
        {r.model.id: r.model for r in routes},
        {name: tuple(found) for name, found in by_model.items()},
        {},
    )


def request(**fields: Any) -> Request:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | fields
    return parse("chat", msgspec.json.encode(body))


def planned(
    asked: Request,
    rows: Catalog,
    *,
    state: Callable[[Route], RouteState] = lambda _: AVAILABLE,
    allowed: Allowed = EVERYTHING,
    draw: int = 0,
) -> Plan:
    return plan(asked, allowed, rows, state, draw=draw, near_names=lambda _: ["near-1"])


def refused(asked: Request, rows: Catalog, **more: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        planned(asked, rows, **more)
    return caught.value


def names(found: Plan) -> list[str]:
    return [r.provider.name for r in found.routes]


states = st.sampled_from(
    [
        AVAILABLE,
        RouteState(latency_ms=5.0, tokens_per_s=100.0),
        RouteState(latency_ms=900.0, tokens_per_s=1.0),
        RouteState(available=False, kind="missing", reason="set X_API_KEY"),
        RouteState(available=False, kind="cooling", reason="auth", retry_after_s=7.0),
        RouteState(available=False, kind="limit", reason="rpm", retry_after_s=3.0),
    ]
)
subset = st.lists(st.sampled_from(NAMES), max_size=4, unique=True)
routes = st.builds(
    route,
    name=st.just(""),
    priority=st.integers(0, 2),
    weight=st.integers(0, 3),
    enabled=st.booleans(),
    prices=st.sampled_from([sheet(), sheet("0.1", "9"), sheet("5", "0")]),
    data=st.sampled_from([DataPolicy(), DataPolicy(0, False), DataPolicy(30, True)]),
)
choices = st.fixed_dictionaries(
    {},
    optional={
        "only": subset,
        "ignore": subset,
        "order": subset,
        "allow_fallbacks": st.booleans(),
        "sort": st.sampled_from(["price", "latency", "throughput"]),
        "data_collection": st.sampled_from(["allow", "deny"]),
        "zdr": st.booleans(),
        "max_price": st.fixed_dictionaries({"prompt": st.sampled_from([0, 0.5, 1, "3"])}),
    },
)


def _check_refusal(error: ApiError) -> None:
    assert error.code in ("MODEL_002", "PROVIDER_001", "PROVIDER_002", "REQUEST_001", "AUTH_002")
    if error.code == "PROVIDER_002":
        assert error.retry_after_s is not None
        assert error.retry_after_s > 0


@given(
    rows=st.lists(routes, min_size=1, max_size=4),
    found=st.lists(states, min_size=4, max_size=4),
    choice=st.none() | choices | st.sampled_from(NAMES),
    policy=st.sampled_from(["default", "price", "latency", "throughput", "weighted", "order"]),
    default=st.none() | st.sampled_from(NAMES),
    key=st.none() | st.frozensets(st.sampled_from(NAMES)),
    draw=st.integers(0, 2**62),
)
def test_what_every_plan_keeps(
    rows: list[Route],
    found: list[RouteState],
    choice: Any,
    policy: str,
    default: str | None,
    key: frozenset[str] | None,
    draw: int,
) -> None:
    model = msgspec.structs.replace(MODEL, policy=policy, default_provider=default)
    rows = [
        msgspec.structs.replace(
            row,
            model=model,
            provider=msgspec.structs.replace(row.provider, name=name),
            upstream_model=f"m-at-{name}",
        )
        for name, row in zip(NAMES, rows, strict=False)
    ]
    live = dict(zip(NAMES, found, strict=True))
    fields = {} if choice is None else {"provider": choice}
    try:
        result = planned(
            request(**fields),
            catalog(*rows, extra=NAMES),
            state=lambda r: live[r.provider.name],
            allowed=EVERYTHING if key is None else Allowed(providers=key),
            draw=draw,
        )
    except ApiError as error:
        _check_refusal(error)
        return
    used = names(result)
    assert used
    assert len(set(used)) == len(used)
    explained = [candidate.provider for candidate in result.candidates]
    assert sorted(explained) == sorted(row.provider.name for row in rows)
    assert explained[: len(used)] == used
    for candidate in result.candidates[len(used) :]:
        assert candidate.decision == "skipped"
        assert candidate.reason
    wish: dict[str, Any] = choice if isinstance(choice, dict) else {}
    by_name = {row.provider.name: row for row in rows}
    for name in used:
        row = by_name[name]
        assert live[name].available
        assert row.enabled
        assert key is None or name in key
        assert name not in wish.get("ignore", ())
        assert not wish.get("only") or name in wish["only"]
        if wish.get("data_collection") == "deny":
            assert row.provider.data.trains is False
        if wish.get("zdr"):
            assert row.provider.data.retention_days == 0
    if isinstance(choice, str):
        assert used == [choice]
    if wish.get("allow_fallbacks") is False:
        assert len(used) == 1
    listed = [name for name in wish.get("order", ()) if name in used]
    if listed and not (len(wish.get("only", ())) == 1 and not wish.get("allow_fallbacks", True)):
        assert used[: len(listed)] == listed


@pytest.mark.parametrize("weights", [(1, 1), (1, 2, 3), (5, 1, 1, 1), (3, 0, 1)])
def test_over_all_draws_the_frequencies_are_the_weights(weights: tuple[int, ...]) -> None:
    model = msgspec.structs.replace(MODEL, policy="weighted")
    rows = catalog(
        *[route(f"p{n}", model=model, weight=weight) for n, weight in enumerate(weights)]
    )
    total = sum(weights)
    period = prod(range(1, total + 1)) if total < 7 else total * 60
    first: Counter[str] = Counter()
    for draw in range(period):
        first[names(planned(request(), rows, draw=draw))[0]] += 1
    for n, weight in enumerate(weights):
        assert first[f"p{n}"] * total == weight * period


def test_priority_comes_before_weight() -> None:
    model = msgspec.structs.replace(MODEL, policy="weighted")
    rows = catalog(
        route("p0", model=model, priority=1, weight=100), route("p1", model=model, weight=1)
    )
    for draw in range(50):
        assert names(planned(request(), rows, draw=draw)) == ["p1", "p0"]


def test_weight_zero_is_a_last_resort_and_not_gone() -> None:
    model = msgspec.structs.replace(MODEL, policy="weighted")
    rows = catalog(route("p0", model=model, weight=0), route("p1", model=model, weight=0))
    assert sorted(names(planned(request(), rows, draw=7))) == ["p0", "p1"]


def test_price_and_latency_and_throughput_order() -> None:
    rows = catalog(
        route("p0", prices=sheet("3", "3")),
        route("p1", prices=sheet("1", "1")),
        route("p2", prices=sheet("2", "2")),
    )
    live = {
        "p0": RouteState(latency_ms=10.0, tokens_per_s=5.0),
        "p1": RouteState(latency_ms=30.0, tokens_per_s=50.0),
        "p2": RouteState(latency_ms=20.0, tokens_per_s=20.0),
    }
    for wish, wanted in (
        ("price", ["p1", "p2", "p0"]),
        ("latency", ["p0", "p2", "p1"]),
        ("throughput", ["p1", "p2", "p0"]),
    ):
        found = planned(
            request(provider={"sort": wish}), rows, state=lambda r: live[r.provider.name]
        )
        assert names(found) == wanted
        assert found.policy == wish


def test_whose_doing_it_is_when_nothing_is_left() -> None:
    rows = catalog(route("p0"), route("p1"), extra=("elsewhere",))

    def down(kind: Any, seconds: float | None = None) -> Callable[[Route], RouteState]:
        return lambda _: RouteState(
            available=False, kind=kind, reason="set P_API_KEY", retry_after_s=seconds
        )

    error = refused(request(), rows, state=down("cooling", 9.0))
    assert (error.code, error.status, error.retry_after_s) == ("PROVIDER_002", 503, 9.0)
    error = refused(request(), rows, state=down("missing"))
    assert (error.code, error.status, error.fault) == ("MODEL_002", 503, "platform")
    assert "P_API_KEY" in error.message
    error = refused(request(provider="elsewhere"), rows)
    assert (error.code, error.status) == ("PROVIDER_001", 404)
    assert error.reason == "model_not_at_provider"
    error = refused(request(provider={"ignore": ["p0", "p1"]}), rows)
    assert (error.code, error.param) == ("REQUEST_001", "provider")
    error = refused(request(), rows, allowed=Allowed(providers=frozenset({"elsewhere"})))
    assert error.code == "AUTH_002"
    error = refused(request(), rows, allowed=Allowed(models=frozenset({"other"})))
    assert error.code == "AUTH_002"
    error = refused(request(), rows, allowed=Allowed(operations=frozenset({"video"})))
    assert error.code == "AUTH_002"
    error = refused(request(model="mm"), rows)
    assert (error.code, error.status, error.param) == ("MODEL_001", 404, "model")
    assert "near-1" in error.message


def test_an_unpriced_unit_is_refused_and_the_row_is_named() -> None:
    rows = catalog(route("p0", unpriced="output_token"))  # as the catalog is compiled
    error = refused(request(), rows)
    assert error.code == "MODEL_002"
    assert "output_token" in error.message
    image = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
    seen = refused(
        request(messages=[{"role": "user", "content": [image]}], web_search_options={}),
        catalog(route("p0")),
    )
    assert seen.code == "MODEL_002"
    assert "web_search" in seen.message


def test_a_model_of_another_operation_is_the_callers_mistake() -> None:
    vectors = msgspec.structs.replace(MODEL, operation="embeddings")
    error = refused(request(), catalog(route("p0", model=vectors)))
    assert (error.code, error.param, error.reason) == ("REQUEST_001", "model", "wrong_operation")


def test_further_models_come_after_all_routes_of_the_first() -> None:
    other = msgspec.structs.replace(MODEL, id="other")
    rows = catalog(route("p0"), route("p1"), route("p0", model=other))
    found = planned(request(models=["other"]), rows)
    assert [(r.model.id, r.provider.name) for r in found.routes] == [
        ("m", "p0"),
        ("m", "p1"),
        ("other", "p0"),
    ]
    down = RouteState(available=False, kind="cooling", reason="x", retry_after_s=1.0)
    found = planned(
        request(models=["other"]), rows, state=lambda r: down if r.model.id == "m" else AVAILABLE
    )
    assert [(r.model.id, r.provider.name) for r in found.routes] == [("other", "p0")]
    assert len(found.candidates) == 3
