"""The bytes of the benchmark: what the caller asks, what the upstream answers, what that costs.

One place, because the load generator verifies what the mock upstream sent, and the end of a run
compares the gateway's books with ``PRICE_NANO`` times the number of answered requests.

The name of a model says what the mock does: ``bench-chat`` answers at once,
``bench-stream-EVENTS-PAUSE_MS`` streams that many events with that pause. So nothing has to be told
to the mock beside the request, and a proxy in between needs no knowledge of the benchmark.
"""

import json

PROMPT_TOKENS = 412
COMPLETION_TOKENS = 128
INPUT_NANO_PER_TOKEN = 1_000
OUTPUT_NANO_PER_TOKEN = 2_000
PRICE_NANO = PROMPT_TOKENS * INPUT_NANO_PER_TOKEN + COMPLETION_TOKENS * OUTPUT_NANO_PER_TOKEN

CHAT = "bench-chat"
ANSWER_END = b"and that is the end of the benchmark's answer."
DONE = b"data: [DONE]\n\n"

_USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": COMPLETION_TOKENS,
    "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_CREATED_S = 1_795_000_000


def stream_model(events: int, pause_ms: int) -> str:
    """The model whose answer is a stream of ``events`` content events."""
    return f"bench-stream-{events}-{pause_ms}"


def stream_shape(model: str) -> tuple[int, int]:
    """``bench-stream-EVENTS-PAUSE_MS`` -> (events, pause_ms)."""
    _, _, events, pause_ms = model.split("-")
    return int(events), int(pause_ms)


# --- what the caller sends ------------------------------------------------------------------------


def request_body(model: str, *, stream: bool) -> bytes:
    """About 1.8 KB with two tools, compact and in UTF-8 as the official SDKs encode it."""
    document: dict[str, object] = {
        "messages": [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": _QUESTION},
        ],
        "model": model,
        "max_tokens": 512,
        "temperature": 0.2,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "user": "customer-4711-of-the-benchmark-agency",
        "tools": [_tool("get_weather", _WEATHER), _tool("book_table", _TABLE)],
    }
    if stream:
        document["stream"] = True
        document["stream_options"] = {"include_usage": True}
    return _compact(document)


def request_bytes(host: str, path: str, key: str, body: bytes) -> bytes:
    """A whole POST with the header set of the official OpenAI Python SDK 3.x."""
    head = (
        f"POST {path} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "Accept-Encoding: gzip, deflate\r\n"
        "Connection: keep-alive\r\n"
        "Accept: application/json\r\n"
        "Content-Type: application/json\r\n"
        "User-Agent: OpenAI/Python 3.54.0\r\n"
        "X-Stainless-Lang: python\r\n"
        "X-Stainless-Package-Version: 3.54.0\r\n"
        "X-Stainless-OS: Linux\r\n"
        "X-Stainless-Arch: x64\r\n"
        "X-Stainless-Runtime: CPython\r\n"
        "X-Stainless-Runtime-Version: 3.11.7\r\n"
        f"Authorization: Bearer {key}\r\n"
        "X-Stainless-Async: false\r\n"
        "x-stainless-retry-count: 0\r\n"
        "x-stainless-read-timeout: 600\r\n"
        f"Content-Length: {len(body)}\r\n"
        "\r\n"
    )
    return head.encode("ascii") + body


# --- what the upstream answers --------------------------------------------------------------------


def chat_response() -> bytes:
    """A whole 200 with about 1 KB of JSON."""
    body = _compact(
        {
            "id": "chatcmpl-CbQ3xBenchAAAAAAAAAAAAAAAAAAAA",
            "object": "chat.completion",
            "created": _CREATED_S,
            "model": "bench-chat-2026-11-01",
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": _ANSWER + ANSWER_END.decode("ascii"),
                        "refusal": None,
                        "annotations": [],
                    },
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": _USAGE,
            "service_tier": "default",
            "system_fingerprint": "fp_44709d6fcb",
        }
    )
    head = f"{_HEAD}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


def stream_head() -> bytes:
    """The head of a stream, which is chunked."""
    kind = "Content-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    return (_HEAD + kind).encode("ascii")


def stream_event() -> bytes:
    """One content event of about 270 bytes, as one HTTP chunk."""
    choice = {"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}
    return _chunk(_event([choice], None))


def stream_end(*, usage: bool) -> bytes:
    """The last HTTP chunks: the usage event if it was asked for, then ``[DONE]``."""
    last = _chunk(_event([], _USAGE)) if usage else b""
    return last + _chunk(DONE) + b"0\r\n\r\n"


def _event(choices: list[object], usage: object) -> bytes:
    document = {
        "id": "chatcmpl-CbQ3xBenchAAAAAAAAAAAAAAAAAAAA",
        "object": "chat.completion.chunk",
        "created": _CREATED_S,
        "model": "bench-chat-2026-11-01",
        "system_fingerprint": "fp_44709d6fcb",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + _compact(document) + b"\n\n"


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _tool(name: str, properties: dict[str, str]) -> object:
    members = {key: {"type": "string", "description": text} for key, text in properties.items()}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Call {name} when the user asks for it; never guess its arguments.",
            "parameters": {
                "type": "object",
                "properties": members,
                "required": list(members),
                "additionalProperties": False,
            },
            "strict": True,
        },
    }


_HEAD = (
    "HTTP/1.1 200 OK\r\n"
    "Date: Mon, 23 Nov 2026 12:00:00 GMT\r\n"
    "x-request-id: req_bench0000000000000000000000000\r\n"
    "openai-processing-ms: 12\r\n"
)
_SYSTEM = (
    "You are the assistant of a travel agency. Answer briefly and in the language of the question. "
    "Use the tools for everything that changes from day to day; never invent a price, a time or an "
    "address. If a tool fails, say so and offer to try again."
)
_QUESTION = (
    "We are four people and arrive in Zürich on Friday at 18:40 by train. Will it rain that "
    "evening, and can you find us a quiet table for dinner near the station, vegetarian dishes "
    "included, not later than half past eight? We leave again on Sunday after lunch."
)
_WEATHER = {
    "city": "Name of the city, as people there write it",
    "date": "Day as YYYY-MM-DD",
    "unit": "celsius or fahrenheit",
}
_TABLE = {
    "place": "Name of the restaurant and its street",
    "time": "Local time as YYYY-MM-DDTHH:MM",
    "people": "How many seats",
    "wishes": "Anything the kitchen or the staff should know beforehand",
}
_ANSWER = (
    "On Friday evening light rain is expected in Zürich until about nine, at 11 °C, so take the "
    "covered way along the river. Two quiet places within five minutes of the station have a table "
    "for four at 20:15, both with vegetarian dishes on the evening menu. "
)
