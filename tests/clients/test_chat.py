"""Chat with the official SDK, answers in one piece: parameters, usage, cost, headers, receipt."""

import asyncio
import json
import re
from decimal import Decimal

import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion

from tests.support.server import Server, until

HELLO = [{"role": "user", "content": "Hello!"}]
# sandbox-chat of the shipped catalog: USD per token.
INPUT_USD = Decimal("0.1") / 1_000_000
OUTPUT_USD = Decimal("0.4") / 1_000_000


def extra(model: object, name: str) -> object:
    """A member that the SDK's types do not know but keep."""
    return (getattr(model, "model_extra", None) or {})[name]


def check_usage(completion: ChatCompletion) -> Decimal:
    """OpenAI's fields add up and the cost is exactly the catalog's price. Returns the cost."""
    usage = completion.usage
    assert usage is not None
    assert usage.prompt_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    details = extra(usage, "cost_details")
    assert isinstance(details, dict)
    assert {
        "input", "output", "cached", "cache_write", "reasoning", "audio", "image", "video",
        "search", "request", "total",
    } <= set(details)  # fmt: skip
    cost = INPUT_USD * usage.prompt_tokens + OUTPUT_USD * usage.completion_tokens
    assert Decimal(details["total"]) == cost
    assert Decimal(details["input"]) == INPUT_USD * usage.prompt_tokens
    assert Decimal(details["output"]) == OUTPUT_USD * usage.completion_tokens
    assert extra(usage, "cost") == pytest.approx(float(cost), rel=1e-12)
    assert extra(usage, "is_byok") is False
    return cost


def test_a_plain_chat(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="sandbox-chat", messages=[{"role": "user", "content": "answer OK"}]
    )
    assert completion.object == "chat.completion"
    assert completion.model == "sandbox-chat"
    assert completion.id
    assert completion.created > 1_790_000_000
    (choice,) = completion.choices
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert (choice.message.role, choice.message.content) == ("assistant", "OK")
    assert completion.usage is not None
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 0
    assert completion.usage.completion_tokens_details is not None
    assert completion.usage.completion_tokens_details.reasoning_tokens == 0
    assert check_usage(completion) > 0


def test_the_usual_parameters_together(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="sandbox-chat",
        messages=[
            {"role": "developer", "content": "Be short."},
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello!", "name": "ann"},
            {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": [{"type": "text", "text": "say fine"}]},
        ],
        temperature=0.5,
        top_p=0.9,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        logit_bias={"50256": -100},
        max_completion_tokens=50,
        n=1,
        seed=7,
        stop=["\n\n"],
        user="user-1",
        metadata={"ticket": "42"},
        safety_identifier="u1",
        store=False,
        stream=False,
        service_tier="default",
    )
    assert completion.choices[0].message.content == "fine"
    check_usage(completion)


def test_n_choices_are_all_paid(client: OpenAI) -> None:
    one = client.chat.completions.create(model="sandbox-chat", messages=HELLO)
    two = client.chat.completions.create(model="sandbox-chat", messages=HELLO, n=2)
    assert [choice.index for choice in two.choices] == [0, 1]
    assert all(choice.message.content for choice in two.choices)
    assert one.usage is not None
    assert two.usage is not None
    assert two.usage.prompt_tokens == one.usage.prompt_tokens
    assert two.usage.completion_tokens > one.usage.completion_tokens
    check_usage(two)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_tokens_ends_with_length(client: OpenAI, name: str) -> None:
    completion = client.chat.completions.create(
        model="sandbox-chat", messages=HELLO, extra_body={name: 3}
    )
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 3
    check_usage(completion)


@pytest.mark.parametrize("stop", ["sandbox", ["never there", "sandbox"]])
def test_stop_cuts_before_the_word(client: OpenAI, stop: str | list[str]) -> None:
    completion = client.chat.completions.create(model="sandbox-chat", messages=HELLO, stop=stop)
    content = completion.choices[0].message.content
    assert content is not None
    assert content.strip() == "This is the TokenMarket"
    assert completion.choices[0].finish_reason == "stop"
    check_usage(completion)


def test_seed_gives_the_same_answer(client: OpenAI) -> None:
    answers = {
        client.chat.completions.create(model="sandbox-chat", messages=HELLO, seed=11)
        .choices[0]
        .message.content
        for _ in range(3)
    }
    assert len(answers) == 1


def test_logprobs(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="sandbox-chat", messages=HELLO, logprobs=True, top_logprobs=2, max_tokens=4
    )
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    text = completion.choices[0].message.content
    assert "".join(token.token for token in logprobs.content) == text
    assert all(token.logprob <= 0 for token in logprobs.content)
    assert all(len(token.top_logprobs) == 2 for token in logprobs.content)


def test_texts_in_any_language_pass_unchanged(client: OpenAI) -> None:
    for text in ("你好，世界 🌍", 'quotes " and \\ and \t', "\u2028\u00e9", "نص عربي"):
        completion = client.chat.completions.create(
            model="sandbox-chat", messages=[{"role": "user", "content": text}]
        )
        content = completion.choices[0].message.content
        assert content is not None
        assert str(len(text)) in content
        assert text.split()[0] in content


def test_parts_of_other_kinds_are_passed(client: OpenAI) -> None:
    pixel = "data:image/png;base64,iVBORw0KGgo="
    completion = client.chat.completions.create(
        model="sandbox-chat",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "answer seen"},
                    {"type": "image_url", "image_url": {"url": pixel, "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                ],
            }
        ],
        max_tokens=20,
    )
    assert completion.choices[0].message.content == "seen"


