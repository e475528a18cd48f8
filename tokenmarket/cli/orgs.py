"""``tokenmarket org create | list``."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from tokenmarket.accounts import admin
from tokenmarket.cli.running import Answer, desk, second, table
from tokenmarket.core.money import usd_from_nano
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import Limits, OrgRow


async def create(arguments: Namespace) -> Answer:
    async with desk(arguments, create=True) as at, at.database.begin() as conn:
        org = await admin.create_org(
            conn,
            arguments.name,
            now_us=at.now_us,
            actor=at.actor,
            limits=limits_from(arguments),
        )
    text = (
        f"created organization {org.name} ({org.id})\n"
        f"next: tokenmarket credit grant --org {org.id} --amount USD --reason TEXT\n"
        f"      tokenmarket key create --org {org.id}"
    )
    return Answer(org_document(org), text)


async def listing(arguments: Namespace) -> Answer:
    async with desk(arguments) as at, at.database.read() as conn:
        found = await rows.orgs(conn)
    lines = [(org.id, org.name, org.kind) for org in found]
    return Answer(
        {"object": "list", "data": [org_document(org) for org in found]},
        table(("ID", "NAME", "KIND"), lines),
    )


def limits_from(arguments: Namespace) -> Limits:
    """The limit options that ``org create`` and ``key create`` share."""
    return Limits(
        rpm=arguments.rpm,
        tpm=arguments.tpm,
        concurrency=arguments.concurrency,
        spend_total_nano=arguments.limit,
        spend_month_nano=arguments.limit_month,
        spend_day_nano=arguments.limit_day,
    )


def limits_document(limits: Limits) -> dict[str, Any]:
    """As in ``GET /key``, without what is used of it."""
    caps = (
        ("total", limits.spend_total_nano),
        ("month", limits.spend_month_nano),
        ("day", limits.spend_day_nano),
    )
    return {
        "rpm": limits.rpm,
        "tpm": limits.tpm,
        "concurrency": limits.concurrency,
        "spend": [
            {"period": period, "limit": usd_from_nano(nano)}
            for period, nano in caps
            if nano is not None
        ],
    }


def org_document(org: OrgRow) -> dict[str, Any]:
    return {
        "object": "organization",
        "id": org.id,
        "name": org.name,
        "kind": org.kind,
        "created_at": second(org.created_us),
        "disabled_at": org.disabled_at_s,
        "limits": limits_document(org.limits),
    }
