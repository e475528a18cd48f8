"""The shipped catalog is sound, and the source answers what callers ask about it."""

from __future__ import annotations

import datetime
import json
import tomllib
from typing import Any

import pytest

from tests.conftest import ROOT
from tokenmarket.adapters import registry
from tokenmarket.catalog import CatalogSource, load_shipped, usable
from tokenmarket.core.catalog import ADAPTERS
from tokenmarket.core.catalog_rows import CatalogDocument, merge, without_places
from tokenmarket.core.catalog_toml import check, compile, dump, parse
from tokenmarket.core.pricing import Bound, ceiling

TODAY = datetime.date(2026, 11, 23)
SHIPPED = load_shipped()
NONE: frozenset[str] = frozenset()
FREE = {"omni-moderation-latest"}  # the provider says so


@pytest.fixture
def source() -> CatalogSource:
    return CatalogSource(SHIPPED)


def listed(body: bytes) -> dict[str, dict[str, Any]]:
    answer = json.loads(body)
    assert answer["object"] == "list"
    return {item["id"]: item for item in answer["data"]}


# ------------------------------------------------------------------------------- shipped files


def test_the_shipped_files_are_consistent() -> None:
    assert check(SHIPPED) == ()
    catalog = compile(SHIPPED, 1)
    for routes in catalog.routes.values():
        for route in routes:
            assert route.unpriced is None, route.model.id
            assert route.provider.adapter in ADAPTERS


def test_the_shipped_catalog_has_what_was_promised() -> None:
    catalog = compile(SHIPPED, 1)
    assert sum(model.enabled for model in catalog.models.values()) >= 40
    assert set(catalog.providers) >= {
        *("openai", "deepseek", "moonshot", "dashscope", "zhipu", "siliconflow", "groq"),
        *("together", "fireworks", "xai", "mistral", "openrouter", "perplexity", "minimax"),
        *("ark", "vllm", "ollama", "dataeyes", "sandbox"),
        *("cohere", "jina", "voyage", "gemini", "bedrock", "tei"),
    }
    sandbox = {"sandbox-chat", "sandbox-reasoner", "sandbox-embed", "sandbox-fail-500"}
    sandbox |= {"sandbox-fail-429", "sandbox-timeout", "sandbox-cut", "sandbox-slow"}
    assert set(catalog.models) >= sandbox | {"sandbox-badjson", "sandbox-nousage"}


def test_nothing_retired_is_shipped_and_every_price_is_above_nothing() -> None:
    for row in SHIPPED.models:
        if row.model.deprecated_at is not None:
            assert datetime.date.fromisoformat(row.model.deprecated_at) > TODAY
    for row in SHIPPED.routes:
        assert row.price
        free = row.model in FREE
        assert free or all(entry.usd.strip("0.") for entry in row.price), row.model


def test_every_real_provider_names_its_variable_and_uses_tls() -> None:
    for row in SHIPPED.providers:
        provider = row.provider
        if provider.name == "sandbox":
            assert (provider.api_key_env, provider.base_url) == (None, "sandbox:")
            continue
        assert provider.api_key_env
        local = provider.base_url.startswith("http://127.0.0.1:")
        assert provider.base_url.startswith("https://") or local
        assert row.api_keys == ()


def test_long_prompts_of_openai_cost_double_in_every_tier() -> None:
    (route, *_) = compile(SHIPPED, 1).routes["gpt-5.6-sol"]
    short, long = Bound(input_tokens=272_000), Bound(input_tokens=272_001)
    for tier, factor in (("default", 2), ("flex", 2), ("priority", 4)):
        # the dearest way to read a token is a 12 h cache write: 10 USD
        held = ceiling(route.prices, long, {"service_tier": tier})
        assert held == 272_001 * 10_000 * factor
    assert ceiling(route.prices, short, {"service_tier": "default"}) == 272_000 * 10_000


def test_an_export_of_the_shipped_catalog_changes_nothing() -> None:
    exported = parse(dump(SHIPPED), "export.toml")
    merged = merge([SHIPPED, exported])
    assert without_places(merged) == without_places(SHIPPED)


def test_the_names_of_adapters_are_those_of_the_registry() -> None:
    assert registry.ADAPTERS.keys() | registry.VIDEO.keys() == ADAPTERS


# ------------------------------------------------------------------------------------- source


def test_finds_by_id_and_alias(source: CatalogSource) -> None:
    model = source.find_model("deepseek-v4-pro")
    assert model is not None
    assert model.id == "DeepSeek-V4-pro"
    assert source.find_model("DeepSeek-V4-pro") is model
    assert source.find_model("nope") is None
    assert source.find_model("gpt-6.2-astra") is None  # shipped, but switched off


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("gpt-4o-minii", "gpt-4o-mini"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("GPT-4O-MINI", "gpt-4o-mini"),
        ("deepseek_v4_pro", "deepseek-v4-pro"),
        ("sandbox-chatt", "sandbox-chat"),
    ],
)
def test_near_names(source: CatalogSource, name: str, near: str) -> None:
    found = source.near_names(name)
    assert near in found
    assert len(found) <= 3


@pytest.mark.parametrize("name", ["", "zzzzzz", "\x00" * 1000, "模型", "x" * 10_000_000])
def test_no_near_name_for_nonsense(source: CatalogSource, name: str) -> None:
    assert source.near_names(name) == []


