"""Paths and methods of the sandbox, and the cache of identical requests.

Both fronts (``server`` and ``inprocess``) ask a Desk and send the Script that it returns.
A new operation is one row of OPERATIONS, its models in ``behaviour.MODELS``, and its module.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from itertools import count

import msgspec

from tokenmarket.sandbox import (
    embeddings,
    moderating,
    pictures,
    ranking,
    speaking,
    text,
    transcribing,
    videos,
)
from tokenmarket.sandbox.behaviour import MODELS, Script, refusal
from tokenmarket.sandbox.bodies import Refused
from tokenmarket.sandbox.calls import Call

Operation = Callable[[bytes, Mapping[str, str], int], Script]
MediaOperation = Callable[[Call], Script]

# All of them are POST. Those of the first table need the body alone and are asked the most.
OPERATIONS: dict[str, Operation] = {
    "/chat/completions": text.chat,
    "/completions": text.completions,
    "/embeddings": embeddings.embeddings,
}
MEDIA: dict[str, MediaOperation] = {
    "/rerank": ranking.rerank,
    "/v2/rerank": ranking.rerank,
    "/moderations": moderating.moderations,
    "/audio/speech": speaking.speech,
    "/audio/transcriptions": transcribing.transcriptions,
    "/audio/translations": transcribing.translations,
    "/images/generations": pictures.generations,
    "/images/edits": pictures.edits,
}
BODY_BYTES_MAX = 32 * 1024 * 1024
TOO_LARGE = refusal(Refused("The request body is too large.", status=413))
MODELS_CREATED_S = 1_767_225_600  # 2026-01-01: a model needs some birthday

_CACHED_REQUEST_MAX = 64 * 1024
_CACHED_ENTRY_MAX = 512 * 1024
_CACHED_TOTAL_MAX = 32 * 1024 * 1024


class Desk:
    """Answers requests. ``now_s`` is the wall clock, used for ``created`` only.

    Successful and failed scripts alike are kept per identical request; ``created`` of a kept answer
    is the second in which it was first rendered. Full, the cache is emptied whole.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        numbers = count((os.getpid() & 0xFFFF) << 16)  # other processes make other ids
        self._videos = videos.Videos(lambda: next(numbers) & 0xFFFFFFFF)
        self._kept: dict[object, Script] = {}
        self._kept_bytes = 0

    def answer(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        content_type: str = "",
        host: str = "",
        byte_range: str = "",
    ) -> Script:
        """``target`` is the path, with or without ``/v1`` and query; ``headers`` as for
        ``behaviour``; the rest are those headers of the request, "" = not sent.
        Never raises for anything a caller can send."""
        if len(body) > BODY_BYTES_MAX:
            return TOO_LARGE
        sent = (content_type, host, byte_range)
        short = len(body) <= _CACHED_REQUEST_MAX  # even to look up a long one costs
        key = (method, target, body if short else b"", sent, *headers.items())
        kept = self._kept.get(key) if short else None
        if kept is not None:
            return kept
        try:
            script = self._answer(method, target, headers, body, sent)
        except Refused as error:
            script = refusal(error)
        except RecursionError:  # a constant of a schema that can be read but not written
            script = refusal(Refused("The request nests too deeply."))
        if script.lasting and short:
            asked = len(body) + len(target) + sum(map(len, sent))
            asked += sum(len(name) + len(headers[name]) for name in headers)
            self._keep(key, asked, script)
        return script

    def _answer(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        sent: tuple[str, str, str],
    ) -> Script:
        path, _, query = target.partition("?")
        path = path.removeprefix("/v1")
        operation = OPERATIONS.get(path)
        media = MEDIA.get(path)
        if (operation or media) and method != "POST":
            return _wrong_method("POST")
        if operation is not None:
            return operation(body, headers, int(self._now_s()))
        if media is not None:
            return media(Call(method, path, query, headers, body, *sent, self._now_s()))
        if path == videos.PATH or path.startswith(videos.PATH + "/"):
            return self._videos.answer(
                Call(method, path, query, headers, body, *sent, self._now_s())
            )
        if path.startswith(pictures.FILES) and method == "GET":
            return pictures.stored(Call(method, path))
        document = _looked_up(path)
        if document is None:
            raise Refused(
                f"Unknown request URL: {method[:20]} {path[:200]}.", status=404, code="unknown_url"
            )
        if method != "GET":
            return _wrong_method("GET")
        shown = msgspec.json.encode(document)
        return Script(200, (shown,), body_bytes=len(shown))

    def _keep(self, key: object, asked_bytes: int, script: Script) -> None:
        if asked_bytes > _CACHED_REQUEST_MAX:
            return
        # An object costs some 50 bytes beside its content, the entry around them a kilobyte.
        size = asked_bytes + 1024 + sum(len(piece) + 50 for piece in script.pieces)
        if size > _CACHED_ENTRY_MAX:
            return
        self._kept_bytes += size
        if self._kept_bytes > _CACHED_TOTAL_MAX:
            self._kept.clear()
            self._kept_bytes = size
        self._kept[key] = script


def heavy(target: str, body_bytes: int) -> bool:
    """Whether an answer may take so long (5 ms and more) that an event loop should not wait for it.

    A Desk may be asked from several threads.
    """
    if target in OPERATIONS:
        return False
    path = target.partition("?")[0].removeprefix("/v1")
    if path.startswith("/images/") or path.endswith(("/speech", "/content")):
        return True
    return body_bytes > _CACHED_REQUEST_MAX and path not in OPERATIONS


def _wrong_method(allowed: str) -> Script:
    script = refusal(Refused("Method not allowed.", status=405, code="method_not_allowed"))
    return msgspec.structs.replace(script, allow=allowed)


def _looked_up(path: str) -> object | None:
    """The documents that only depend on the path."""
    if path == "/models":
        return {"object": "list", "data": [_model(name) for name in MODELS]}
    if path.startswith("/models/"):
        name = path.removeprefix("/models/")
        if name not in MODELS:
            raise Refused(
                f"The model '{name[:200]}' does not exist.",
                status=404,
                param="model",
                code="model_not_found",
            )
        return _model(name)
    if path in ("/", "/healthz"):
        return {"status": "ok", "service": "tokenmarket sandbox"}
    return None


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": MODELS_CREATED_S, "owned_by": "sandbox"}
