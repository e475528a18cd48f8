"""A management API without a server: real database, real keys, a clock and a client to look at."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import insert, update

from tests.unit.accounts.clock import HandClock
from tokenmarket.accounts import admin, manage_keys
from tokenmarket.accounts.sessions import Sessions
from tokenmarket.backoffice.reconcile import Proofs
from tokenmarket.billing.funds import Balance
from tokenmarket.catalog import CatalogSource, load_shipped
from tokenmarket.config import Environment
from tokenmarket.contents.service import Contents
from tokenmarket.core import ids, sealing
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.routing import AVAILABLE, RouteState
from tokenmarket.core.wire import Inbound
from tokenmarket.files.contents import ContentFiles
from tokenmarket.mail import Mail
from tokenmarket.payments.alerts import Alerts
from tokenmarket.payments.redeem import Codes
from tokenmarket.payments.service import Payments
from tokenmarket.payments.terms import Terms
from tokenmarket.payments.test_gateway import TestGateway
from tokenmarket.replies import ErrorBodies, error_lines, language_of
from tokenmarket.reports.requests import Requests
from tokenmarket.reports.routes import RouteFigures
from tokenmarket.store.accounts import OrgRow
from tokenmarket.store.database import Database
from tokenmarket.store.people_tables import membership, person
from tokenmarket.upstream.outbound import KeyState
from tokenmarket.web.error_texts import chinese
from tokenmarket.web.manage.endpoint import PREFIX, Endpoint
from tokenmarket.web.manage.frame import Manage
from tokenmarket.web.manage.table import ENDPOINTS

ROOT = sealing.Root(b"r" * 32)
PEPPER = ROOT.derive(sealing.PEPPER)
NOW_US = HandClock().wall_us()


METRICS = ("holds", "held_nano", "uncollected_nano", "unposted", "set_aside", "quarantined")


class Caller:
    """The client's connection."""

    cancellable = False
    gone = False
    begun = False

    def __init__(self) -> None:
        self.answer: tuple[int, bytes, bytes] | None = None

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        assert self.answer is None
        self.answer = (status, head, body)


@dataclass
class Answer:
    status: int
    head: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["error"]["code"]


class NoWallet:
    """Nothing runs, so nothing is held."""

    async def flush(self) -> None:
        pass

    def ready(self) -> str | None:
        return None

    def metrics(self) -> dict[str, int]:
        return dict.fromkeys(METRICS, 0)

    async def balance(self, _org_id: str) -> Balance:
        return Balance(0, 0, 0)


@dataclass
class Upstreams:
    """Providers of which ``cooling`` rest; ``ended`` is what was reset."""

    cooling: set[str] = field(default_factory=set)
    ended: list[tuple[str, str | None]] = field(default_factory=list)
    client: Any = None  # nothing is called

    def state(self, route: Route) -> RouteState:
        if route.provider.name not in self.cooling:
            return AVAILABLE
        return RouteState(available=False, kind="cooling", reason="a test", retry_after_s=3.0)

    def reset(self, provider: str, upstream_model: str | None = None) -> None:
        self.cooling.discard(provider)
        self.ended.append((provider, upstream_model))

    def in_flight(self, _provider: str) -> int:
        return 0

    def keys(self, _provider: str) -> list[KeyState]:
        return []


