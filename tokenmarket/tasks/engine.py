"""What every step of a task works with: the parts of the process, and a row's route and handle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from tokenmarket.adapters.protocol import Head, UpstreamRequest
from tokenmarket.adapters.video_protocol import Handle, VideoAdapter
from tokenmarket.billing.clock import Clock
from tokenmarket.billing.tasks import pinned_prices
from tokenmarket.billing.wallet import Wallet
from tokenmarket.catalog import CatalogSource
from tokenmarket.core.catalog import Model, Route, Timeouts
from tokenmarket.core.video.abilities import abilities
from tokenmarket.core.video.request import ResolvedVideo, load
from tokenmarket.files.spool import Spools
from tokenmarket.files.store import FileStore, FileWriter
from tokenmarket.store.database import Database
from tokenmarket.store.tasks import TaskRow
from tokenmarket.tasks.documents import read_ref
from tokenmarket.telemetry import Telemetry
from tokenmarket.upstream.credentials import Credential
from tokenmarket.upstream.fetch import Fetcher
from tokenmarket.upstream.outbound import Outbound

ANSWER_BYTES_MAX = 64 * 1024 * 1024  # an answer to a poll may hold the film itself
SECOND_US = 1_000_000
POLL_S_MAX = 30.0  # the longest pause between two polls, unless the provider asks for more
POLL_S_ASKED_MAX = 300.0
FIRST_POLL_S_MIN = 3.0
JITTER_PERCENT = 20


class Shelf(Protocol):
    """Where files lie (``files/shelf.py``)."""

    @property
    def store(self) -> FileStore: ...
    async def open(
        self, org_id: str, content_type: str, ttl_s: int | None = None
    ) -> tuple[str, FileWriter]: ...
    def address(self, key: str, ttl_s: int | None = None) -> tuple[str, int]: ...


class Engine:
    """The parts, and what is counted. ``draw`` gives random non-negative integers."""

    def __init__(
        self,
        *,
        database: Database,
        wallet: Wallet,
        catalog: CatalogSource,
        upstreams: Outbound,
        fetcher: Fetcher,
        adapters: Mapping[str, VideoAdapter],
        shelf: Shelf,
        spools: Spools,
        telemetry: Telemetry,
        clock: Clock,
        draw: Callable[[], int],
        randomness: Callable[[int], bytes],
        video_ttl_s: int,
        notice_url: Callable[[str], str | None],
    ) -> None:
        self.database = database
        self.wallet = wallet
        self.catalog = catalog
        self.upstreams = upstreams
        self.fetcher = fetcher
        self.adapters = adapters
        self.shelf = shelf
        self.spools = spools
        self.telemetry = telemetry
        self.clock = clock
        self.draw = draw
        self.randomness = randomness
        self.video_ttl_s = video_ttl_s
        self.notice_url = notice_url  # where a provider may tell us of a task
        self.worker_id = wallet.worker_id
        self.counts: Counter[str] = Counter()
        self.wake: Callable[[], None] = _nobody  # the poller's, once there is one
        self.wake_notices: Callable[[], None] = _nobody  # the deliverer's (``webhooks/``)

    def now_us(self) -> int:
        return self.clock.wall_us()

    def route_of(self, row: TaskRow) -> Route | None:
        """Where the task runs, also if the route has left the catalog; None if the provider has."""
        catalog = self.catalog.current
        for route in catalog.routes.get(row.model, ()):
            same = (
                route.provider.name == row.provider and route.upstream_model == row.upstream_model
            )
            if same:
                return route
        provider = catalog.providers.get(row.provider)
        if provider is None:
            return None
        model = catalog.models.get(row.model) or Model(row.model, "video", row.model, row.model, "")
        return Route(model, provider, row.upstream_model, pinned_prices(row))

    def capabilities_of(self, row: TaskRow) -> dict[str, object]:
        model = self.catalog.current.models.get(row.model)
        return {} if model is None else model.capabilities

    def expected_s(self, row: TaskRow, video: ResolvedVideo) -> int:
        """How long such a task usually takes: the model's row, else what the adapter thinks."""
        known = abilities(self.capabilities_of(row)).expected_s
        if known:
            return known
        adapter, route = self.adapters.get(row.adapter), self.route_of(row)
        return 60 if adapter is None or route is None else adapter.expected_s(video, route)

    def jittered_us(self, pause_s: float) -> int:
        """The pause, up to a fifth longer: many tasks of one moment spread out."""
        pause_us = int(pause_s * SECOND_US)
        return pause_us + pause_us * (self.draw() % (JITTER_PERCENT + 1)) // 100

    def next_poll_us(self, row: TaskRow, asked_s: float | None = None) -> int:
        """When to ask again: often while a task is young, at most every 30 s, never after its
        deadline. ``asked_s`` is a pause that the provider asks for."""
        now_us = self.now_us()
        adapter = self.adapters.get(row.adapter)
        every_s = 5.0 if adapter is None else adapter.poll_every_s
        age_s = max(0, now_us - row.created_us) / SECOND_US
        pause_s = max(every_s, min(POLL_S_MAX, age_s / 12))
        if asked_s is not None:
            pause_s = max(pause_s, min(asked_s, POLL_S_ASKED_MAX))
        at_us = now_us + self.jittered_us(pause_s)
        if row.deadline_us > now_us:
            at_us = min(at_us, row.deadline_us)
        return at_us

    def first_poll_us(self, row: TaskRow, video: ResolvedVideo) -> int:
        """When the first answer is worth asking for."""
        adapter = self.adapters.get(row.adapter)
        every_s = 5.0 if adapter is None else adapter.poll_every_s
        pause_s = max(min(FIRST_POLL_S_MIN, every_s), self.expected_s(row, video) / 4)
        at_us = self.now_us() + self.jittered_us(min(pause_s, POLL_S_MAX))
        return min(at_us, row.deadline_us)

    def drop(self, what: str, row: TaskRow, **facts: object) -> None:
        """Something about a task that changes nothing; it is told, never hidden."""
        self.counts[what] += 1
        self.telemetry.log.write(
            "warning", what, task=row.id, provider=row.provider, state=row.state, **facts
        )

    async def ask(
        self, route: Route, credential: Credential, call: UpstreamRequest, timeouts: Timeouts
    ) -> tuple[Head, bytes]:
        """One exchange with a provider, whatever its status. Raises UpstreamError."""
        response = await self.upstreams.send(route, credential, call, timeouts)
        try:
            return response.head, await response.read(ANSWER_BYTES_MAX)
        except BaseException:
            response.abort()
            raise


def handle_of(row: TaskRow) -> Handle:
    """The task as its adapter knows it."""
    return Handle(
        row.id,
        load(row.request_json.encode()),
        (row.submitted_us or row.created_us) // SECOND_US,
        row.upstream_id,
        read_ref(row.upstream_ref_json),
        row.state,
    )


def poll_timeouts(timeouts: Timeouts) -> Timeouts:
    """Asking is quick, or it is asked again."""
    return msgspec.structs.replace(
        timeouts, first_byte=min(timeouts.first_byte, 30.0), total=min(timeouts.total, 60.0)
    )


def create_timeouts(timeouts: Timeouts) -> Timeouts:
    """A create answers with an id, not with a film."""
    return msgspec.structs.replace(
        timeouts, first_byte=min(timeouts.first_byte, 120.0), total=min(timeouts.total, 180.0)
    )


def _nobody() -> None:
    return None
