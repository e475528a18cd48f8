"""The video endpoints over a scripted engine, asked by hand and by the unmodified openai SDK."""

from __future__ import annotations

from typing import Any, cast

import openai
import pytest

from tests.support.video_desk import BASE, IDS, NOW, ORDER, PNG, Answer, Desk, Engine, view
from tokenmarket.contents import Copy
from tokenmarket.core.contents import ContentKey
from tokenmarket.core.errors import ApiError
from tokenmarket.core.tasks import LIVE, TERMINAL
from tokenmarket.core.video.projection import OutputView, TaskError
from tokenmarket.web.videos import Videos

# --- the SDK


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_sdk_creates_polls_downloads_lists_and_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(Engine())
    client = desk.sdk()
    waits: list[float] = []
    monkeypatch.setattr(client.videos, "_sleep", waits.append)
    video = client.videos.create(
        model="kling-v1",
        prompt="a cat",
        seconds=cast("Any", "5"),
        input_reference=("a.png", PNG, "image/png"),
        extra_body={"provider": "dataeyes", "metadata": {"a": 1}, "duration": 5},
    )
    assert video.status == "queued"
    (order,) = desk.engine.orders
    assert (order.seconds, order.metadata, order.metadata_options) == (5, {"a": "1"}, False)
    assert order.choice is not None
    assert order.choice.only == ("dataeyes",)
    assert [(item.role, item.param) for item in order.inputs] == [
        ("first_frame", "input_reference")
    ]
    desk.engine.states = ["queued", "running", "finalizing", "succeeded"]
    assert client.videos.poll(video.id).status == "completed"
    assert waits == [15.0, 15.0, 15.0]
    desk.engine.states = ["succeeded"]
    assert client.videos.download_content(video.id).read() == b"MP4"
    assert [one.id for one in client.videos.list(limit=1)] == [video.id]
    desk.engine.states = ["succeeded"]
    assert client.videos.delete(video.id).deleted is True


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("end", sorted(TERMINAL))
def test_the_sdk_s_poll_ends_with_us(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(view())
    client = Desk(engine).sdk()
    monkeypatch.setattr(client.videos, "_sleep", lambda seconds: None)
    engine.states = [*LIVE, end]
    video = client.videos.poll(IDS[1])
    assert engine.states == []
    assert video.status == ("completed" if end == "succeeded" else "failed")
    assert (video.error is not None) == (end != "succeeded")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_sdk_does_not_repeat_a_conflict() -> None:
    engine = Engine(view())
    engine.fault = ApiError("IDEMPOTENCY_001", "other body", reason="idempotency_conflict")
    desk = Desk(engine)
    for call in (
        lambda: desk.sdk().videos.create(model="kling-v1", prompt="p"),
        lambda: desk.sdk().videos.download_content(IDS[1]),
        lambda: desk.sdk().videos.delete(IDS[1]),
    ):
        desk.asked = 0
        with pytest.raises(openai.ConflictError):
            call()
        assert desk.asked == 1


# --- create


def test_the_original_example() -> None:
    desk = Desk(Engine())
    answer = desk.ask(
        "POST",
        f"{BASE}/video/generations",
        {
            "model": "kling-v1",
            "provider": "dataeyes",
            "prompt": "A paper plane flying over a lake at sunrise",
            "metadata": {"order": "42"},
        },
        headers={"content-type": "application/json", "idempotency-key": "again"},
    )
    assert (answer.status, answer.json["object"], answer.json["id"]) == (200, "video", IDS[7])
    assert answer.json["task_id"] == IDS[7]
    assert desk.engine.orders[0].metadata_options
    assert desk.engine.keys == ["again"]
    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.headers["openai-poll-after-ms"] == "15000"
    assert answer.headers["retry-after"] == "15"
    assert answer.headers["x-tokenmarket-attempts"] == "1"
    assert answer.headers["x-ratelimit-limit-requests"] == "9"
    assert answer.headers["x-request-id"] == "req_1"


def test_orders_are_kept_for_who_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, kept = Desk(Engine(view())), list[Copy]()
    monkeypatch.setattr(desk.recorder, "keep", kept.append)
    json_type = {"content-type": "application/json"}
    desk.ask("POST", f"{BASE}/videos", ORDER, headers=json_type)
    assert kept == []
    desk.recorder.take_over([ContentKey("org_1", 1, b"")])
    made = desk.ask("POST", f"{BASE}/videos", ORDER, headers=json_type)
    refused = desk.ask("POST", f"{BASE}/videos", b"{", headers=json_type)
    form = (
        b'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\na hill\r\n'
        b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nkling-v1\r\n'
        b'--x\r\ncontent-disposition: form-data; name="input_reference"; filename="a.png"\r\n'
        b"content-type: image/png\r\n\r\n" + PNG + b"\r\n--x--\r\n"
    )
    desk.ask(
        "POST",
        f"{BASE}/videos",
        form,
        headers={"content-type": "multipart/form-data; boundary=x"},
    )
    assert [(one.status, bytes(one.answer)) for one in kept[:2]] == [
        (200, made.body),
        (400, refused.body),
    ]
    assert b"a hill" in (kept[2].fields or b"")
    assert kept[2].files == (f"input_reference: a.png, image/png, {len(PNG)} bytes",)
    # what makes no task has no receipt
    desk.ask("GET", f"{BASE}/videos/{IDS[1]}")
    desk.ask("POST", f"{BASE}/videos/{IDS[1]}/cancel")
    desk.ask("POST", f"{BASE}/videos", ORDER, key="org_2", headers=json_type)
    assert len(kept) == 3


def test_bad_creates() -> None:
    desk = Desk(Engine())
    for body, headers, status in (
        (b"{", {}, 400),
        ({"model": "kling-v1"}, {}, 400),
        (ORDER | {"duration": 7}, {}, 400),
        (ORDER | {"seconds": 5, "duration": 10}, {}, 400),
        (ORDER | {"video": IDS[1]}, {}, 400),
        (ORDER, {"content-type": "text/plain"}, 415),
        (b"--x--", {"content-type": "multipart/form-data; boundary=x"}, 400),
        (ORDER, {"idempotency-key": "x" * 256}, 400),
        (ORDER, {"idempotency-key": "a", "x-idempotency-key": "b"}, 400),
    ):
        answer = desk.ask("POST", f"{BASE}/videos", body, headers=headers)
        assert answer.status == status, body
        assert answer.headers["x-should-retry"] == "false"
    assert desk.engine.tasks == {}


def test_both_names_of_the_idempotency_key() -> None:
    desk = Desk(Engine())
    desk.ask("POST", f"{BASE}/videos", ORDER, headers={"x-idempotency-key": "b"})
    desk.ask("POST", f"{BASE}/videos", ORDER)
    assert desk.engine.keys == ["b", ""]


def test_errors_of_new_api_s_paths_have_both_shapes() -> None:
    desk = Desk(Engine())
    answer = desk.ask("POST", f"{BASE}/video/generations", ORDER | {"duration": 7})
    assert answer.json["error"]["code"] == "REQUEST_001"
    assert answer.json["code"] == answer.json["error"]["reason"] == "unsupported_parameter"
    assert (answer.json["data"], answer.json["message"]) == (None, answer.json["error"]["message"])
    plain = desk.ask("POST", f"{BASE}/videos", ORDER | {"duration": 7})
    assert set(plain.json) == {"error"}


def test_remix_edit_and_extension_are_refused_where_the_model_cannot() -> None:
    desk = Desk(Engine(view(state="succeeded")))
    for path, body in (
        (f"/videos/{IDS[1]}/remix", {"prompt": "at night"}),
        ("/videos/edits", {"prompt": "at night", "video": {"id": IDS[1]}}),
        ("/videos/extensions", {"prompt": "on", "video": {"id": IDS[1]}, "seconds": "5"}),
    ):
        answer = desk.ask("POST", BASE + path, body)
        assert (answer.status, answer.json["error"]["reason"]) == (400, "unsupported_operation")
    # The model is the source's; a source of somebody else is not there.
    assert [order.model for order in desk.engine.orders] == ["kling-v1"] * 3
    for path, body in (
        (f"/videos/{IDS[2]}/remix", {"prompt": "at night"}),
        ("/videos/edits", {"prompt": "at night", "video": {"id": IDS[2]}}),
    ):
        assert desk.ask("POST", BASE + path, body).status == 404
    by_url = {"prompt": "on", "video": {"url": "https://x.example/a.mp4"}}
    assert desk.ask("POST", f"{BASE}/videos/edits", by_url).json["error"]["param"] == "model"


# --- read


def test_retrieve_in_all_three_places() -> None:
    desk = Desk(Engine(view(state="running")))
    plain = desk.ask("GET", f"{BASE}/videos/{IDS[1]}")
    assert (plain.status, plain.json["status"], plain.json["state"]) == (
        200,
        "in_progress",
        "running",
    )
    assert "code" not in plain.json
    assert plain.headers["openai-poll-after-ms"] == "15000"
    for path in ("/video/generations", "/video/tasks"):
        wrapped = desk.ask("GET", f"{BASE}{path}/{IDS[1]}")
        assert wrapped.json["data"]["status"] == "IN_PROGRESS"
        simple = desk.ask("GET", f"{BASE}{path}/{IDS[1]}", query=b"format=simple")
        assert simple.json["data"]["status"] == "processing"
        assert desk.ask("GET", f"{BASE}{path}/{IDS[1]}", query=b"format=xml").status == 400


def test_metadata_url_on_request() -> None:
    desk = Desk(Engine(view(state="succeeded")))
    answer = desk.ask("GET", f"{BASE}/videos/{IDS[1]}", headers={"x-compat": "new-api"})
    assert answer.json["metadata"] == {"url": "https://us.example/v"}
    assert desk.ask("GET", f"{BASE}/videos/{IDS[1]}").json["metadata"] == {}
    assert "retry-after" not in answer.headers


ROWS: list[tuple[str, str]] = [
    ("GET", "/videos/ID"),
    ("DELETE", "/videos/ID"),
    ("GET", "/videos/ID/content"),
    ("POST", "/videos/ID/cancel"),
    ("POST", "/videos/ID/remix"),
    ("GET", "/video/generations/ID"),
    ("GET", "/video/tasks/ID"),
]


@pytest.mark.parametrize(("method", "path"), ROWS)
def test_another_organisation_s_task_is_not_there(method: str, path: str) -> None:
    engine = Engine(view(state="succeeded"))
    desk = Desk(engine)
    theirs = BASE + path.replace("ID", IDS[1])
    answer = desk.ask(method, theirs, {"prompt": "p"}, key="org_2")
    never = desk.ask(method, BASE + path.replace("ID", IDS[2]), {"prompt": "p"}, key="org_1")
    assert (answer.status, answer.json["error"]["reason"]) == (404, "video_not_found")
    assert answer.body.replace(IDS[1].encode(), b"") == never.body.replace(IDS[2].encode(), b"")
    assert IDS[1] in engine.tasks
    for strange in ("x", "video_1", "req_" + "0" * 34, IDS[1].upper(), "..", "%2e"):
        answer = desk.ask(method, BASE + path.replace("ID", strange), {"prompt": "p"})
        assert answer.status == 404, strange


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *ROWS,
        ("GET", "/videos"),
        ("POST", "/videos"),
        ("POST", "/video/generations"),
        ("GET", "/videos/models"),
        ("POST", "/videos/edits"),
        ("POST", "/videos/extensions"),
    ],
)
def test_every_row_wants_a_key(method: str, path: str) -> None:
    desk = Desk(Engine(view(state="succeeded")))
    answer = desk.ask(method, BASE + path.replace("ID", IDS[1]), ORDER, key="")
    assert (answer.status, answer.json["error"]["code"]) == (401, "AUTH_001")
    assert IDS[1] in desk.engine.tasks


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/videos", "HEAD,GET,POST"),
        ("DELETE", "/videos", "HEAD,GET,POST"),
        ("GET", "/video/generations", "POST"),
        ("POST", "/videos/models", "HEAD,GET"),
        ("GET", "/videos/edits", "POST"),
        ("POST", "/videos/ID", "HEAD,GET,DELETE"),
        ("GET", "/videos/ID/cancel", "POST"),
        ("POST", "/videos/ID/content", "HEAD,GET"),
        ("DELETE", "/video/tasks/ID", "HEAD,GET"),
    ],
)
def test_methods(method: str, path: str, allow: str) -> None:
    answer = Desk(Engine(view())).ask(method, BASE + path.replace("ID", IDS[1]))
    assert (answer.status, answer.headers["allow"]) == (405, allow)


