"""Legacy completions, embeddings, models and routing fields with the official SDK."""

import base64
import struct
from decimal import Decimal

import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI

from tests.support.server import Server

HELLO = [{"role": "user", "content": "answer OK"}]


# --- completions --------------------------------------------------------------------------------


def test_a_legacy_completion(client: OpenAI, server: Server) -> None:
    raw = client.completions.with_raw_response.create(
        model="sandbox-chat", prompt="Once upon a time", max_tokens=5, temperature=0
    )
    completion = raw.parse()
    assert completion.object == "text_completion"
    assert completion.model == "sandbox-chat"
    assert completion.choices[0].finish_reason == "length"
    assert completion.choices[0].text
    usage = completion.usage
    assert usage is not None
    assert usage.completion_tokens == 5
    assert usage.total_tokens == usage.prompt_tokens + 5
    cost = (Decimal("0.1") * usage.prompt_tokens + Decimal("0.4") * 5) / 1_000_000
    assert Decimal(raw.headers["x-tokenmarket-cost"]) == cost
    assert server.receipt(raw.headers["x-request-id"])["operation"] == "completions"


def test_a_legacy_completion_without_max_tokens_has_openais_sixteen(client: OpenAI) -> None:
    completion = client.completions.create(model="sandbox-chat", prompt="Once upon a time")
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 16


def test_a_legacy_completion_of_many_prompts(client: OpenAI) -> None:
    completion = client.completions.create(
        model="sandbox-chat", prompt=["One", "Two"], n=2, max_tokens=4, echo=True, logprobs=1
    )
    assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
    assert completion.choices[0].text.startswith("One")
    assert completion.choices[2].text.startswith("Two")
    assert completion.choices[0].logprobs is not None
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 16


def test_a_legacy_stream(client: OpenAI) -> None:
    text, usage, ends = "", None, []
    for chunk in client.completions.create(
        model="sandbox-chat",
        prompt="Once upon a time",
        max_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.text
            ends.append(choice.finish_reason)
    whole = client.completions.create(
        model="sandbox-chat", prompt="Once upon a time", max_tokens=12
    )
    assert text == whole.choices[0].text
    assert [end for end in ends if end] == ["length"]
    assert usage is not None
    assert usage.completion_tokens == 12
    assert (usage.model_extra or {})["cost_details"]["total"]


# --- embeddings ---------------------------------------------------------------------------------


def test_embeddings_as_the_sdk_asks_for_them(client: OpenAI) -> None:
    """The SDK asks for base64 by itself and decodes it."""
    packed = client.embeddings.create(model="sandbox-embed", input="Hello!")
    plain = client.embeddings.create(model="sandbox-embed", input="Hello!", encoding_format="float")
    assert packed.object == "list"
    assert packed.model == "sandbox-embed"
    assert packed.data[0].object == "embedding"
    assert len(packed.data[0].embedding) > 100
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)


def test_base64_is_what_it_says(client: OpenAI) -> None:
    answer = client.embeddings.create(
        model="sandbox-embed", input="Hello!", encoding_format="base64", dimensions=8
    )
    text = answer.data[0].embedding
    assert isinstance(text, str)
    assert len(struct.unpack("<8f", base64.b64decode(text, validate=True))) == 8


@pytest.mark.parametrize("dimensions", [1, 8, 256])
def test_dimensions(client: OpenAI, dimensions: int) -> None:
    answer = client.embeddings.create(model="sandbox-embed", input="x", dimensions=dimensions)
    assert len(answer.data[0].embedding) == dimensions


def test_a_list_of_inputs_keeps_its_order(client: OpenAI) -> None:
    texts = ["first", "second", "第三"]
    together = client.embeddings.create(model="sandbox-embed", input=texts, dimensions=16)
    assert [item.index for item in together.data] == [0, 1, 2]
    for text, item in zip(texts, together.data, strict=True):
        alone = client.embeddings.create(model="sandbox-embed", input=text, dimensions=16)
        assert item.embedding == pytest.approx(alone.data[0].embedding, abs=1e-6)