def test_reasoning_is_shown_counted_and_priced(client: OpenAI, server: Server) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-reasoner",
        messages=[{"role": "user", "content": "answer OK"}],
        reasoning_effort="low",
    )
    completion = raw.parse()
    message = completion.choices[0].message
    assert message.content == "OK"
    assert extra(message, "reasoning_content")
    usage = completion.usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    reasoning = usage.completion_tokens_details.reasoning_tokens
    assert reasoning == 16
    assert usage.completion_tokens > reasoning
    # 0.2, 0.8 and 0.6 USD per million: reasoning tokens are part of completion_tokens, paid once.
    micro = (
        Decimal("0.2") * usage.prompt_tokens
        + Decimal("0.8") * (usage.completion_tokens - reasoning)
        + Decimal("0.6") * reasoning
    )
    cost = Decimal(raw.headers["x-tokenmarket-cost"])
    assert cost == micro / 1_000_000
    details = extra(usage, "cost_details")
    assert isinstance(details, dict)
    assert Decimal(details["reasoning"]) == Decimal("0.6") * reasoning / 1_000_000
    items = server.receipt(raw.headers["x-request-id"])["items"]
    assert {item["unit"] for item in items} == {"input_token", "output_token", "reasoning_token"}


def test_more_reasoning_effort_costs_more(client: OpenAI) -> None:
    tokens = []
    for effort in ("low", "high"):
        completion = client.chat.completions.create(
            model="sandbox-reasoner",
            messages=HELLO,
            reasoning_effort=effort,
        )
        assert completion.usage is not None
        tokens.append(completion.usage.completion_tokens)
    assert tokens[1] > tokens[0]


def test_every_header_of_an_answer(client: OpenAI, server: Server) -> None:
    before = server.balance()
    raw = client.chat.completions.with_raw_response.create(model="sandbox-chat", messages=HELLO)
    completion = raw.parse()
    headers = raw.headers
    assert re.fullmatch(r"req_[0-9A-Za-z_]+", headers["x-request-id"])
    assert raw.request_id == headers["x-request-id"]
    assert headers["x-tokenmarket-provider"] == "sandbox"
    assert headers["x-tokenmarket-model"] == "sandbox-chat"
    assert headers["x-tokenmarket-attempts"] == "1"
    assert 0 <= int(headers["openai-processing-ms"]) < 10_000
    assert 0 <= float(headers["x-tokenmarket-overhead-ms"]) < 10_000
    assert headers["content-type"] == "application/json"
    for kind in ("requests", "tokens"):
        limit = int(headers[f"x-ratelimit-limit-{kind}"])
        assert 0 <= int(headers[f"x-ratelimit-remaining-{kind}"]) <= limit
        assert re.fullmatch(r"(\d+m)?\d+(ms|s)", headers[f"x-ratelimit-reset-{kind}"])
    cost = check_usage(completion)
    assert Decimal(headers["x-tokenmarket-cost"]) == cost
    assert Decimal(headers["x-tokenmarket-balance"]) == before - cost == server.balance()
    # The id of the headers, of the answer's SDK object and of the receipt are one.
    assert completion._request_id == headers["x-request-id"]
    receipt = server.receipt(headers["x-request-id"])
    assert Decimal(receipt["amounts"]["charged"]) == cost


def test_ids_of_the_caller_are_kept_on_the_receipt(client: OpenAI, server: Server) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    raw = client.chat.completions.with_raw_response.create(
        model="sandbox-chat",
        messages=HELLO,
        extra_headers={
            "X-Client-Request-Id": "mine-1",
            "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
            "x-session-id": "session-1",
        },
    )
    receipt = server.receipt(raw.headers["x-request-id"])
    assert receipt["trace_id"] == trace
    assert receipt["client_request_id"] == "mine-1"
    assert receipt["session_id"] == "session-1"


def test_user_and_metadata_are_echoed_to_the_log_but_no_secret(server: Server) -> None:
    secret = "sk-abcdefghijklmnop"
    answer = server.chat(
        user="user-77", metadata={"ticket": "ticket-4711", "line": "a\nb", "key": secret}
    )
    assert answer.status == 200

    def line() -> str | None:
        lines = server.running.err.splitlines()
        return next((line for line in lines if answer.request_id in line), None)

    logged = until(line, "the line of the request", 5)
    assert "user-77" in logged
    assert "ticket-4711" in logged
    assert secret not in server.running.err
    assert json.loads(logged)["event"] == "request"  # one line, whatever the caller writes


def test_unknown_fields_reach_an_upstream_of_the_same_dialect(client: OpenAI) -> None:
    """The sandbox obeys ``metadata.sandbox_tokens``: what we do not know is not lost."""
    completion = client.chat.completions.create(
        model="sandbox-chat",
        messages=HELLO,
        metadata={"sandbox_tokens": "17"},
        extra_body={"a_field_of_tomorrow": {"deep": [1, 2.5, None, "x"]}},
    )
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 17


async def test_the_async_client_many_at_once(aclient: AsyncOpenAI) -> None:
    async def one(number: int) -> str | None:
        completion = await aclient.chat.completions.create(
            model="sandbox-chat", messages=[{"role": "user", "content": f"answer word{number}"}]
        )
        check_usage(completion)
        return completion.choices[0].message.content

    answers = await asyncio.gather(*(one(number) for number in range(20)))
    assert answers == [f"word{number}" for number in range(20)]


def test_two_different_keys_are_refused(server: Server) -> None:
    body = {"model": "sandbox-chat", "messages": HELLO}
    twice = server.post("/chat/completions", body, headers={"x-api-key": server.key})
    assert twice.status == 200
    other = server.post("/chat/completions", body, headers={"x-api-key": "tm_live_other"})
    assert (other.status, other.error["code"]) == (401, "AUTH_001")


def test_the_books_are_exact(server: Server) -> None:
    server.verify()