@pytest.mark.parametrize(
    "path",
    [
        "/videos/",
        "/videos/ID/",
        "/videos/ID/frames",
        "/videos/ID/content/x",
        "/video/tasks/",
        "/video/generations/",
        "/video/generations/ID/x",
        "/video/generationsx",
        "/videos//content",
    ],
)
def test_what_is_not_in_the_table(path: str) -> None:
    answer = Desk(Engine(view())).ask("GET", BASE + path.replace("ID", IDS[1]))
    assert (answer.status, answer.json["error"]["code"]) == (404, "REQUEST_004")


def test_which_paths_are_ours() -> None:
    for path in ("/videos", "/videos/x", "/video/generations", "/video/tasks/x"):
        assert Videos.owns(BASE + path), path
    for path in ("/video", "/videosx", "/models", "/chat/completions", ""):
        assert not Videos.owns(BASE + path), path
    assert not Videos.owns("/videos")


# --- lists


def test_pages() -> None:
    desk = Desk(Engine(*(view(one) for one in IDS[:5])))
    first = desk.ask("GET", f"{BASE}/videos", query=b"limit=2").json
    assert [one["id"] for one in first["data"]] == [IDS[4], IDS[3]]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (IDS[4], IDS[3], True)
    query = f"limit=2&after={IDS[1]}&order=asc".encode()
    assert desk.ask("GET", f"{BASE}/videos", query=query).json["first_id"] == IDS[2]
    desk.ask("GET", f"{BASE}/videos", query=b"status=cancelled&model=kling-v1")
    assert desk.engine.asked[-1] == {
        "after": "",
        "limit": 20,
        "ascending": False,
        "states": ("cancelled",),
        "model": "kling-v1",
    }


