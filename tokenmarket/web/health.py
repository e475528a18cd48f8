"""``/healthz`` (the process runs), ``/readyz`` (it can admit and settle), ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tokenmarket.telemetry import Telemetry

_encode = msgspec.json.Encoder().encode
_JSON = b"content-type: application/json\r\ncache-control: no-store\r\n"


class Health:
    """``not_ready`` says why requests cannot be admitted, or None."""

    def __init__(self, not_ready: Callable[[], str | None], telemetry: Telemetry) -> None:
        self._not_ready = not_ready
        self._telemetry = telemetry

    def pages(self) -> dict[str, Callable[[], tuple[int, bytes, bytes]]]:
        """Path -> (status, head block, body)."""
        return {"/healthz": self._alive, "/readyz": self._ready, "/metrics": self._metrics}

    def _alive(self) -> tuple[int, bytes, bytes]:
        return 200, _JSON, b'{"status":"ok"}'

    def _ready(self) -> tuple[int, bytes, bytes]:
        reason = self._not_ready()
        if reason is None:
            return 200, _JSON, b'{"status":"ready"}'
        return (
            503,
            _JSON + b"retry-after: 1\r\n",
            _encode({"status": "not_ready", "reason": reason}),
        )

    def _metrics(self) -> tuple[int, bytes, bytes]:
        head = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"
        return 200, head, self._telemetry.render()
