"""kill -9 between an event and its delivery: the next process delivers it, under the same id."""

import json
import time
from pathlib import Path

from tests.support.server import Server, until
from tests.support.webhooks import Receiver, new_endpoint, receiving
from tokenmarket.core.video.webhooks import verify


def ids(receiver: Receiver) -> list[str]:
    return [headers["webhook-id"] for headers, _ in receiver.posts]


def test_killed_before_and_while_an_event_is_delivered(tmp_path: Path) -> None:
    with receiving() as receiver:
        server = Server(tmp_path / "data", TOKENMARKET_WEBHOOK_ORIGINS=receiver.origin)
        try:
            org_id = server.get("/key").json["organization"]["id"]
            made = new_endpoint(server.data, org_id, receiver, ("key.created",))
            receiver.answers.clear()
            first = server.run("key", "create", "--org", "demo")["id"]
            until(lambda: len(receiver.posts) == 1, "the first event is under way")
            server.kill()  # it was received, and nobody knows
            second = server.run("key", "create", "--org", "demo")["id"]  # nobody is there to send
            receiver.answers.set()
            server.start()
            until(lambda: len(receiver.posts) >= 3, "both are delivered")
            told = [json.loads(body)["data"]["id"] for _, body in receiver.posts]
            assert told[0] == first
            assert sorted(told[1:]) == sorted([first, second])
            assert len(set(ids(receiver))) == 2
            assert ids(receiver)[0] in ids(receiver)[1:]
            for headers, body in receiver.posts:
                verify([made.secret], headers, body, int(time.time()))
            assert server.stop() == 0
            server.start()
            assert len(receiver.posts) == 3  # what was taken stays taken
        finally:
            server.running.end()


def test_a_redirect_is_an_answer_and_not_followed(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.status = 302
        server = Server(tmp_path / "data", TOKENMARKET_WEBHOOK_ORIGINS=receiver.origin)
        try:
            org_id = server.get("/key").json["organization"]["id"]
            new_endpoint(server.data, org_id, receiver, ("key.created",))
            server.create_key()
            until(lambda: len(receiver.posts) == 2, "the second attempt", 60)
            assert len(set(ids(receiver))) == 1
            assert receiver.paths == ["/hook", "/hook"]
        finally:
            server.running.end()