def test_token_ids_are_inputs_as_well(client: OpenAI, server: Server) -> None:
    one = client.embeddings.create(model="sandbox-embed", input=[1, 2, 3], dimensions=8)
    assert len(one.data) == 1
    assert one.usage.prompt_tokens == 3
    raw = client.embeddings.with_raw_response.create(
        model="sandbox-embed", input=[[1, 2, 3], [4]], dimensions=8
    )
    two = raw.parse()
    assert len(two.data) == 2
    assert two.usage.total_tokens == two.usage.prompt_tokens == 4
    # 0.02 USD per million tokens, exactly.
    assert Decimal(raw.headers["x-tokenmarket-cost"]) == Decimal("0.00000008")
    receipt = server.receipt(raw.headers["x-request-id"])
    assert [item["unit"] for item in receipt["items"]] == ["input_token"]


async def test_async_embeddings(aclient: AsyncOpenAI) -> None:
    answer = await aclient.embeddings.create(model="sandbox-embed", input=["a", "b"])
    assert len(answer.data) == 2


# --- models -------------------------------------------------------------------------------------


def test_models_list(client: OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    chat = models["sandbox-chat"]
    assert chat.object == "model"
    assert chat.owned_by
    assert chat.created > 0
    extra = chat.model_extra or {}
    assert extra["operation"] == "chat"
    assert set(extra["name"]) >= {"en", "zh"}
    assert extra["vendor"] == "tokenmarket"
    assert extra["context_tokens"] > 0
    assert extra["max_output_tokens"] > 0
    assert extra["default_provider"] == "sandbox"
    assert extra["providers"] == ["sandbox"]
    assert isinstance(extra["capabilities"], dict)
    assert extra["available"] is True
    prices = {row["unit"]: Decimal(row["usd"]) for row in extra["pricing"]}
    assert prices["input_token"] == Decimal("0.1")
    assert prices["output_token"] == Decimal("0.4")
    for name in (
        "sandbox-reasoner", "sandbox-embed", "sandbox-fail-500", "sandbox-fail-429",
        "sandbox-timeout", "sandbox-cut", "sandbox-slow", "sandbox-badjson", "sandbox-nousage",
    ):  # fmt: skip
        assert (models[name].model_extra or {})["available"] is True
        assert (models[name].model_extra or {})["pricing"]


def test_models_without_credentials_are_listed_with_the_reason(client: OpenAI) -> None:
    extra = client.models.retrieve("DeepSeek-V4-pro").model_extra or {}
    assert extra["available"] is False
    assert "DATAEYES_API_KEY" in extra["reason"]
    assert "dataeyes" in extra["providers"]


def test_models_retrieve(client: OpenAI) -> None:
    model = client.models.retrieve("sandbox-chat")
    listed = {found.id: found for found in client.models.list()}["sandbox-chat"]
    assert model == listed
    with pytest.raises(NotFoundError) as raised:
        client.models.retrieve("sandbox-cha")
    assert raised.value.code == "MODEL_001"
    assert "sandbox-chat" in raised.value.message


def test_model_endpoints(server: Server) -> None:
    document = server.get("/models/sandbox-chat/endpoints").json
    (endpoint,) = document["endpoints"]
    assert endpoint["provider"] == "sandbox"
    assert endpoint["upstream_model"] == "sandbox-chat"
    assert endpoint["available"] is True
    assert endpoint["pricing"]


# --- routing fields -----------------------------------------------------------------------------

SECOND = """
[[provider]]
name = "second"
adapter = "sandbox"
base_url = "sandbox:"

[[model]]
id = "two-homes"
operation = "chat"
name = { en = "Two homes", zh = "两个家" }
vendor = "tokenmarket"
default_provider = "second"
context_tokens = 131_072
max_output_tokens = 16_384

[[route]]
model = "two-homes"
provider = "second"
upstream_model = "sandbox-chat"
price = [ { unit = "input_token", usd = "0.3" }, { unit = "output_token", usd = "0.9" } ]

[[route]]
model = "two-homes"
provider = "sandbox"
upstream_model = "sandbox-chat"
price = [ { unit = "input_token", usd = "0.2" }, { unit = "output_token", usd = "0.6" } ]

[[model]]
id = "falls-back"
operation = "chat"
name = { en = "Falls back", zh = "会切换" }
vendor = "tokenmarket"
default_provider = "second"
context_tokens = 131_072
max_output_tokens = 16_384

[[route]]
model = "falls-back"
provider = "second"
upstream_model = "sandbox-fail-500"
price = [ { unit = "input_token", usd = "0.3" }, { unit = "output_token", usd = "0.9" } ]

[[route]]
model = "falls-back"
provider = "sandbox"
upstream_model = "sandbox-chat"
price = [ { unit = "input_token", usd = "0.2" }, { unit = "output_token", usd = "0.6" } ]
"""


@pytest.fixture(scope="module")
def two_homes(server: Server) -> None:
    server.apply_models(SECOND, "two-homes", "falls-back")


@pytest.mark.usefixtures("two_homes")
@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (None, "second"),
        ("sandbox", "sandbox"),
        ("second", "second"),
        ({"only": ["sandbox"]}, "sandbox"),
        ({"ignore": ["second"]}, "sandbox"),
        ({"order": ["sandbox", "second"]}, "sandbox"),
        ({"sort": "price"}, "sandbox"),
        ({"max_price": {"prompt": 0.25, "completion": 0.7}}, "sandbox"),
        ({"order": ["second"], "allow_fallbacks": False}, "second"),
    ],
    ids=["absent", "pin", "pin2", "only", "ignore", "order", "price", "max_price", "no_fallback"],
)
def test_the_provider_field_decides(
    client: OpenAI, server: Server, choice: object, chosen: str
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="two-homes",
        messages=HELLO,
        extra_body={} if choice is None else {"provider": choice},
    )
    assert raw.parse().choices[0].message.content == "OK"
    assert raw.parse().model == "two-homes"
    assert raw.headers["x-tokenmarket-provider"] == chosen
    route = server.receipt(raw.headers["x-request-id"])["route"]
    decisions = {row["provider"]: row["decision"] for row in route["candidates"]}
    assert decisions[chosen] == "chosen"
    assert set(decisions) == {"sandbox", "second"}
    assert all(row["reason"] for row in route["candidates"])


