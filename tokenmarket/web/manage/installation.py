"""Management endpoints of the operator about the installation: health, proofs of the books, what
providers cost, settings that hold at once, and whether the audit log is whole."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from tokenmarket import __version__
from tokenmarket.backoffice import facts
from tokenmarket.backoffice.health import read_health
from tokenmarket.backoffice.reconcile import find_run, midnight_us, provider_balances
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.wording import say
from tokenmarket.store import accounts as rows
from tokenmarket.store import recon_rows
from tokenmarket.web.manage.endpoint import OPERATOR, Call, Endpoint, Listing, Nothing, page
from tokenmarket.web.manage.routes import CoolDown

_TAG = "installation"
_UTC = ZoneInfo("UTC")
_Short = Annotated[str, msgspec.Meta(max_length=254)]
_DAYS = ("1", "7", "30")


class KeyAlert(msgspec.Struct, kw_only=True):
    """A key of a provider that a person must look at."""

    provider: str
    alert: str


class InstallationHealth(msgspec.Struct, kw_only=True):
    """This server now. ``not_ready``: why no request is taken, or null. ``requests``, ``failed``
    and ``charged`` are of all organizations since midnight in UTC; amounts in USD."""

    object: Literal["health"] = "health"
    version: str
    not_ready: str | None
    requests: int
    failed: int
    charged: str
    holds: int
    held: str
    uncollected: str
    unposted: int
    set_aside: int
    quarantined: int
    disk_free_bytes: int
    disk_total_bytes: int
    cool_downs: list[CoolDown]
    key_alerts: list[KeyAlert]
    last_proof: str | None


class ProofDifference(msgspec.Struct, kw_only=True):
    """One thing that is not as the rule says."""

    rule: str
    subject: str
    expected: str
    actual: str


class Proof(msgspec.Struct, kw_only=True):
    """A proof of the books that has ended. ``found`` is null in lists."""

    object: Literal["proof"] = "proof"
    id: str
    started_at: int
    finished_at: int
    differences: int
    found: list[ProofDifference] | None = None


class ProofState(msgspec.Struct, kw_only=True):
    """Whether a proof runs now; ``problem``: why the last one could not be made."""

    object: Literal["proof_state"] = "proof_state"
    running: bool
    problem: str | None


class ProviderCost(msgspec.Struct, kw_only=True):
    """What was charged for one provider's answers and what they cost, in USD. The cost is of the
    requests whose route has cost rows, which were charged ``covered``; of ``uncosted`` requests
    nothing is known."""

    object: Literal["provider_cost"] = "provider_cost"
    provider: str
    requests: int
    charged: str
    covered: str
    cost: str
    uncosted: int


class InstallationSettings(msgspec.Struct, kw_only=True):
    """Settings that hold at once. Null: nothing is shown in CNY, sign-up is as configured, new
    organizations are in no group, no help is named."""

    object: Literal["settings"] = "settings"
    cny_per_usd: str | None
    rate_day: str | None
    sign_up: str | None
    group_of_new: str | None
    support: str | None


class SettingChanges(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall be different; what is left out stays, null takes back. A rate needs its day, as in
    2026-11-24; ``support`` is an e-mail address or one that begins with https://."""

    cny_per_usd: _Short | msgspec.UnsetType | None = msgspec.UNSET
    rate_day: _Short = ""
    sign_up: Literal["open", "invite", "closed"] | msgspec.UnsetType | None = msgspec.UNSET
    group_of_new: _Short | msgspec.UnsetType | None = msgspec.UNSET
    support: _Short | msgspec.UnsetType | None = msgspec.UNSET


class AuditCheck(msgspec.Struct, kw_only=True):
    """``broken_at``: the first line whose hash does not follow from the one before; null: none."""

    object: Literal["audit_check"] = "audit_check"
    whole: bool
    broken_at: int | None


async def health(call: Call) -> InstallationHealth:
    parts = call.parts
    found = await read_health(
        parts.database,
        parts.wallet,
        parts.catalog.current,
        parts.outbound,
        parts.config.data_dir,
        zone=_UTC,
        now_us=call.now_us,
    )
    metrics = found.metrics
    return InstallationHealth(
        version=__version__,
        not_ready=found.not_ready,
        requests=found.sums.requests,
        failed=found.sums.failed,
        charged=usd_from_nano(found.sums.charge_nano),
        holds=metrics["holds"],
        held=usd_from_nano(metrics["held_nano"]),
        uncollected=usd_from_nano(metrics["uncollected_nano"]),
        unposted=metrics["unposted"],
        set_aside=metrics["set_aside"],
        quarantined=metrics["quarantined"],
        disk_free_bytes=found.disk_free_b,
        disk_total_bytes=found.disk_total_b,
        cool_downs=[
            CoolDown(
                model=route.model.id,
                provider=route.provider.name,
                reason=state.reason,
                retry_after_s=state.retry_after_s,
            )
            for route, state in found.cooling
        ],
        key_alerts=[KeyAlert(provider=name, alert=alert) for name, alert in found.alerts],
        last_proof=None if found.last_proof is None else found.last_proof.id,
    )