@pytest.mark.parametrize(
    "query",
    [
        b"limit=0",
        b"limit=101",
        b"limit=x",
        b"limit=-1",
        b"order=up",
        b"after=x",
        b"status=done",
        b"page=2",
        b"limit=1&limit=2",
        b"limit=%d9%a5",
    ],
)
def test_bad_pages(query: bytes) -> None:
    assert Desk(Engine()).ask("GET", f"{BASE}/videos", query=query).status == 400


def test_models() -> None:
    (row,) = Desk(Engine()).ask("GET", f"{BASE}/videos/models").json["data"]
    assert (row["id"], row["object"], row["seconds"]) == ("kling-v1", "video.model", [5, 10])
    assert (row["seed"], row["camera"], row["audio"]) == (False, True, False)
    assert (row["n_max"], row["operations"], row["pricing"]) == (1, ["generate"], [])
    narrow = Desk(Engine()).ask("GET", f"{BASE}/videos/models", key="org_1_narrow")
    assert narrow.json["data"] == []


# --- content, cancel, delete


def content(desk: Desk, query: bytes = b"", **headers: str) -> Answer:
    return desk.ask("GET", f"{BASE}/videos/{IDS[1]}/content", query=query, headers=headers)


def test_content() -> None:
    desk = Desk(Engine(view(state="succeeded")))
    answer = content(desk, range="bytes=0-2")
    assert (answer.status, answer.body) == (206, b"MP4")
    (sent,) = desk.sent
    assert (sent["key"], sent["range"], sent["head_only"]) == ("k", b"bytes=0-2", False)
    assert b"x-request-id: req_1\r\n" in sent["head"]
    head = desk.ask("HEAD", f"{BASE}/videos/{IDS[1]}/content")
    assert head.status == 206
    assert desk.sent[1]["head_only"] is True
    assert desk.engine.asked == [("video", 0, False)] * 2