def test_the_list_without_any_credentials(source: CatalogSource) -> None:
    models = listed(source.openai_models())
    assert models["sandbox-chat"]["available"] is True
    assert "reason" not in models["sandbox-chat"]
    assert models["gpt-4.1"]["available"] is False
    assert "OPENAI_API_KEY" in models["gpt-4.1"]["reason"]
    assert "gpt-6.2-astra" not in models
    reason = models["DeepSeek-V4-pro"]["reason"]
    assert "DEEPSEEK_API_KEY" in reason
    assert "DATAEYES_API_KEY" in reason


def test_the_list_follows_the_credentials(source: CatalogSource) -> None:
    assert not listed(source.openai_models())["gpt-4.1"]["available"]
    source.set_credentialed(frozenset({"openai"}))
    models = listed(source.openai_models())
    assert models["gpt-4.1"]["available"] is True
    assert models["grok-4.3"]["available"] is False


def test_an_item(source: CatalogSource) -> None:
    item = listed(source.openai_models())["DeepSeek-V4-pro"]
    assert {key: item[key] for key in ("id", "object", "owned_by", "operation", "vendor")} == {
        "id": "DeepSeek-V4-pro",
        "object": "model",
        "owned_by": "deepseek",
        "operation": "chat",
        "vendor": "deepseek",
    }
    assert isinstance(item["created"], int)
    assert set(item["name"]) == {"en", "zh"}
    assert item["default_provider"] == "deepseek"
    assert item["providers"] == ["deepseek", "dataeyes"]
    assert {
        "provider": "deepseek",
        "unit": "output_token",
        "usd": "3.96",
        "per": 1_000_000,
        "when": {},
    } in item["pricing"]
    assert item["context_tokens"] == 1_000_000
    assert item["capabilities"]["reasoning"] is True
    model = source.find_model("deepseek-v4-pro")
    assert model is not None
    assert json.loads(source.openai_model(model)) == item
    reason = source.unavailable_reason(model)
    assert reason is not None
    assert reason == item["reason"]
    source.set_credentialed(frozenset({"dataeyes"}))
    assert source.unavailable_reason(model) is None


def test_a_key_sees_only_its_models(source: CatalogSource) -> None:
    assert set(listed(source.openai_models(["sandbox-chat", "nope"]))) == {"sandbox-chat"}
    assert listed(source.openai_models([])) == {}


OVERLAY = """
[[provider]]
name = "dataeyes"
adapter = "newapi"
base_url = "https://real.example/v1"

[[model]]
id = "deepseek-v4-pro"
operation = "chat"

[[model]]
id = "half-priced"
operation = "chat"

[[route]]
model = "half-priced"
provider = "dataeyes"
price = [{ unit = "input_token", usd = "1" }]

[[route]]
model = "sandbox-chat"
provider = "sandbox"
markup_percent = "50"
price = [
  { unit = "input_token", usd = "0.1" },
  { unit = "output_token", usd = "0.4", when = { service_tier = "priority" } },
  { unit = "output_token", usd = "0.2" },
  { unit = "audio_input_token", usd = "1", when = { context_above = 5 } },
  { unit = "audio_input_token", usd = "1" },
]
"""


def test_the_operators_rows_lie_on_top(source: CatalogSource) -> None:
    before = source.current
    source.openai_models()
    source.replace(parse(OVERLAY, "overlay.toml"))
    assert source.current is not before
    assert source.current.version == before.version + 1
    assert "dataeyes" not in [r.provider.name for r in before.routes["sandbox-chat"]]
    # a model id takes the name away from the shipped alias
    assert source.current.aliases.get("deepseek-v4-pro") is None
    models = listed(source.openai_models())
    assert models["deepseek-v4-pro"]["reason"] == "no route is enabled"
    assert models["DeepSeek-V4-pro"]["available"] is True  # dataeyes needs no key any more
    assert 'unit = "output_token"' in models["half-priced"]["reason"]
    lines = models["sandbox-chat"]["pricing"]
    assert ("0.60", {"service_tier": "priority"}) in [(row["usd"], row["when"]) for row in lines]
    assert ("1.50", {"context_above": 5}) in [(row["usd"], row["when"]) for row in lines]
    source.replace(CatalogDocument())
    assert source.current.models.keys() == before.models.keys()


def test_rows_that_point_nowhere_are_left_out_and_named(source: CatalogSource) -> None:
    source.replace(parse('[[route]]\nmodel = "gone"\nprovider = "openai"', "overlay.toml"))
    assert [fault.key for fault in source.faults] == ["route gone: model"]
    assert "gone" not in source.current.routes


def test_a_route_is_usable_only_with_credentials_price_and_switch(source: CatalogSource) -> None:
    source.replace(parse(OVERLAY, "overlay.toml"))
    (half,) = source.current.routes["half-priced"]
    (sandbox,) = source.current.routes["sandbox-chat"]
    (openai,) = source.current.routes["gpt-4.1"]
    assert not usable(half, NONE)
    assert usable(sandbox, NONE)
    assert not usable(openai, NONE)
    assert usable(openai, frozenset({"openai"}))


def test_every_shipped_row_stands_in_one_file() -> None:
    """A row of a later file would silently win over one of the same name."""
    folder = ROOT / "tokenmarket" / "data" / "catalog"
    where: dict[tuple[str, ...], list[str]] = {}
    for file in sorted(folder.glob("*.toml")):
        document = tomllib.loads(file.read_text("utf-8"))
        for kind, names in (
            ("provider", ("name",)),
            ("model", ("id",)),
            ("route", ("model", "provider")),
        ):
            for row in document.get(kind, []):
                key = (kind, *(str(row[name]) for name in names))
                where.setdefault(key, []).append(file.name)
    assert {key: files for key, files in where.items() if len(files) > 1} == {}
