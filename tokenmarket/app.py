"""The composition root: makes the parts, wires them, runs them, takes them down in order.

Start: database, journal adoption, catalog, credentials, socket; then the first request is served.
Stop (SIGTERM, SIGINT): no new connections, running requests finish within ``drain_s``, everything
is posted, leases go back. A second signal ends at once; the next start adopts what was left.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tokenmarket.accounts import Accounts, admin
from tokenmarket.accounts.sessions import Sessions
from tokenmarket.adapters.registry import ADAPTERS, VIDEO
from tokenmarket.admission import Admission
from tokenmarket.backoffice import prices
from tokenmarket.backoffice.announcements import Board
from tokenmarket.backoffice.reconcile import Proofs
from tokenmarket.billing.clock import SystemClock
from tokenmarket.billing.wallet import Wallet
from tokenmarket.catalog import CatalogSource, load_shipped, needs_credential
from tokenmarket.config import Config
from tokenmarket.contents import service as contents
from tokenmarket.core import sealing
from tokenmarket.core.catalog import Provider
from tokenmarket.core.file_urls import FileUrls
from tokenmarket.core.ids import RequestIds
from tokenmarket.core.notice_urls import NoticeUrls
from tokenmarket.exchange import Exchange
from tokenmarket.files.shelf import Shelf, open_store
from tokenmarket.files.spool import Spools
from tokenmarket.gateway import Gateway
from tokenmarket.idempotency import Idempotency
from tokenmarket.lane import Lane
from tokenmarket.lane.frames import Frames
from tokenmarket.limits import Limits
from tokenmarket.mail import Mail
from tokenmarket.media import MediaRooms
from tokenmarket.payments import service as payments
from tokenmarket.replies import ErrorBodies
from tokenmarket.reports.service import Reports
from tokenmarket.sandbox.inprocess import SandboxTransport
from tokenmarket.store import catalog_rows, credentials, money, org_groups
from tokenmarket.store.database import Database
from tokenmarket.store.usage_between import usage_between
from tokenmarket.tasks.engine import Engine
from tokenmarket.tasks.service import VideoTasks
from tokenmarket.telemetry import Log, Telemetry
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.credentials import Secret
from tokenmarket.upstream.fetch import Fetcher
from tokenmarket.upstream.health import Health as RouteHealth
from tokenmarket.upstream.outbound import Outbound
from tokenmarket.web.address import client_address
from tokenmarket.web.api import CHAT_PATH, Api
from tokenmarket.web.error_texts import chinese
from tokenmarket.web.files import Files
from tokenmarket.web.front import Front, FrontLimits
from tokenmarket.web.health import Health
from tokenmarket.web.manage.door import ManageDoor
from tokenmarket.web.notices import Notices
from tokenmarket.web.payment_hooks import PaymentHooks
from tokenmarket.web.reads import Reads
from tokenmarket.web.receiving import Forms
from tokenmarket.web.site.doors import Doors
from tokenmarket.web.site.parts import Parts
from tokenmarket.web.videos import Videos, VideosContext
from tokenmarket.webhooks.off_letters import OffLetters
from tokenmarket.webhooks.service import Webhooks

if TYPE_CHECKING:
    from tokenmarket.accounts.identity import Identity

# Defaults for owners without limits of their own: far above one process, so that the rate-limit
# headers always carry real numbers.
RPM_DEFAULT = 1_000_000
TPM_DEFAULT = 10_000_000_000
REFRESH_S = 1.0
LOG_FLUSH_S = 0.1
VIDEO_TTL_S = 7 * 86_400  # so long a finished video can be had


class Server:
    """All parts of one running process. ``open`` builds them, ``close`` takes them down."""

    def __init__(self, config: Config, log: Log, clock: SystemClock) -> None:
        self.config = config
        self.clock = clock
        self.log = log
        self.telemetry = Telemetry(log, clock)
        self.catalog = CatalogSource(load_shipped())
        self.spools = Spools(config.data_dir / "spool", bytes_max=config.upload_bytes_max)
        bucket = None
        if config.files_url is not None:
            bucket = config.environment.bucket(config.files_url)
        self.shelf = Shelf(
            open_store(config.data_dir / "files", bucket),
            FileUrls(config.root.derive(sealing.FILE_URLS), config.public_base_url),
            ttl_s=config.files_ttl_s,
            now_s=_seconds(clock.wall_us),
            randomness=os.urandom,
        )
        self.database: Database
        self.wallet: Wallet
        self.accounts: Accounts
        self.sessions: Sessions
        self.mail = Mail(config.smtp_url, config.mail_from)
        self.api: Api
        self.front: Front
        self.videos: VideoTasks
        self.webhooks: Webhooks
        self.outbound: Outbound
        self.reports: Reports
        self.proofs: Proofs
        self.payments: payments.Payments
        self.contents: contents.Contents
        self._admission: Admission
        self._client: UpstreamClient
        self._fetcher: Fetcher
        self._route_health: RouteHealth
        self._tasks: list[asyncio.Task[None]] = []
        self._sockets: asyncio.Server | None = None
        self._identity: Identity | None = None

    async def open(self) -> None:
        """Everything but the listening socket. Raises StoreError, AlreadyRunning, OSError."""
        config, clock = self.config, self.clock
        self.database = await Database.open(config.database_url, workers=config.workers)
        await self.database.create_schema()
        await admin.claim_root(self.database, config.root)
        self.wallet = await Wallet.open(
            self.database,
            config.data_dir / "journal",
            clock=clock,
            worker_id=os.urandom(8).hex(),
            journal_sync=config.journal_sync,
        )
        self.accounts = Accounts(self.database, config.root.derive(sealing.PEPPER), clock)
        self.proofs = Proofs(self.database, self.wallet, config.data_dir / "journal", clock)
        self.sessions = Sessions(self.database, clock, config.root.derive(sealing.SESSIONS))
        self._client = UpstreamClient(proxies=config.proxies)
        self._fetcher = Fetcher(self._client, proxies=config.proxies)
        monotonic_s = _seconds(clock.monotonic_us)
        self._route_health = RouteHealth(monotonic_s)
        self.outbound = Outbound(
            self._client, self._route_health, monotonic_s, local=SandboxTransport()
        )
        self.contents = contents.opened(config, self.database, clock, self._not_written)
        await self._publish_prices()
        await self._refresh()
        self._wire()

    def _wire(self) -> None:
        config, clock = self.config, self.clock
        self._admission = Admission(
            Limits(rpm_default=RPM_DEFAULT, tpm_default=TPM_DEFAULT), self.wallet, clock
        )
        errors = ErrorBodies(config.docs_base_url, chinese)
        gateway = Gateway(
            accounts=self.accounts,
            admission=self._admission,
            catalog=self.catalog,
            wallet=self.wallet,
            idempotency=Idempotency(self.wallet.stored_answer),
            upstreams=self.outbound,
            adapters=ADAPTERS,
            media=MediaRooms(self._fetcher, self.shelf),
            contents=self.contents.recorder,
            telemetry=self.telemetry,
            clock=clock,
            draw=lambda: random.getrandbits(62),
            errors=errors,
        )
        new_id = RequestIds(os.urandom).next
        lane = Lane(
            Frames(self.accounts, self.catalog, self.outbound, ADAPTERS, self.telemetry, CHAT_PATH),
            self._admission,
            self.wallet,
            self.outbound,
            self.telemetry,
            clock,
            gateway.go_on,
            new_id,
        )

        def running(request_id: str) -> Exchange | None:
            return gateway.running.get(request_id) or lane.running(request_id)

        self.reports = Reports(
            self.database,
            self.wallet,
            self._route_health,
            clock,
            running=gateway.running.values,
            running_one=running,
            failed=self._not_written,
        )
        reads = Reads(
            catalog=self.catalog,
            wallet=self.wallet,
            running=running,
            route_state=self.outbound.state,
            posted_receipt=self._posted_receipt,
            usage_rows=self._usage_rows,
            clock=clock,
        )
        health = Health(self._not_ready, self.telemetry)
        self.api = Api(gateway, reads, health, self.accounts, self.telemetry, clock, errors)
        self.api.files = files = Files(
            self.shelf.store, self.shelf.urls, self.api.refusal_to, _seconds(clock.wall_us)
        )
        self._wire_videos(gateway, files)
        self.payments = payments.opened(config, self.database, clock, self.mail, self._not_written)
        self.api.payments = PaymentHooks(self.payments, self.api.refusal_to, self.telemetry.crash)
        if config.role == "all":
            self.api.doors = Doors(self._parts, strict_texts=config.strict_texts)
            self.api.manage = ManageDoor(self._parts, self.api.refusal_to)
        self.telemetry.gauges.append(self._gauges)
        self.front = Front(
            self.api.handle,
            self.api.refusal,
            new_id,
            limits=FrontLimits(
                body_bytes_max=config.json_body_bytes_max,
                multipart_bytes_max=config.multipart_body_bytes_max,
            ),
            address=client_address(config.trusted_proxies),
            forms=Forms(self.spools, self.api.admit),
        )
        self.front.lane = lane

    def _wire_videos(self, gateway: Gateway, files: Files) -> None:
        config = self.config
        secret = config.root.derive(sealing.NOTICE_URLS)
        notice_urls = NoticeUrls(secret, config.public_base_url)
        engine = Engine(
            database=self.database,
            wallet=self.wallet,
            catalog=self.catalog,
            upstreams=self.outbound,
            fetcher=self._fetcher,
            adapters=VIDEO,
            shelf=self.shelf,
            spools=self.spools,
            telemetry=self.telemetry,
            clock=self.clock,
            draw=lambda: random.getrandbits(30),
            randomness=os.urandom,
            video_ttl_s=VIDEO_TTL_S,
            notice_url=notice_urls.url,
        )
        self.videos = VideoTasks(engine, self._admission, gateway.settlement)
        self.webhooks = Webhooks(
            self.database,
            self._fetcher,
            self.clock,
            self.log,
            self.wallet.worker_id,
            config.root.derive(sealing.KEY_ENCRYPTION),
            config.webhook_origins,
            OffLetters(self.database, self.mail, lambda: self.shelf.urls.base_url).tell,
        )
        engine.wake_notices = self.webhooks.deliverer.wake
        api = self.api
        api.videos = Videos(
            VideosContext(
                service=self.videos,
                catalog=self.catalog,
                authenticate=api.authenticate,
                refusal=api.refusal_to,
                message=api.message_to,
                limits=api.limits_head,
                crash=self.telemetry.crash,
                send=files.send,
                clock=self.clock,
                contents=self.contents.recorder,
            )
        )
        api.notices = Notices(notice_urls, self.videos.hint, api.refusal_to)
        self.telemetry.gauges += [
            self.videos.gauges,
            self.webhooks.deliverer.gauges,
            self.contents.recorder.gauges,
        ]

    def _parts(self) -> Parts:
        """What pages may reach; asked for with the first page."""
        config = self.config
        # by name and late: passwords and codes are of no use to a gateway without visitors
        module = importlib.import_module("tokenmarket.accounts.identity")
        identity: Identity = module.Identity(
            self.database,
            self.clock,
            config.root,
            self.mail,
            sign_up=config.sign_up,
            base_url=lambda: self.shelf.urls.base_url,
            sessions=self.sessions,
        )
        self._identity = identity
        return Parts(
            config=config,
            database=self.database,
            wallet=self.wallet,
            accounts=self.accounts,
            catalog=self.catalog,
            outbound=self.outbound,
            telemetry=self.telemetry,
            clock=self.clock,
            root=config.root,
            api=self.api,
            sessions=self.sessions,
            identity=identity,
            mail=self.mail,
            measurements=self.reports.routes,
            proofs=self.proofs,
            board=Board(self.database),
            payments=self.payments,
            webhooks=self.webhooks,
            contents=self.contents,
            reports=self.reports,
            base_url=lambda: self.shelf.urls.base_url,
        )

    async def listen(self) -> int:
        """Begin to serve; returns the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._sockets = await loop.create_server(
            self.front.protocol, self.config.host, self.config.port, backlog=2048
        )
        self.front.start()
        await self.videos.start()
        await self.webhooks.start()
        self.reports.start()
        self.payments.start()
        self.contents.start()
        self._tasks = [
            loop.create_task(self._flush_log()),
            loop.create_task(self._refresh_forever()),
            loop.create_task(self.shelf.sweep_forever(self.log.write)),
        ]
        port: int = self._sockets.sockets[0].getsockname()[1]
        docs_url = self.config.docs_base_url
        if docs_url.endswith(":0"):  # any free port was asked for: tell the one that was found
            self.api.move_docs(f"{docs_url.removesuffix(':0')}:{port}")
        urls = self.shelf.urls
        if urls.base_url.endswith(":0"):
            urls.base_url = f"{urls.base_url.removesuffix(':0')}:{port}"
        return port

    async def close(self) -> None:
        """Drain, settle, post, return leases."""
        drain_s = self.config.drain_s
        if self._sockets is not None:
            self._sockets.close()
            cut, _ = await asyncio.gather(self.front.drain(drain_s), self.videos.stop(drain_s))
            self.log.write("info", "drained", cut=cut)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.reports.stop()
        await self.proofs.stop()
        await self.payments.stop()
        await self.contents.stop()
        await self.webhooks.stop()
        if self.api.doors is not None:
            self.api.doors.close()
        if self._identity is not None:
            self._identity.passwords.close()
        await self.mail.close()
        await self._fetcher.close()
        await self._client.close()
        await self.shelf.store.close()
        await self.wallet.close()
        await self.database.close()

    # --- what runs beside the requests ----------------------------------------------------------

    async def _flush_log(self) -> None:
        while True:
            await asyncio.sleep(LOG_FLUSH_S)
            self.log.flush()

    async def _refresh_forever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await self._publish_prices()
                await self._refresh()
            except Exception as error:
                self.log.write("error", "refresh", error=repr(error)[:300])

    async def _publish_prices(self) -> None:
        now_us = self.clock.wall_us()
        shipped = self.catalog.shipped
        for change in await prices.publish_due(self.database, shipped, now_us=now_us):
            level = "error" if change.state == "failed" else "info"
            self.log.write(
                level,
                "price_change",
                id=change.id,
                model=change.model,
                provider=change.provider,
                state=change.state,
                problem=change.problem,
            )

    def _not_written(self, what: str, error: Exception) -> None:
        self.log.write("error", what, error=repr(error)[:300])

    async def _refresh(self) -> None:
        """Take over what the command line or console changed; one small read if nothing did."""
        if not await self.accounts.refresh():
            return
        await self.contents.refresh()
        async with self.database.read() as conn:
            overlay = await catalog_rows.overlay(conn)
            stored = await credentials.open_all(
                conn, self.config.root.derive(sealing.KEY_ENCRYPTION)
            )
            groups = await org_groups.listed(conn)
        self.catalog.replace(overlay, [row.group() for row in groups])
        for fault in self.catalog.faults:
            self.log.write("warning", "catalog", problem=str(fault))
        catalog = self.catalog.current

        def secrets(provider: Provider) -> Iterable[tuple[str, Secret]]:
            if provider.api_key_env is not None:
                text = self.config.environment.provider_key(provider.api_key_env)
                if text is not None:
                    yield f"env:{provider.api_key_env}", Secret(text)
            for row in stored:
                if row.provider == provider.name and row.base_url == provider.base_url:
                    yield row.id, Secret(row.secret)

        self.outbound.update(catalog.providers, secrets)
        self.catalog.set_credentialed(
            frozenset(
                name
                for name, provider in catalog.providers.items()
                if not needs_credential(provider) or any(True for _ in secrets(provider))
            )
        )
        await self.wallet.remember_prices(self.catalog.sheets().values())
        await self.wallet.reload()
        for caller in self.accounts.callers():
            caller.limiter = None  # made again with the new limits; debts are kept by owner
            self._admission.limits_of(caller)

    # --- questions of the parts -----------------------------------------------------------------

    def _not_ready(self) -> str | None:
        if self.front.draining:
            return "shutting down"
        return self.wallet.ready()

    async def _posted_receipt(self, org_id: str, request_id: str) -> bytes | None:
        return await money.receipt_json(self.database, org_id, request_id)

    async def _usage_rows(
        self, org_id: str, from_us: int, to_us: int, group_by: list[str]
    ) -> Sequence[Mapping[str, object]]:
        await self.wallet.flush()
        return await usage_between(self.database, org_id, from_us, to_us, group_by)

    def _gauges(self) -> Iterable[tuple[str, str, float]]:
        for name, value in self.wallet.metrics().items():
            yield f"billing_{name}", "Wallet and journal; money in nano-USD, times in us.", value
        yield "connections", "Open client connections.", len(self.front.connections)
        yield "requests_running", "Requests being served.", self.front.running
        yield "upload_bytes", "Bytes of uploads being received or used.", self.spools.used_bytes
        yield "log_lines_dropped", "Log lines lost to a slow sink.", self.log.dropped
        routes = [
            self.outbound.state(route)
            for model in self.catalog.current.routes.values()
            for route in model
        ]
        cooling = sum(state.kind == "cooling" for state in routes)
        yield "routes_cooling", "Routes whose breaker is open or whose keys rest.", cooling


def _seconds(clock_us: Callable[[], int]) -> Callable[[], float]:
    return lambda: clock_us() / 1_000_000