def test_content_elsewhere() -> None:
    desk = Desk(Engine(view(state="succeeded")))
    desk.engine.location = "https://us.example/files/k?sig=1"
    answer = content(desk, b"redirect=1")
    assert (answer.status, answer.headers["location"]) == (302, desk.engine.location)
    assert desk.engine.asked == [("video", 0, True)]


@pytest.mark.parametrize("state", [*LIVE, *sorted(TERMINAL - {"succeeded"})])
def test_content_of_what_is_not_done(state: str) -> None:
    desk = Desk(Engine(view(state=state)))
    answer = content(desk)
    error = answer.json["error"]
    assert (answer.status, error["code"]) == (409, "REQUEST_008")
    assert error["reason"] == ("video_not_ready" if state in LIVE else "video_failed")
    assert answer.headers["x-should-retry"] == "false"
    assert ("retry-after" in answer.headers) == (state in LIVE)
    assert desk.engine.asked == []


def test_content_that_is_gone() -> None:
    for desk in (
        Desk(Engine(view(state="succeeded", expires_s=NOW))),
        Desk(Engine(view(state="succeeded"))),
    ):
        desk.engine.kept = False
        answer = content(desk)
        assert (answer.status, answer.json["error"]["reason"]) == (410, "video_expired")


def test_variants() -> None:
    desk = Desk(Engine(view(state="succeeded")))
    for query, status in (
        (b"variant=thumbnail", 404),
        (b"variant=last_frame", 404),
        (b"variant=spritesheet", 404),
        (b"variant=poster", 400),
        (b"index=1", 404),
        (b"index=x", 400),
        (b"index=-1", 400),
        (b"variant=video&index=0", 206),
    ):
        assert content(desk, query).status == status, query
    pictured = OutputView(0, "https://us.example/v", thumbnail_url="https://us.example/t")
    desk = Desk(Engine(view(state="succeeded", outputs=(pictured,))))
    assert content(desk, b"variant=thumbnail").status == 206