@dataclass
class Desk:
    """``ask`` is one request with a key."""

    database: Database
    endpoints: list[Endpoint] = field(default_factory=lambda: list(ENDPOINTS))
    clock: HandClock = field(default_factory=HandClock)
    crashes: list[Exception] = field(default_factory=list)
    woken: int = 0  # how often the deliverer of webhooks was
    outbound: Upstreams = field(default_factory=lambda: Upstreams())

    def __post_init__(self) -> None:
        wallet: Any = NoWallet()
        requests = Requests(self.database, wallet, list, lambda _: None, self.clock)
        self.parts: Any = SimpleNamespace(
            database=self.database,
            wallet=wallet,
            catalog=CatalogSource(load_shipped()),
            outbound=self.outbound,
            measurements=SimpleNamespace(targets=self._targets),
            sessions=Sessions(self.database, self.clock, b"s" * 32),
            proofs=Proofs(self.database, wallet, Path(self.database.path).parent, self.clock),
            reports=SimpleNamespace(requests=requests),
            clock=self.clock,
            root=ROOT,
            telemetry=SimpleNamespace(crash=lambda _, error: self.crashes.append(error)),
            config=SimpleNamespace(
                webhook_origins=(),
                strict_texts=True,
                data_dir=Path("."),
                environment=Environment({}),
            ),
            webhooks=SimpleNamespace(deliverer=SimpleNamespace(wake=self._wake)),
            payments=self._payments(),
            contents=self._contents(),
            base_url=lambda: "https://gateway.example",
        )
        self.manage = Manage(self.parts, self.endpoints, refusal, lambda: b"{}")

    def _payments(self) -> Payments:
        """With the test provider, and without a mail server."""
        return Payments(
            self.database,
            [TestGateway(b"t" * 32)],
            ["test"],
            Terms(5_000_000_000, 1_000_000_000_000, 14),
            self.clock,
            lambda _, error: self.crashes.append(error),
            alerts=Alerts(self.database, Mail(None, ""), self.clock),
            codes=Codes(self.database, b"c" * 32, self.clock),
        )

    def _contents(self) -> Contents:
        """Beside the database."""
        return Contents(
            self.database,
            ContentFiles(Path(self.database.path).parent / "contents"),
            ROOT.derive(sealing.CONTENTS),
            self.clock,
            days_max=90,
            failed=lambda _, error: self.crashes.append(error),
        )

    async def _targets(self, _now_us: int) -> dict[tuple[str, str], RouteFigures]:
        return {}

    def _wake(self) -> None:
        self.woken += 1

    async def ask(
        self,
        key: str | None,
        method: str,
        path: str,
        body: Any = None,
        *,
        address: str = "203.0.113.9",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        raw = data if isinstance(data, bytes) else data.encode()
        sent = {name.lower().encode(): value.encode() for name, value in (headers or {}).items()}
        if key is not None:
            sent[b"authorization"] = f"Bearer {key}".encode()
        path, _, query = path.partition("?")
        inbound = Inbound(
            "req_1", method, PREFIX + path, query.encode(), sent, raw, address, NOW_US, 0
        )
        caller: Any = Caller()
        await self.manage.handle(inbound, caller)
        assert caller.answer is not None
        status, head, answer = caller.answer
        return Answer(status, head.decode(), answer)

    async def org(self, name: str) -> OrgRow:
        async with self.database.begin() as conn:
            return await admin.create_org(conn, name, now_us=self.clock.wall_us(), actor="test")

    async def key(
        self,
        org_id: str,
        role: str,
        *,
        maker: str = "cli:0",
        giver: str = "owner",
        expires_at_s: int | None = None,
    ) -> manage_keys.NewManageKey:
        async with self.database.begin() as conn:
            return await manage_keys.create(
                conn,
                org_id=org_id,
                role=role,
                name="a key",
                expires_at_s=expires_at_s,
                pepper=PEPPER,
                giver=giver if org_id else "operator",
                maker=maker,
                actor=maker,
                now_us=self.clock.wall_us(),
            )

    async def person(self, org_id: str, role: str | None, *, operator: bool = False) -> str:
        """The id of somebody with this role there."""
        user_id = ids.new_id("usr", self.clock.wall_us(), os.urandom(ids.RANDOM_BYTES))
        async with self.database.begin() as conn:
            await conn.execute(
                insert(person).values(
                    id=user_id,
                    email=f"{user_id}@example.org",
                    name="Somebody",
                    password_hash="",
                    operator=int(operator),
                    language="en",
                    theme="auto",
                    currency="USD",
                    time_zone="UTC",
                    created_us=0,
                )
            )
            if role is not None:
                await conn.execute(
                    insert(membership).values(
                        org_id=org_id, user_id=user_id, role=role, created_us=0
                    )
                )
        return user_id

    async def change(self, table: Any, where: Any, **values: Any) -> None:
        async with self.database.begin() as conn:
            await conn.execute(update(table).where(where).values(**values))


def refusal(inbound: Inbound, error: ApiError, ms: int) -> tuple[bytes, bytes]:
    language = language_of(inbound)
    bodies = ErrorBodies("https://docs.test", chinese)
    return error_lines(error, language), bodies.body(error, inbound.request_id, language)
