"""Faults, pace and lies on demand; paths and the cache of the desk."""

import json
from typing import Any

import pytest

from tokenmarket.sandbox import desk as desk_module
from tokenmarket.sandbox.behaviour import FAULTS, MODELS, Script
from tokenmarket.sandbox.desk import Desk

_PATHS = {
    "chat": ("/chat/completions", {"messages": [{"role": "user", "content": "hello"}]}),
    "completions": ("/completions", {"prompt": "hello"}),
    "embeddings": ("/embeddings", {"input": "hello"}),
}


def ask(
    model: str = "sandbox-chat",
    operation: str = "chat",
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> Script:
    path, body = _PATHS[operation]
    raw = json.dumps({"model": model, **body, **fields}).encode()
    return Desk(lambda: 1).answer("POST", path, headers or {}, raw)


@pytest.mark.parametrize("operation", _PATHS)
@pytest.mark.parametrize("model", [name for name in MODELS if len(MODELS[name]) > 3])
def test_faulty_models_fail_at_every_operation(model: str, operation: str) -> None:
    script = ask(model, operation)
    good = {"chat": "sandbox-chat", "completions": "sandbox-chat", "embeddings": "sandbox-embed"}
    whole = len(ask(good[operation], operation).pieces[0])
    match model:
        case "sandbox-fail-500":
            assert script.status == 500
        case "sandbox-fail-429":
            assert (script.status, script.retry_after) == (429, "2")
        case "sandbox-timeout":
            assert script.silent
        case "sandbox-cut":
            assert script.ending == "cut"
            assert 0 < len(script.pieces[0]) < script.body_bytes
        case "sandbox-slow":
            assert script.delay_ms >= 1000
            assert script.pace_ms >= 100
            assert script.ending == "complete"
        case "sandbox-badjson":
            assert script.status == 200
            assert script.body_bytes == len(script.pieces[0]) < whole
            with pytest.raises(json.JSONDecodeError):
                json.loads(script.pieces[0])
        case _:
            assert model == "sandbox-nousage"
            assert "usage" not in json.loads(script.pieces[0])


@pytest.mark.parametrize("fault", FAULTS)
def test_header_metadata_and_model_ask_for_the_same(fault: str) -> None:
    by_header = ask(headers={"fault": fault}, stream=True)
    by_long_header = ask(headers={"fault": f"sandbox-{fault}"}, stream=True)
    by_metadata = ask(stream=True, metadata={"sandbox_fault": fault, "other": "x"})
    assert by_header == by_long_header
    assert _without_ids(by_header) == _without_ids(by_metadata)
    if f"sandbox-{fault}" in MODELS:
        by_model = ask(f"sandbox-{fault}", stream=True)
        assert _without_ids(by_model) == _without_ids(by_header)


def _without_ids(script: Script) -> Any:
    """All but what depends on the bytes and the model of the request."""
    lengths = [len(piece) for piece in script.pieces] if script.status != 200 else []
    return (
        script.status,
        script.silent,
        script.ending,
        script.delay_ms,
        script.pace_ms,
        script.retry_after,
        len(script.pieces),
        lengths,
    )


def test_faults_of_streams() -> None:
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    whole = ask(**usage).pieces
    cut = ask(headers={"fault": "cut"}, **usage)
    assert cut.ending == "cut"
    assert whole[: len(whole) // 2] == cut.pieces[:-1]
    assert whole[len(whole) // 2].startswith(cut.pieces[-1])
    assert cut.pieces[-1] != whole[len(whole) // 2]
    assert ask(headers={"fault": "stall"}, **usage).ending == "stall"
    broken = ask(headers={"fault": "badjson"}, **usage).pieces
    bad = [piece for piece in broken if not _is_event(piece)]
    assert len(bad) == 1
    assert bad[0].endswith(b"\n\n")
    assert broken[-1] == b"data: [DONE]\n\n"
    assert ask(headers={"fault": "nodone"}, **usage).pieces == whole[:-1]
    failed = ask(headers={"fault": "stream-error"}, **usage).pieces
    assert "error" in json.loads(failed[-1][6:])
    silent = ask(headers={"fault": "nousage"}, **usage).pieces
    assert len(silent) == len(whole) - 1
    assert not any(b'"usage":{' in piece for piece in silent)


def _is_event(piece: bytes) -> bool:
    if piece == b"data: [DONE]\n\n":
        return True
    try:
        json.loads(piece.removeprefix(b"data: "))
    except json.JSONDecodeError:
        return False
    return True


@pytest.mark.parametrize(
    "lie", ['{"prompt_tokens":-5}', "null", '"many"', "[1e300]", '{"total_tokens":1e18}']
)
def test_usage_may_lie(lie: str) -> None:
    told = json.loads(ask(headers={"usage": lie}).pieces[0])["usage"]
    assert told == json.loads(lie)
    options = {"include_usage": True}
    events = ask(metadata={"sandbox_usage": lie}, stream=True, stream_options=options).pieces
    assert json.loads(events[-2][6:])["usage"] == json.loads(lie)
    assert "usage" not in json.loads(ask(headers={"usage": "missing"}).pieces[0])
    assert json.loads(ask("sandbox-embed", "embeddings", {"usage": lie}).pieces[0])[
        "usage"
    ] == json.loads(lie)


def test_numbers_are_taken_and_a_header_wins() -> None:
    asked = {"sandbox_delay_ms": "5", "sandbox_pace_ms": "6"}
    script = ask(headers={"delay-ms": "7"}, metadata=asked)
    assert (script.delay_ms, script.pace_ms) == (7, 6)
    slow = ask("sandbox-slow", metadata={"sandbox_delay_ms": "0", "sandbox_pace_ms": "1"})
    assert (slow.delay_ms, slow.pace_ms) == (0, 1)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 418, 429, 500, 503, 599])
def test_any_error_status(status: int) -> None:
    headers = {"status": str(status), "retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}
    script = ask(headers=headers)
    assert script.status == status
    assert script.retry_after == headers["retry-after"]
    error = json.loads(script.pieces[0])["error"]
    assert error.keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "headers",
    [
        {"fault": "oops"},
        {"fault": ""},
        {"oops": "1"},
        {"delay-ms": "-1"},
        {"delay-ms": "1.5"},
        {"delay-ms": "600001"},
        {"delay-ms": "9" * 5000},
        {"pace-ms": "٣"},
        {"pace-ms": "60001"},
        {"tokens": "0"},
        {"tokens": "8193"},
        {"usage": "{"},
        {"usage": "[" * 100_000},
        {"status": "200"},
        {"status": "600"},
        {"retry-after": "1\r\nx: y"},
        {"retry-after": "x" * 65},
    ],
    ids=lambda headers: str(headers)[:40],
)
def test_unreadable_wishes_are_refused_by_name(headers: dict[str, str]) -> None:
    script = ask(headers=headers)
    assert script.status == 400
    (name,) = headers
    assert json.loads(script.pieces[0])["error"]["param"] == f"x-sandbox-{name}"
    member = "sandbox_" + name.replace("-", "_")
    script = ask(metadata={member: headers[name]})
    assert script.status == 400
    assert json.loads(script.pieces[0])["error"]["param"] == f"metadata.{member}"


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_paths_and_methods(prefix: str) -> None:
    desk = Desk(lambda: 1)
    listed = desk.answer("GET", f"{prefix}/models?limit=5", {}, b"")
    names = [row["id"] for row in json.loads(listed.pieces[0])["data"]]
    assert names == list(MODELS)
    assert all(name.startswith("sandbox-") for name in names)
    one = desk.answer("GET", f"{prefix}/models/sandbox-chat", {}, b"")
    assert json.loads(one.pieces[0])["id"] == "sandbox-chat"
    assert desk.answer("GET", f"{prefix}/models/gpt-4o", {}, b"").status == 404
    wrong = desk.answer("GET", f"{prefix}/chat/completions", {}, b"")
    assert (wrong.status, wrong.allow) == (405, "POST")
    wrong = desk.answer("DELETE", f"{prefix}/models", {}, b"")
    assert (wrong.status, wrong.allow) == (405, "GET")
    assert desk.answer("POST", f"{prefix}/nothing", {}, b"").status == 404
    assert desk.answer("GET", "/healthz", {}, b"").status == 200


def test_identical_requests_are_answered_from_the_cache_and_it_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desk_module, "_CACHED_TOTAL_MAX", 20_000)
    times_s = iter(range(1, 10_000))
    desk = Desk(lambda: next(times_s))

    def created(text: str, headers: dict[str, str]) -> int:
        body = {"model": "sandbox-chat", "messages": [{"role": "user", "content": text}]}
        script = desk.answer("POST", "/chat/completions", headers, json.dumps(body).encode())
        return json.loads(script.pieces[0])["created"]

    assert created("a", {}) == created("a", {}) == 1
    assert created("a", {"tokens": "3"}) == 2
    assert created("a", {"tokens": "4"}) == 3
    assert created("a", {}) == 1
    for number in range(200):
        created(f"other {number}", {})
        assert sum(map(len, (s.pieces[0] for s in desk._kept.values()))) < 20_000
    assert created("a", {}) > 3
    before = len(desk._kept)
    created("long " * 20_000, {})
    assert len(desk._kept) == before
