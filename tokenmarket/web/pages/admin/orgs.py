"""Organisations: search, suspend, limits, group. Credit and debit: ``credit.py``."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from tokenmarket.accounts import members
from tokenmarket.accounts.admin import Refused
from tokenmarket.backoffice import groups, orgs
from tokenmarket.core.money import nano_from_usd, usd_from_nano
from tokenmarket.payments import tax
from tokenmarket.store import org_desk, org_groups
from tokenmarket.store.accounts import Limits
from tokenmarket.store.audit import audit_lines
from tokenmarket.store.tax_profiles import TaxProfile
from tokenmarket.web.pages.admin.said import WRONG, Entries, or_not_found, reading, said, whole
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import OPERATOR
from tokenmarket.web.site.visit import Visit

PAGE_ORGS = 50
_SUSPENDED = {"": None, "active": False, "suspended": True}
_RATES = ("rpm", "tpm", "concurrency")
_CAPS = ("spend_total_nano", "spend_month_nano", "spend_day_nano")


async def listing(visit: Visit) -> Response:
    """By name, id or a member's address."""
    query = visit.query
    state, group_id = query.get("state", ""), query.get("group", "")
    async with reading(visit) as conn:
        found = await org_desk.search(
            conn,
            text=query.get("q", "").strip(),
            group_id=None if not group_id else "" if group_id == "none" else group_id,
            suspended=_SUSPENDED.get(state),
            after_id=query.get("after", ""),
            limit=PAGE_ORGS + 1,
        )
        all_groups = await org_groups.listed(conn)
    return await visit.render(
        "admin/orgs.html",
        lines=found[:PAGE_ORGS],
        after=found[PAGE_ORGS - 1].org.id if len(found) > PAGE_ORGS else None,
        groups={group.id: group.name for group in all_groups},
        chosen={"q": query.get("q", ""), "state": state, "group": group_id},
    )


async def detail(visit: Visit) -> Response:
    return await _detail(visit, {})


async def act(visit: Visit) -> Response:
    """Takes every form of the detail page; ``action`` says which."""
    org_id, action = visit.params["org"], visit.form.get("action", "")
    text = visit._("Saved.")
    try:
        async with or_not_found(visit), visit.parts.database.begin() as conn:
            now_us, actor = visit.now_us, visit.actor
            org = await orgs.find(conn, org_id)
            if action in ("suspend", "restore"):
                reason = visit.form.get("reason", "")
                await orgs.set_suspended(
                    conn, org_id, action == "suspend", reason=reason, now_us=now_us, actor=actor
                )
            elif action == "limits":
                await orgs.set_limits(conn, org_id, _limits(visit), now_us=now_us, actor=actor)
            elif action == "group":
                group_id = visit.form.get("group", "") or None
                await groups.assign(conn, org, group_id, now_us=now_us, actor=actor)
        if action == "tax":
            await tax.set_profile(
                visit.parts.database, org_id, _tax(visit), now_us=visit.now_us, actor=visit.actor
            )
    except WRONG as error:
        return await _detail(visit, {action: said(visit, error)})
    return visit.redirect(visit.url(f"/admin/orgs/{org_id}"), flash=("ok", text))


async def _detail(visit: Visit, errors: dict[str, str]) -> Response:
    org_id, parts = visit.params["org"], visit.parts
    async with reading(visit) as conn:
        await orgs.find(conn, org_id)
        line = await org_desk.find(conn, org_id)
        all_groups = await org_groups.listed(conn)
        events = await audit_lines(conn, org_id=org_id, limit=20)
    if line is None:
        raise visit.not_found()
    balance = await parts.wallet.balance(org_id)
    profile = await tax.profile_of(parts.database, org_id)
    limits = line.org.limits
    shown = {name: getattr(limits, name) for name in _RATES}
    shown |= {
        name: None if (value := getattr(limits, name)) is None else usd_from_nano(value)
        for name in _CAPS
    }
    return await visit.render(
        "admin/org.html",
        status=422 if errors else 200,
        org=line.org,
        line=line,
        balance=balance,
        members=await members.of_org(parts.database, org_id),
        groups=[(group.id, group.name) for group in all_groups],
        events=events,
        errors=errors,
        entries=Entries(visit.form) if "limits" in errors else shown,
        tax_entries=Entries(visit.form) if "tax" in errors else _tax_entries(profile),
    )


def _tax_entries(profile: TaxProfile | None) -> dict[str, object]:
    if profile is None:
        return {"tax_name": "", "tax_rate": "", "tax_included": "1"}
    return {
        "tax_name": profile.name,
        "tax_rate": tax.percent(profile.rate_bp),
        "tax_included": "1" if profile.included else "0",
    }


def _tax(visit: Visit) -> TaxProfile | None:
    """Raises Refused."""
    form = visit.form
    if not form.get("tax_name", "").strip() and not form.get("tax_rate", "").strip():
        return None
    rate_bp = tax.rate_bp_from(form.get("tax_rate", ""))
    return TaxProfile(form.get("tax_name", ""), rate_bp, form.get("tax_included") != "0")


def _limits(visit: Visit) -> Limits:
    """Raises Refused."""
    form = visit.form
    try:
        rates = {name: whole(form.get(name, "")) for name in _RATES}
        caps = {
            name: nano_from_usd(text) if (text := form.get(name, "").strip()) else None
            for name in _CAPS
        }
    except ValueError:
        raise Refused(visit._("Write numbers, or leave a field empty for no limit.")) from None
    return msgspec.convert(rates | caps, Limits)


PAGES = [
    Page("/{lang}/admin/orgs", listing, OPERATOR),
    Page("/{lang}/admin/orgs/{org}", detail, OPERATOR),
    Page("/{lang}/admin/orgs/{org}", act, OPERATOR, ("POST",)),
]
