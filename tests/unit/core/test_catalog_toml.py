"""The TOML dialect: what it refuses, with file, line and key; an export changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmarket.core.catalog import (
    ADAPTERS,
    OPERATIONS,
    POLICIES,
    DataPolicy,
    Model,
    Provider,
    ProviderLimits,
    Timeouts,
)
from tokenmarket.core.catalog_rows import without_places
from tokenmarket.core.catalog_toml import (
    CatalogDocument,
    CatalogError,
    ModelRow,
    PriceEntry,
    ProviderRow,
    RouteRow,
    dump,
    merge,
    parse,
)
from tokenmarket.core.usage import UNITS

GOOD = """
[[provider]]
name = "dataeyes"
adapter = "newapi"
base_url = "https://upstream.example/v1/"
api_key_env = "DATAEYES_API_KEY"
api_keys = ["sk-one", "sk-two"]
timeout_s = { connect = 5, first_byte = 120, idle = 60, total = 600.5 }
headers = { "X-Title" = "tokenmarket" }
limits = { rpm = 3000, tpm = 2_000_000, concurrency = 200 }
data = { retention_days = 0, trains = false, region = "sg" }

[[model]]
id = "kling-v1"
operation = "video"
name = { en = "Kling 1.0", zh = "可灵 1.0" }
vendor = "kuaishou"
default_provider = "dataeyes"
aliases = ["kling-1.0"]
capabilities = { image_to_video = true, seconds = [5, 10], sizes = ["1280x720"] }
deprecated_at = "2027-01-01"

[[route]]
model = "kling-v1"
provider = "dataeyes"
markup_percent = "20"
price = [
  { unit = "video_second", usd = "0.14", when = { mode = "std", audio = true, seconds = 5 } },
  { unit = "video_second", usd = "0.28", when = { mode = "pro" } },
]
cost = [{ unit = "video_second", usd = "0.1" }]
"""


def faults(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(CatalogError) as caught:
        parse(text, "file.toml")
    assert all(fault.file == "file.toml" for fault in caught.value.faults)
    assert str(caught.value).count("\n") == len(caught.value.faults) - 1  # one line each
    return [(fault.line, fault.key, fault.message) for fault in caught.value.faults]


def one_fault(text: str) -> tuple[int, str, str]:
    found = faults(text)
    assert len(found) == 1, found
    return found[0]


def test_a_whole_file() -> None:
    document = parse(GOOD, "good.toml")
    provider = document.providers[0]
    assert provider.provider == Provider(
        name="dataeyes",
        adapter="newapi",
        base_url="https://upstream.example/v1",
        api_key_env="DATAEYES_API_KEY",
        timeouts=Timeouts(5, 120, 60, 600.5),
        headers=(("x-title", "tokenmarket"),),
        limits=ProviderLimits(3000, 2_000_000, 200),
        data=DataPolicy(0, False, "sg"),
    )
    assert provider.api_keys == ("sk-one", "sk-two")
    assert (provider.place.file, provider.place.line) == ("good.toml", 2)
    assert document.models[0].model == Model(
        id="kling-v1",
        operation="video",
        name_en="Kling 1.0",
        name_zh="可灵 1.0",
        vendor="kuaishou",
        default_provider="dataeyes",
        aliases=("kling-1.0",),
        capabilities={"image_to_video": True, "seconds": [5, 10], "sizes": ["1280x720"]},
        deprecated_at="2027-01-01",
    )
    assert document.routes[0].price == (
        PriceEntry("video_second", "0.14", (("audio", "true"), ("mode", "std"), ("seconds", "5"))),
        PriceEntry("video_second", "0.28", (("mode", "pro"),)),
    )
    assert document.routes[0].upstream_model == "kling-v1"


def test_api_keys_are_never_shown() -> None:
    document = parse(GOOD, "good.toml")
    assert "sk-one" not in repr(document)
    assert "sk-one" not in dump(document)
    _, key, message = one_fault(GOOD.replace("sk-one", "sk-sec\\nret"))
    assert key == "provider[1].api_keys[1]"
    assert "ret" not in message.replace("characters", "")


def test_all_mistakes_of_a_file_are_reported_together_with_their_lines() -> None:
    text = """[[provider]]