async def list_proofs(call: Call) -> Listing[Proof]:
    place = call.cursor
    if place and not (place.isascii() and place.isdecimal() and len(place) <= 18):
        raise ApiError("REQUEST_001", "This is no cursor of ours.", param="cursor")
    async with call.parts.database.read() as conn:
        found = await recon_rows.runs(conn, call.limit + 1, before_us=int(place) if place else None)
    shown = page(found, call.limit, lambda run: str(run.started_us))
    return Listing(data=[_proof(run) for run in shown.data], next_cursor=shown.next_cursor)


async def begin_proof(call: Call) -> ProofState:
    await call.parts.proofs.begin(call.actor)
    return await proof_state(call)


async def proof_state(call: Call) -> ProofState:
    proofs = call.parts.proofs
    return ProofState(running=proofs.running, problem=proofs.problem)


async def show_proof(call: Call) -> Proof:
    async with call.parts.database.read() as conn:
        run = await find_run(conn, call.params["id"])
        found = await recon_rows.differences(conn, run.id)
    differences = [
        ProofDifference(
            rule=one.rule, subject=one.subject, expected=one.expected, actual=one.actual
        )
        for one in found
    ]
    return msgspec.structs.replace(_proof(run), found=differences)


async def list_costs(call: Call) -> Listing[ProviderCost]:
    days = call.query.get("days", "7")
    if days not in _DAYS:
        raise ApiError(
            "REQUEST_001", say("days is one of {days}.", days=", ".join(_DAYS)), param="days"
        )
    from_us = midnight_us(call.now_us, _UTC, int(days))
    parts = call.parts
    found = await provider_balances(parts.database, parts.catalog.current, from_us, call.now_us)
    rest = [one for one in found if one.provider > call.cursor]
    shown = page(rest, call.limit, lambda one: one.provider)
    costs = [
        ProviderCost(
            provider=one.provider,
            requests=one.requests,
            charged=usd_from_nano(one.charge_nano),
            covered=usd_from_nano(one.covered_nano),
            cost=usd_from_nano(one.cost_nano),
            uncosted=one.uncosted,
        )
        for one in shown.data
    ]
    return Listing(data=costs, next_cursor=shown.next_cursor)


async def show_settings(call: Call) -> InstallationSettings:
    async with call.parts.database.read() as conn:
        found = await facts.read(conn)
    return InstallationSettings(
        cny_per_usd=found.cny,
        rate_day=found.cny_day,
        sign_up=found.sign_up,
        group_of_new=found.group_of_new,
        support=found.support,
    )


async def change_settings(call: Call) -> InstallationSettings:
    body: SettingChanges = call.body
    now_us, actor = call.now_us, call.actor
    async with call.parts.database.begin() as conn:
        if body.cny_per_usd is not msgspec.UNSET:
            cny = body.cny_per_usd or ""
            await facts.set_exchange_rate(conn, cny, body.rate_day, now_us=now_us, actor=actor)
        if body.sign_up is not msgspec.UNSET:
            await facts.set_sign_up(conn, body.sign_up or "", now_us=now_us, actor=actor)
        if body.group_of_new is not msgspec.UNSET:
            group_id = body.group_of_new or ""
            await facts.set_group_of_new(conn, group_id, now_us=now_us, actor=actor)
        if body.support is not msgspec.UNSET:
            await facts.set_support(conn, body.support or "", now_us=now_us, actor=actor)
    return await show_settings(call)


async def check_audit(call: Call) -> AuditCheck:
    async with call.parts.database.read() as conn:
        broken = await rows.broken_audit(conn)
    return AuditCheck(whole=broken is None, broken_at=broken)


def _proof(run: recon_rows.Run) -> Proof:
    return Proof(
        id=run.id,
        started_at=run.started_us // 1_000_000,
        finished_at=run.finished_us // 1_000_000,
        differences=run.differences,
    )


ENDPOINTS = [
    Endpoint(
        "GET",
        "/admin/health",
        OPERATOR,
        health,
        None,
        InstallationHealth,
        "How this server does now, and today's money.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/admin/proofs",
        OPERATOR,
        list_proofs,
        None,
        Listing[Proof],
        "Proofs of the books, newest first.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/admin/proofs",
        OPERATOR,
        begin_proof,
        Nothing,
        ProofState,
        "Starts a proof of the books; it is in the list when it has ended.",
        _TAG,
    ),
    Endpoint("GET", "/admin/proofs/{id}", OPERATOR, show_proof, None, Proof, "One proof.", _TAG),
    Endpoint(
        "GET",
        "/admin/proof-state",
        OPERATOR,
        proof_state,
        None,
        ProofState,
        "Whether a proof of the books runs.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/admin/provider-costs",
        OPERATOR,
        list_costs,
        None,
        Listing[ProviderCost],
        "What providers cost against what was charged, over whole days in UTC.",
        _TAG,
        query=(("days", "1, 7 or 30; 7 unless given."),),
    ),
    Endpoint(
        "GET",
        "/admin/settings",
        OPERATOR,
        show_settings,
        None,
        InstallationSettings,
        "Settings that hold at once.",
        _TAG,
    ),
    Endpoint(
        "PATCH",
        "/admin/settings",
        OPERATOR,
        change_settings,
        SettingChanges,
        InstallationSettings,
        "Changes settings that hold at once.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/admin/audit-check",
        OPERATOR,
        check_audit,
        None,
        AuditCheck,
        "Proves that no line of the audit log was changed or taken out.",
        _TAG,
    ),
]
