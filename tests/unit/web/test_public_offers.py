"""What the marketplace makes of the catalog."""

import ast
import json
import shutil
import subprocess
from decimal import Decimal

import pytest

from tokenmarket.catalog import CatalogSource, load_shipped
from tokenmarket.core.catalog import OPERATIONS
from tokenmarket.web.pages.public import offers
from tokenmarket.web.pages.public.offers import Choice, choice
from tokenmarket.web.pages.public.samples import KEY, samples
from tokenmarket.web.site.rates import Shown

SOURCE = CatalogSource(load_shipped(), credentialed=frozenset({"deepseek"}))
CATALOG = SOURCE.current
READY = frozenset({"deepseek"})


def found(**filters: object) -> list[str]:
    wanted = Choice(**filters)  # type: ignore[arg-type]
    return [offer.id for offer in offers.offers(CATALOG, READY, wanted, "en")]


def test_without_filters_every_model_is_there_and_what_can_be_called_comes_first() -> None:
    listed = offers.offers(CATALOG, READY, Choice(), "en")
    assert len(listed) == sum(model.enabled for model in CATALOG.models.values())
    ready = [offer.available for offer in listed]
    assert ready == sorted(ready, reverse=True)
    assert any(ready)
    assert not all(ready)


def test_filters_narrow_and_combine() -> None:
    assert set(found(operation="video")) == {
        model.id
        for model in CATALOG.models.values()
        if model.operation == "video" and model.enabled
    }
    assert "sandbox-chat" in found(q="SANDBOX chat")
    assert found(q="sandbox", operation="rerank") == ["sandbox-rerank"]
    assert found(q="no-such-model-anywhere") == []
    assert all("deepseek" in name.lower() for name in found(provider="deepseek"))


def test_unknown_filters_are_no_filters() -> None:
    wanted = choice(
        {"operation": "juggling", "vendor": "nobody", "provider": "../x", "sort": "1"}, CATALOG
    )
    assert wanted == Choice()


def test_the_cheapest_comes_first_when_asked() -> None:
    listed = offers.offers(CATALOG, READY, Choice(operation="chat", sort="price"), "en")
    usd = [Decimal(offer.prices[0].usd) for offer in listed if offer.available and offer.prices]
    assert usd == sorted(usd)


def test_every_model_with_a_priced_route_shows_a_price() -> None:
    for offer in offers.offers(CATALOG, READY, Choice(), "zh"):
        routes = [
            r
            for r in CATALOG.routes.get(offer.id, ())
            if r.enabled and r.provider.enabled and r.prices.rows
        ]
        assert bool(offer.prices) or not routes, offer.id


@pytest.mark.parametrize(
    ("usd", "dollars", "yuan"),
    [
        ("0", "$0.00", "≈ ¥0.00"),
        ("0.14", "$0.14", "≈ ¥0.9940"),
        ("3", "$3.00", "≈ ¥21.30"),
        ("0.000001", "$0.000001", "≈ ¥0.000007100"),
        ("1234.5", "$1234.50", "≈ ¥8764.95"),
    ],
)
def test_prices_in_two_currencies(usd: str, dollars: str, yuan: str) -> None:
    assert Shown().text(usd) == dollars
    assert Shown("CNY", Decimal("7.1"), "2026-11-24").text(usd) == yuan


@pytest.mark.parametrize("operation", OPERATIONS)
def test_samples_are_valid_and_carry_no_key(operation: str) -> None:
    made = samples(operation, "vendor/model-1", "http://127.0.0.1:8080/api/v1")
    ast.parse(made.python)
    for text in made:
        assert "vendor/model-1" in text
        assert KEY in text
        assert "tm_live" not in text
    if "-d '" in made.curl:
        body = json.loads(made.curl.split("-d '")[1].removesuffix("'"))
        assert body["model"] == "vendor/model-1"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_javascript_samples_parse(operation: str, tmp_path: object) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is absent")
    text = samples(operation, "model-1", "http://127.0.0.1:8080/api/v1", "sandbox").javascript
    done = subprocess.run(
        [node, "--input-type=module", "--check"],
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