name = "UPPER"
adapter = "opanai"
base_url = "ftp://x"
api_key_evn = "X"

[[model]]
id = "a/b/c"
operation = "chatt"
context_tokens = "many"

[[route]]
provider = "p"
price = [
  { unit = "input_tokens", usd = "1.5" },
  { unit = "output_token", usd = 1.5 },
]
"""
    found = faults(text)
    assert [(line, key) for line, key, _ in found] == [
        (2, "provider[1].name"),
        (3, "provider[1].adapter"),
        (4, "provider[1].base_url"),
        (5, "provider[1].api_key_evn"),
        (8, "model[1].id"),
        (9, "model[1].operation"),
        (10, "model[1].context_tokens"),
        (12, "route[1].model"),
        (15, "route[1].price[1].unit"),
        (16, "route[1].price[2].usd"),
    ]
    messages = " ".join(message for _, _, message in found)
    for hint in ("'openai'", "'api_key_env'", "'chat'", "'input_token'"):
        assert f"did you mean {hint}?" in messages


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[provider]\n", 1),
        ("\n\nx = \n", 3),
        ("a = 1\na = 2", 2),
        ('x = "never closed', 1),
        ("x = " + "9" * 5000, 1),
        ("x = 2027-13-45", 1),
        ("x = " + "[" * 100_000, 1),
        ('x = "a\x00b"', 1),
    ],
)
def test_what_is_not_toml(text: str, line: int) -> None:
    found_line, _, message = one_fault(text)
    assert found_line == line
    assert len(message) < 200


def test_a_file_that_is_too_large() -> None:
    assert "larger" in one_fault("#" * (5 * 1024 * 1024))[2]


PROVIDER = '[[provider]]\nname = "p"\nadapter = "openai"\nbase_url = "https://h.example/v1"\n'
MODEL = '[[model]]\nid = "m"\noperation = "chat"\n'
ROUTE = '[[route]]\nmodel = "m"\nprovider = "p"\n'


@pytest.mark.parametrize(
    "url",
    [
        *("h.example/v1", "ftp://h.example", "https://", "https:///v1", "javascript:alert(1)"),
        *("https://user:secret@h.example", "https://secret@h.example", "https://h.example/?q=1"),
        *("https://h.example/#f", "https://h.example/?", "https://h .example", "https://[::1"),
        *("https://h.example:99999", "https://h.example:x", "https://h\\\\u0009.example"),
        *("https://h.example\\\\r\\\\nX: 1", "https://bücher.example", "sandbox:", ""),
        *("https://h.example\\\\\\\\@evil.example", "https://h.example:0"),
    ],
)
def test_base_urls_that_are_refused(url: str) -> None:
    text = PROVIDER.replace("https://h.example/v1", url.replace("\\\\", "\\"))
    line, key, message = one_fault(text)
    assert (line, key) == (4, "provider[1].base_url")
    assert "secret" not in message


def test_the_sandbox_may_live_in_the_process() -> None:
    text = PROVIDER.replace("openai", "sandbox").replace("https://h.example/v1", "sandbox:")
    assert parse(text, "f").providers[0].provider.base_url == "sandbox:"


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        (PROVIDER + "enabled = 1", 5, "provider[1].enabled"),
        (PROVIDER + "headers = { x = 1 }", 5, "provider[1].headers.x"),
        (PROVIDER + 'headers = { x = "a\\r\\nb: c" }', 5, "provider[1].headers.x"),
        (PROVIDER + 'headers = { "a b" = "c" }', 5, "provider[1].headers.a b"),
        (PROVIDER + 'headers = { Authorization = "c" }', 5, "provider[1].headers.Authorization"),
        (PROVIDER + 'headers = { a = "1", A = "2" }', 5, "provider[1].headers.A"),
        (PROVIDER + "timeout_s = { connect = 0 }", 5, "provider[1].timeout_s.connect"),
        (PROVIDER + "timeout_s = { connect = nan }", 5, "provider[1].timeout_s.connect"),
        (PROVIDER + "timeout_s = { conect = 1 }", 5, "provider[1].timeout_s.conect"),
        (PROVIDER + "timeout_s = 5", 5, "provider[1].timeout_s"),
        (PROVIDER + "limits = { rpm = -1 }", 5, "provider[1].limits.rpm"),
        (PROVIDER + "data = { retention_days = true }", 5, "provider[1].data.retention_days"),
        (PROVIDER + 'api_key_env = "A-B"', 5, "provider[1].api_key_env"),
        (PROVIDER + "api_keys = 'sk'", 5, "provider[1].api_keys"),
        (PROVIDER + PROVIDER, 5, "provider[2]"),
        (MODEL + 'name = "x"', 4, "model[1].name"),
        (MODEL + 'name = { en = "a\\nb" }', 4, "model[1].name.en"),
        (MODEL + 'policy = "best"', 4, "model[1].policy"),
        (MODEL + 'aliases = ["ok", "a b"]', 4, "model[1].aliases[2]"),
        (MODEL + 'aliases = ["m"]', 1, "model[1]"),
        (MODEL + 'aliases = ["x", "x"]', 1, "model[1]"),
        (MODEL + "capabilities = { a = { b = 2027-01-01 } }", 4, "model[1].capabilities.a.b"),
        (MODEL + "capabilities = { a = inf }", 4, "model[1].capabilities.a"),
        (MODEL + "capabilities = { a = 99999999999999999999 }", 4, "model[1].capabilities.a"),
        (MODEL + 'deprecated_at = "2027-02-30"', 4, "model[1].deprecated_at"),
        (MODEL + "deprecated_at = 2027-02-28", 4, "model[1].deprecated_at"),
        (MODEL + "max_output_tokens = 1.5", 4, "model[1].max_output_tokens"),
        (MODEL + MODEL, 4, "model[2]"),
        (MODEL + MODEL.replace('"m"', '"n"') + 'aliases = ["m"]', 4, "model[2]"),
        (ROUTE + 'upstream_model = "a\\r\\nb"', 4, "route[1].upstream_model"),
        (ROUTE + "markup_percent = 20", 4, "route[1].markup_percent"),
        (ROUTE + 'markup_percent = "-100"', 4, "route[1].markup_percent"),
        (ROUTE + "weight = -1", 4, "route[1].weight"),
        (ROUTE + ROUTE, 4, "route[2]"),
        (ROUTE + "price = {}", 4, "route[1].price"),
        (ROUTE + "price = [1]", 4, "route[1].price[1]"),
        (ROUTE + 'price = [{ unit = "image" }]', 4, "route[1].price[1].usd"),
        (ROUTE + 'price = [{ unit = "image", usd = "-1" }]', 4, "route[1].price[1].usd"),
        (ROUTE + 'price = [{ unit = "image", usd = "0.0000000001" }]', 4, "route[1].price[1].usd"),
        (ROUTE + 'price = [{ unit = "image", usd = "1", per = 1 }]', 4, "route[1].price[1].per"),
        (
            ROUTE + 'price = [{ unit = "image", usd = "1", when = { a = 1.5 } }]',
            4,
            "route[1].price[1].when.a",
        ),
        (
            ROUTE + 'price = [{ unit = "image", usd = "1", when = { context_above = "9" } }]',
            4,
            "route[1].price[1].when.context_above",
        ),
        ("modle = 1", 1, "modle"),
        ("[model]\nid = 'm'", 1, "model"),
        ("[[models]]\n", 1, "models"),
    ],
)
def test_single_mistakes(text: str, line: int, key: str) -> None:
    assert one_fault(text)[:2] == (line, key)


def price(*rows: str) -> str:
    return ROUTE + "price = [\n" + "".join(f"  {{ {row} }},\n" for row in rows) + "]\n"


IN = 'unit = "input_token", usd = "1"'


@pytest.mark.parametrize(
    "rows",
    [
        [IN, f"{IN}, when = {{ mode = 'a' }}", f"{IN}, when = {{ mode = 'b' }}"],
        [f"{IN}, when = {{ context_above = 1 }}", f"{IN}, when = {{ context_above = 2 }}"],
        [f"{IN}, when = {{ mode = 'a' }}", f"{IN}, when = {{ mode = 'a', size = 'x' }}"],
        [
            f"{IN}, when = {{ mode = 'a' }}",
            f"{IN}, when = {{ context_above = 9 }}",
            f"{IN}, when = {{ mode = 'a', context_above = 9 }}",
        ],
        [f"{IN}, when = {{ mode = 'a' }}", 'unit = "image", usd = "1", when = { size = "x" }'],
    ],
)
def test_price_rows_that_cannot_be_confused(rows: list[str]) -> None:
    assert len(parse(price(*rows), "f").routes[0].price) == len(rows)


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([IN, IN], "second row"),
        ([f"{IN}, when = {{ n = 1 }}", f"{IN}, when = {{ n = '1' }}"], "second row"),
        ([f"{IN}, when = {{ mode = 'a' }}", f"{IN}, when = {{ size = 'x' }}"], "both match"),
        ([f"{IN}, when = {{ mode = 'a' }}", f"{IN}, when = {{ context_above = 9 }}"], "both match"),
        (
            [
                f"{IN}, when = {{ mode = 'a' }}",
                f"{IN}, when = {{ context_above = 9 }}",
                f"{IN}, when = {{ mode = 'a', context_above = 10 }}",
            ],
            "both match",
        ),
    ],
)
def test_price_rows_that_can_be_confused(rows: list[str], word: str) -> None:
    line, _, message = one_fault(price(*rows))
    assert line in (6, 7)
    assert word in message


def test_values_in_messages_are_short_and_on_one_line() -> None:
    text = MODEL.replace('"chat"', '"' + "x\\n\\u2028\\u0007" * 40 + '"')
    _, _, message = one_fault(text)
    assert len(message) < 400
    assert message.isprintable()


# ------------------------------------------------------------------------------------- merge


def test_later_rows_win_whole() -> None:
    first = parse(PROVIDER + MODEL + 'vendor = "v"\n' + ROUTE, "a")
    second = parse(
        PROVIDER.replace("h.example", "other.example") + MODEL + ROUTE + "weight = 7", "b"
    )
    merged = merge([first, second])
    assert [row.provider.base_url for row in merged.providers] == ["https://other.example/v1"]
    assert [(row.model.vendor, row.place.file) for row in merged.models] == [("", "b")]
    assert [row.weight for row in merged.routes] == [7]
    assert merge([second, first]) == first


def test_a_later_name_takes_an_alias_away() -> None:
    first = parse(MODEL + 'aliases = ["x", "y"]', "a")
    second = parse(MODEL.replace('"m"', '"x"'), "b")
    merged = merge([first, second])
    assert [(row.model.id, row.model.aliases) for row in merged.models] == [
        ("m", ("y",)),
        ("x", ()),
    ]


# ------------------------------------------------------------------------------- round trip

words = st.text(
    st.characters(
        min_codepoint=32, max_codepoint=0x1F9FF, exclude_categories=["Cs", "Cc", "Zl", "Zp"]
    ),
    min_size=1,
    max_size=12,
)
names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,10}", fullmatch=True)
ids = st.from_regex(
    r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,8}(/[A-Za-z0-9][A-Za-z0-9._-]{0,5})?", fullmatch=True
)
amounts = st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,9})?", fullmatch=True)
free = st.recursive(
    st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | words
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[A-Za-z0-9_.-]{1,6}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=6,
)
seconds = st.floats(0.001, 86_400)
providers = st.builds(
    Provider,
    name=names,
    adapter=st.sampled_from(sorted(ADAPTERS)),
    base_url=st.from_regex(
        r"https?://[a-z]{1,9}\.example(:[1-9][0-9]{0,3})?(/[a-z0-9]{1,5}){0,2}", fullmatch=True
    ),
    api_key_env=st.none() | st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True),
    timeouts=st.builds(Timeouts, seconds, seconds, seconds, seconds),
    headers=st.dictionaries(
        st.from_regex(r"x-[a-z0-9.!#]{1,5}", fullmatch=True),
        st.from_regex(r"[ -~]{1,9}", fullmatch=True),
        max_size=2,
    ).map(lambda headers: tuple(headers.items())),
    limits=st.builds(ProviderLimits, *[st.integers(0, 10**9)] * 3),
    data=st.builds(
        DataPolicy, st.none() | st.integers(0, 999), st.none() | st.booleans(), st.none() | words
    ),
    enabled=st.booleans(),
)
models = st.builds(
    Model,
    id=ids,
    operation=st.sampled_from(OPERATIONS),
    name_en=words,
    name_zh=words,
    vendor=words | st.just(""),
    default_provider=st.none() | names,
    policy=st.sampled_from(POLICIES),
    context_tokens=st.integers(0, 10**9),
    max_output_tokens=st.integers(0, 10**9),
    capabilities=st.dictionaries(
        st.from_regex(r"[A-Za-z0-9_.-]{1,9}", fullmatch=True), free, max_size=3
    ),
    deprecated_at=st.none() | st.dates().map(str),
    enabled=st.booleans(),
)
entries = st.lists(
    st.builds(
        PriceEntry,
        unit=st.sampled_from(sorted(UNITS)),
        usd=amounts,
        when=st.sampled_from(
            [(), (("mode", "std"),), (("mode", "pro"),), (("fps", "24"), ("mode", "x y"))]
        ),
        context_above=st.sampled_from([0, 0, 200_000]),
    ),
    max_size=4,
    # equally specific rows on other attributes would be ambiguous: at most one kind per unit
    unique_by=lambda entry: entry.unit,
).map(tuple)
routes = st.builds(
    RouteRow,
    model=ids,
    provider=names,
    upstream_model=st.from_regex(r"[!-~]{1,12}", fullmatch=True),
    price=entries,
    cost=entries,
    priority=st.integers(-1000, 1000),
    weight=st.integers(0, 10**6),
    markup_percent=amounts,
    enabled=st.booleans(),
)


@given(
    st.lists(providers, max_size=3, unique_by=lambda row: row.name),
    st.lists(models, max_size=3, unique_by=lambda row: row.id),
    st.lists(routes, max_size=3, unique_by=lambda row: (row.model, row.provider)),
)
@settings(max_examples=150, deadline=None)
def test_an_export_reads_back_unchanged(
    some_providers: list[Provider], some_models: list[Model], some_routes: list[RouteRow]
) -> None:
    document = CatalogDocument(
        tuple(ProviderRow(row) for row in sorted(some_providers, key=lambda row: row.name)),
        tuple(ModelRow(row) for row in sorted(some_models, key=lambda row: row.id)),
        tuple(sorted(some_routes, key=lambda row: (row.model, row.priority, row.provider))),
    )
    text = dump(document)
    again = parse(text, "export.toml")
    assert without_places(again) == document
    assert dump(again) == text


@given(st.text(max_size=200))
def test_garbage_is_refused_or_read_but_never_breaks(text: str) -> None:
    for prefix in ("", PROVIDER, MODEL, ROUTE):
        try:
            found = parse(prefix + text, "f")
        except CatalogError:
            continue
        assert without_places(parse(dump(found), "f")) == without_places(found)
