"""``tokenmarket credit grant``: money from the house to an organization."""

from __future__ import annotations

import os
from argparse import Namespace

from tokenmarket.accounts import admin
from tokenmarket.cli.running import Answer, desk
from tokenmarket.core import ids
from tokenmarket.core.money import usd_from_nano
from tokenmarket.ledger import grants
from tokenmarket.store import accounts as rows
from tokenmarket.store.money import NEVER_US
from tokenmarket.store.money_ledger import Conflict

REASON_CHARS_MAX = 500


async def grant(arguments: Namespace) -> Answer:
    reason = _checked_reason(arguments.reason)
    if arguments.amount == 0:
        raise admin.Refused("an amount of 0 grants nothing")
    async with desk(arguments) as at:
        grant_id = _checked_id(arguments.id) if arguments.id is not None else ""
        grant_id = grant_id or ids.new_id("grant", at.now_us, os.urandom(ids.RANDOM_BYTES))
        expires_us = NEVER_US if arguments.expires is None else arguments.expires * 1_000_000
        async with at.database.read() as conn:
            org = await admin.find_org(conn, arguments.org)
        try:
            created = await grants.grant(
                at.database,
                org_id=org.id,
                grant_id=grant_id,
                amount_nano=arguments.amount,
                reason=reason,
                now_us=at.now_us,
                expires_us=expires_us,
            )
        except ValueError as error:
            raise admin.Refused(str(error)) from error
        except Conflict as error:
            raise admin.Taken(f"the id {grant_id!r} was used for another grant: {error}") from error
        amount = usd_from_nano(arguments.amount)
        if created:
            detail: dict[str, object] = {"org": org.id, "amount": amount, "reason": reason}
            async with at.database.begin() as conn:
                await rows.append_audit(conn, at.now_us, at.actor, "credit.grant", grant_id, detail)
    document = {
        "object": "grant",
        "id": grant_id,
        "organization": org.name,
        "organization_id": org.id,
        "currency": "USD",
        "amount": amount,
        "reason": reason,
        "expires_at": arguments.expires,
        "created": created,
    }
    done = "granted" if created else "was granted before, nothing done:"
    return Answer(document, f"{done} {amount} USD to {org.name} ({grant_id})")


def _checked_reason(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > REASON_CHARS_MAX:
        raise admin.Refused(f"a reason is one line of 1 to {REASON_CHARS_MAX} characters")
    return text


def _checked_id(text: str) -> str:
    """Becomes part of an account's name, so it keeps to letters that mean nothing there."""
    if not text.isascii() or not text.replace("-", "").replace("_", "").isalnum() or len(text) > 64:
        raise admin.Refused("an id has at most 64 letters, digits, '-' and '_'")
    return text
