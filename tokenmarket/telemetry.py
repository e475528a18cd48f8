"""What the program tells: one structured log line and the metrics of each finished request.

Both are read off the Exchange at its end. Log lines are JSON on stderr, without bodies and without
secrets; they are gathered and written in batches, because a ``write`` per request would cost more
than the rest of logging. Metric labels come from bounded sets: operations, models and providers of
the catalog, statuses, error codes.
"""

from __future__ import annotations

import re
import traceback
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from tokenmarket.billing.clock import Clock
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import NANO_PER_USD
from tokenmarket.exchange import Exchange

if TYPE_CHECKING:
    from tokenmarket.accounts import Caller

LEVELS = ("debug", "info", "warning", "error")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_BOUNDS_US = tuple(int(second * 1_000_000) for second in SECONDS)
LOG_BYTES_PENDING_MAX = 4 * 1024 * 1024
LABEL_SETS_MAX = 5_000
_SECRETS = re.compile(
    r"(?:tm_(?:live|test|adm|whk)_|sk-|xai-|gsk_|hf_|AIza)[A-Za-z0-9_\-]{6,}"
    r"|(?i:bearer)\s+[A-Za-z0-9._\-]{6,}"
)
_encode = msgspec.json.Encoder().encode


def redact(text: str) -> str:
    """The text without anything that looks like a key."""
    return _SECRETS.sub("***", text)


class Sink(Protocol):
    """Where log bytes go; app.py gives the stderr descriptor."""

    def __call__(self, block: bytes) -> object: ...


class Log:
    """JSON lines, gathered until ``flush`` (called by a loop every 100 ms and at exit)."""

    def __init__(self, sink: Sink, clock: Clock, level: str = "info") -> None:
        self._sink = sink
        self._clock = clock
        self._lines: list[bytes] = []
        self._bytes = 0
        self.dropped = 0
        self._rank = LEVELS.index(level)

    def enabled(self, level: str) -> bool:
        return LEVELS.index(level) >= self._rank

    def write(self, level: str, event: str, **facts: object) -> None:
        """One line; ``facts`` must be JSON-able. Strings are redacted."""
        if not self.enabled(level):
            return
        for name, value in facts.items():
            if isinstance(value, str):
                facts[name] = redact(value)
        self.append(
            _encode({"t": self._clock.wall_us() / 1e6, "level": level, "event": event, **facts})
        )
        if level == "error":
            self.flush()

    def append(self, line: bytes) -> None:
        """An encoded line. A sink that blocks for long loses lines, not memory."""
        if self._bytes > LOG_BYTES_PENDING_MAX:
            self.dropped += 1
            return
        self._lines.append(line)
        self._bytes += len(line)

    def flush(self) -> None:
        if self._lines:
            block = b"\n".join(self._lines) + b"\n"
            self._lines.clear()
            self._bytes = 0
            try:
                self._sink(block)
            except OSError:
                self.dropped += block.count(b"\n")


Labels = tuple[str, str, str, str]  # operation, model, provider, status


class _Series:
    """Counts of one label set."""

    __slots__ = (
        "cost_nano",
        "first",
        "first_sum_us",
        "input",
        "labels_json",
        "latency",
        "output",
        "requests",
        "sum_us",
    )

    def __init__(self, labels: Labels) -> None:
        self.labels_json = _encode(dict(zip(_LABELS, labels, strict=True)))[1:-1]
        self.requests = 0
        self.sum_us = 0
        self.first_sum_us = 0
        self.latency = [0] * (len(SECONDS) + 1)
        self.first = [0] * (len(SECONDS) + 1)
        self.input = 0
        self.output = 0
        self.cost_nano = 0


# What every request's line says; ids are ours, so they need no escaping. ``%b`` at the end of the
# labels is JSON made once per label set, the last one what only some requests have.
_ACCESS = (
    b'{"t":%d.%06d,"level":"info","event":"request","id":"%b",%b,"http":%d,"org":"%b","key":"%b",'
    b'"attempts":%d,"duration_ms":%.3f,"charged_nano":%d,"prompt_tokens":%d,'
    b'"completion_tokens":%d%b}'
)
_LABELS = ("operation", "model", "provider", "status")
_TEXT_ACCESS = (
    b'{"t":%%d.%%06d,"level":"info","event":"request","id":"%%b",%b,"http":200,"org":"%b",'
    b'"key":"%b","attempts":1,"duration_ms":%%.3f,"charged_nano":%%d,"prompt_tokens":%%d,'
    b'"completion_tokens":%%d%%b}'
)