@pytest.mark.usefixtures("two_homes")
def test_a_failed_route_is_followed_by_the_next(client: OpenAI, server: Server) -> None:
    raw = client.chat.completions.with_raw_response.create(model="falls-back", messages=HELLO)
    assert raw.parse().choices[0].message.content == "OK"
    assert raw.headers["x-tokenmarket-provider"] == "sandbox"
    assert raw.headers["x-tokenmarket-model"] == "sandbox-chat"
    assert raw.headers["x-tokenmarket-attempts"] == "2"
    receipt = server.receipt(raw.headers["x-request-id"])
    assert [row["decision"] for row in receipt["route"]["candidates"]] == ["failed", "chosen"]
    failed, good = receipt["attempts"]
    assert (failed["provider"], failed["status"]) == ("second", 500)
    assert failed["error"]
    assert (good["provider"], good["status"], good["error"]) == ("sandbox", 200, None)
    # Paid is the route that answered: 0.2 and 0.6 USD per million.
    usage = receipt["usage"]
    micro = Decimal("0.2") * usage["prompt_tokens"] + Decimal("0.6") * usage["completion_tokens"]
    assert Decimal(receipt["amounts"]["charged"]) == micro / 1_000_000


@pytest.mark.usefixtures("two_homes")
def test_a_stream_falls_back_before_its_first_byte(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="falls-back", messages=HELLO, stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse()) == "OK"
    assert raw.headers["x-tokenmarket-provider"] == "sandbox"
    assert raw.headers["x-tokenmarket-attempts"] == "2"


def test_models_are_further_models_to_fall_back_to(client: OpenAI, server: Server) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-fail-500", messages=HELLO, extra_body={"models": ["sandbox-chat"]}
    )
    assert raw.parse().choices[0].message.content == "OK"
    assert raw.headers["x-tokenmarket-model"] == "sandbox-chat"
    assert raw.headers["x-tokenmarket-attempts"] == "2"
    attempts = server.receipt(raw.headers["x-request-id"])["attempts"]
    assert [row["upstream_model"] for row in attempts] == ["sandbox-fail-500", "sandbox-chat"]


def test_an_unknown_provider_is_named(client: OpenAI) -> None:
    for choice in ("nope", {"only": ["nope"]}, {"order": ["sandbox", "nope"]}):
        with pytest.raises(BadRequestError) as raised:
            client.chat.completions.create(
                model="sandbox-chat", messages=HELLO, extra_body={"provider": choice}
            )
        assert raised.value.code == "REQUEST_001"
        assert raised.value.param is not None
        assert raised.value.param.startswith("provider")
        assert "nope" in raised.value.message


def test_a_pinned_provider_without_the_model(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as raised:
        client.chat.completions.create(
            model="sandbox-chat", messages=HELLO, extra_body={"provider": "openai"}
        )
    assert raised.value.code == "PROVIDER_001"
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["reason"] == "model_not_at_provider"


def test_the_books_are_exact(server: Server) -> None:
    server.verify()