def test_cancel_and_delete() -> None:
    desk = Desk(Engine(view(state="running"), view(IDS[2], "succeeded")))
    cancelled = desk.ask("POST", f"{BASE}/videos/{IDS[1]}/cancel")
    assert (cancelled.status, cancelled.json["state"]) == (200, "canceling")
    assert cancelled.json["status"] == "in_progress"
    refused = desk.ask("DELETE", f"{BASE}/videos/{IDS[1]}")
    assert (refused.status, refused.json["error"]["reason"]) == (409, "video_not_terminal")
    assert refused.headers["x-should-retry"] == "false"
    deleted = desk.ask("DELETE", f"{BASE}/videos/{IDS[2]}")
    assert deleted.json == {"id": IDS[2], "object": "video.deleted", "deleted": True}
    assert desk.ask("DELETE", f"{BASE}/videos/{IDS[2]}").status == 404


# --- what goes wrong


def test_a_bug_is_a_500_and_is_reported() -> None:
    desk = Desk(Engine())
    desk.engine.fault = KeyError("oops")
    answer = desk.ask("POST", f"{BASE}/videos", ORDER)
    assert (answer.status, answer.json["error"]["code"]) == (500, "PLATFORM_002")
    assert b"oops" not in answer.body
    assert [type(crash) for crash in desk.crashes] == [KeyError]


def test_a_client_that_left_in_the_middle_is_left_alone() -> None:
    desk = Desk(Engine(view(state="succeeded")))
    desk.gone = True
    assert content(desk).status == 0
    assert desk.crashes == []


def test_errors_of_the_task_are_no_errors_of_the_request() -> None:
    error = TaskError("insufficient_upstream_balance", "account 7 is empty")
    answer = Desk(Engine(view(state="failed", error=error))).ask("GET", f"{BASE}/videos/{IDS[1]}")
    assert (answer.status, answer.json["error"]["code"]) == (200, "upstream_error")
    assert b"account 7" not in answer.body