class TextLine:
    """The log line and the counts that plain chats of one key and route share."""

    __slots__ = ("series", "text")

    def __init__(self, series: _Series, org_id: str, key_id: str) -> None:
        self.series = series
        self.text = _TEXT_ACCESS % (
            series.labels_json.replace(b"%", b"%%"),
            org_id.encode("ascii"),
            key_id.encode("ascii"),
        )


@lru_cache(maxsize=4096)
def _user_member(user: str) -> bytes:
    return b"," + _encode({"user": redact(user)})[1:-1]


class Telemetry:
    """Log and metrics of one process."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self.log = log
        self._clock = clock
        self._series: dict[Labels, _Series] = {}
        self._errors: dict[tuple[str, str], int] = {}
        self._usage_missing: dict[tuple[str, str], int] = {}
        self._crashes = 0
        self.gauges: list[Callable[[], Iterable[tuple[str, str, float]]]] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._info = log.enabled("info")

    # --- events ---------------------------------------------------------------------------------

    def finished(self, exchange: Exchange, now_us: int) -> None:
        """The one end of an authenticated request. Nothing of the exchange is kept: what is freed
        at once is cheap to free and its memory is warm for the next request."""
        route = exchange.route
        labels = (
            exchange.operation,
            route.model.id if route is not None else "",
            route.provider.name if route is not None else "",
            exchange.status,
        )
        series = self._series.get(labels) or self._new_series(labels)
        duration_us = now_us - exchange.started_us
        series.requests += 1
        series.sum_us += duration_us
        series.latency[bisect_left(_BOUNDS_US, duration_us)] += 1
        first_us = exchange.first_byte_us
        if first_us is not None:
            series.first_sum_us += first_us
            series.first[bisect_left(_BOUNDS_US, first_us)] += 1
        series.input += exchange.prompt_tokens
        series.output += exchange.completion_tokens
        capture = exchange.captured
        charged_nano = capture.charged_nano if capture is not None else 0
        series.cost_nano += charged_nano
        error = exchange.error
        if error is not None:
            self._count_error(error)
        if self._info:
            self._access_line(exchange, series, duration_us, charged_nano)

    def _new_series(self, labels: Labels) -> _Series:
        if len(self._series) >= LABEL_SETS_MAX:
            labels = (labels[0], "", "", labels[3])
        return self._series.setdefault(labels, _Series(labels))

    def text_line(self, model: str, provider: str, caller: Caller) -> TextLine:
        """For ``finished_text``: what all plain chats of one key and route have in common."""
        labels = ("chat", model, provider, "succeeded")
        series = self._series.get(labels) or self._new_series(labels)
        return TextLine(series, caller.org_id, caller.key_id)

    def finished_text(
        self,
        line: TextLine,
        request_id: bytes,
        ended_us: int,
        duration_us: int,
        charged_nano: int,
        prompt_tokens: int,
        completion_tokens: int,
        user: str,
    ) -> None:
        """``finished`` for a plain chat that succeeded at its first attempt (``lane``)."""
        series = line.series
        series.requests += 1
        series.sum_us += duration_us
        place = bisect_left(_BOUNDS_US, duration_us)
        series.latency[place] += 1
        series.first_sum_us += duration_us  # the answer leaves in one piece
        series.first[place] += 1
        series.input += prompt_tokens
        series.output += completion_tokens
        series.cost_nano += charged_nano
        if self._info:
            self.log.append(
                line.text
                % (
                    ended_us // 1_000_000,
                    ended_us % 1_000_000,
                    request_id,
                    duration_us / 1000,
                    charged_nano,
                    prompt_tokens,
                    completion_tokens,
                    _user_member(user) if user else b"",
                )
            )

    def _access_line(
        self, exchange: Exchange, series: _Series, duration_us: int, charged_nano: int
    ) -> None:
        caller = exchange.caller
        error = exchange.error
        user, metadata = exchange.user, exchange.metadata
        more: dict[str, object] = {}
        if error is not None:
            more = {"code": error.code, "reason": error.reason}
        if user:
            more["user"] = redact(user)
        if metadata:
            more["metadata"] = {redact(key): redact(value) for key, value in metadata.items()}
        ended_us = exchange.inbound.accepted_us + duration_us
        self.log.append(
            _ACCESS
            % (
                ended_us // 1_000_000,
                ended_us % 1_000_000,
                exchange.inbound.request_id.encode("ascii"),
                series.labels_json,
                error.status if error is not None else 200,
                caller.org_id.encode("ascii") if caller is not None else b"",
                caller.key_id.encode("ascii") if caller is not None else b"",
                len(exchange.attempts),
                duration_us / 1000,
                charged_nano,
                exchange.prompt_tokens,
                exchange.completion_tokens,
                b"," + _encode(more)[1:-1] if more else b"",
            )
        )

    def unauthenticated(self, exchange: Exchange, error: ApiError) -> None:
        """A request that no key stands behind: counted, logged, no receipt."""
        self._count_error(error)
        self.log.write(
            "info",
            "unauthenticated",
            id=exchange.request_id,
            operation=exchange.operation,
            address=exchange.inbound.address,
            code=error.code,
            reason=error.reason or "",
        )

    def usage_missing(self, route: Route) -> None:
        """A finished answer without usage, or with nothing in it that the route has a price for:
        the caller pays nothing, the operator should know."""
        key = (route.model.id, route.provider.name)
        self._usage_missing[key] = self._usage_missing.get(key, 0) + 1
        self.log.write("warning", "usage_missing", model=key[0], provider=key[1])

    def crash(self, request_id: str, error: BaseException) -> None:
        """Our bug. The traceback goes to the log without values of locals."""
        self._crashes += 1
        trace = "".join(traceback.format_exception(error))[-4000:]
        self.log.write("error", "crash", id=request_id, error=repr(error)[:300], trace=trace)

    def _count_error(self, error: ApiError) -> None:
        key = (error.code, error.fault)
        self._errors[key] = self._errors.get(key, 0) + 1

    # --- Prometheus ------------------------------------------------------------------------------

    def render(self) -> bytes:
        """The text of ``GET /metrics``."""
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        """prometheus_client's collector protocol: families are made when scraped."""
        names = ("operation", "model", "provider", "status")
        requests = CounterMetricFamily("tokenmarket_requests", "Finished requests.", labels=names)
        latency = HistogramMetricFamily(
            "tokenmarket_request_seconds", "Whole duration.", labels=names
        )
        first = HistogramMetricFamily(
            "tokenmarket_first_byte_seconds", "Until the caller's first byte.", labels=names
        )
        tokens = CounterMetricFamily(
            "tokenmarket_tokens", "Tokens billed or reported.", labels=(*names, "direction")
        )
        cost = CounterMetricFamily("tokenmarket_cost_usd", "Charged, in USD.", labels=names)
        for labels, series in self._series.items():
            requests.add_metric(labels, series.requests)
            latency.add_metric(labels, _buckets(series.latency), series.sum_us / 1e6)
            if any(series.first):
                first.add_metric(labels, _buckets(series.first), series.first_sum_us / 1e6)
            tokens.add_metric((*labels, "input"), series.input)
            tokens.add_metric((*labels, "output"), series.output)
            cost.add_metric(labels, series.cost_nano / NANO_PER_USD)
        yield from (requests, latency, first, tokens, cost)
        errors = CounterMetricFamily(
            "tokenmarket_errors", "Errors sent to callers.", labels=("code", "fault")
        )
        for key, count in self._errors.items():
            errors.add_metric(key, count)
        yield errors
        missing = CounterMetricFamily(
            "tokenmarket_usage_missing",
            "Answers whose upstream reported no usage.",
            labels=("model", "provider"),
        )
        for key, count in self._usage_missing.items():
            missing.add_metric(key, count)
        yield missing
        crashes = CounterMetricFamily("tokenmarket_crashes", "Internal errors.")
        crashes.add_metric((), self._crashes)
        yield crashes
        for source in self.gauges:
            for name, help_text, value in source():
                gauge = GaugeMetricFamily(f"tokenmarket_{name}", help_text)
                gauge.add_metric((), value)
                yield gauge


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus wants them."""
    total = 0
    rows: list[tuple[str, float]] = []
    for bound, count in zip((*SECONDS, "+Inf"), counts, strict=True):
        total += count
        rows.append((str(bound), total))
    return rows
