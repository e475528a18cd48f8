"""Paths and methods of the sandbox, and the cache of identical requests.

Both fronts (``server`` and ``inprocess``) ask a Desk and send the Script that it returns.
A new operation is one row of OPERATIONS, its models in ``behaviour.MODELS``, and its module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from tokenmarket.sandbox import embeddings, text
from tokenmarket.sandbox.behaviour import MODELS, Script, refusal
from tokenmarket.sandbox.bodies import Refused

Operation = Callable[[bytes, Mapping[str, str], int], Script]

OPERATIONS: dict[str, Operation] = {
    "/chat/completions": text.chat,
    "/completions": text.completions,
    "/embeddings": embeddings.embeddings,
}
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
        self._kept: dict[object, Script] = {}
        self._kept_bytes = 0

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Script:
        """``target`` is the path, with or without ``/v1`` and query; ``headers`` as for
        ``behaviour``. Never raises for anything a caller can send."""
        key = (method, target, body, *headers.items()) if headers else (method, target, body)
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        try:
            script = self._answer(method, target, headers, body)
        except Refused as error:
            script = refusal(error)
        except RecursionError:  # a constant of a schema that can be read but not written
            script = refusal(Refused("The request nests too deeply."))
        asked = len(body) + len(target) + sum(len(name) + len(headers[name]) for name in headers)
        self._keep(key, asked, script)
        return script

    def _answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Script:
        path = target.partition("?")[0].removeprefix("/v1")
        operation = OPERATIONS.get(path)
        if operation is not None:
            if method != "POST":
                return _wrong_method("POST")
            return operation(body, headers, int(self._now_s()))
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
