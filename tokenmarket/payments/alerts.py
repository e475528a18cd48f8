"""The low-balance alert: told once each time the balance falls below what the organisation chose.

    await alerts.put(org_id, threshold_nano, emails, actor=…)
    await alerts.check()          # every minute, beside the requests

The state "has been told" is in the row, so a restart tells nothing twice; it is taken back when the
balance is at or above the threshold again. Told are the addresses by mail (if a mail server is set)
and the organisation's webhook endpoints that want ``balance.low``; pages show a banner as long as
the balance is low.
"""

from __future__ import annotations

import os
import re

from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.billing.clock import Clock
from tokenmarket.core import ids
from tokenmarket.core.money import NANO_MAX, usd_from_nano
from tokenmarket.core.texts import N_
from tokenmarket.core.webhook_events import event_body
from tokenmarket.mail import Mail, Message
from tokenmarket.store import accounts as rows
from tokenmarket.store import alerts
from tokenmarket.store.alerts import AlertRow
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.webhook_endpoints import NewEvent, publish

EMAILS_MAX = 10
_EMAIL = re.compile(r"[^\s<>@,;\"]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}")


class Alerts:
    """``mail`` without a server: only banner and webhooks tell."""

    def __init__(self, database: Database, mail: Mail, clock: Clock) -> None:
        self._database = database
        self._mail = mail
        self._clock = clock

    async def of(self, org_id: str) -> AlertRow | None:
        """The alert of an organisation."""
        async with self._database.read() as conn:
            return await alerts.alert_of(conn, org_id)

    async def low(self, org_id: str) -> int | None:
        """The threshold if the balance has fallen below it and was not above it since."""
        row = await self.of(org_id)
        return None if row is None or row.armed else row.threshold_nano

    async def put(
        self, org_id: str, threshold_nano: int, emails: tuple[str, ...], *, actor: str
    ) -> AlertRow:
        """Instead of the one there is; an alert that is below at once is told at once.

        Raises Refused.
        """
        if not 0 < threshold_nano <= NANO_MAX:
            raise Refused(N_("The threshold is an amount above zero."))
        chosen = tuple(dict.fromkeys(email.strip() for email in emails if email.strip()))
        if len(chosen) > EMAILS_MAX or any(_EMAIL.fullmatch(one) is None for one in chosen):
            raise Refused(N_("Write up to ten e-mail addresses, one a line."))
        now_us = self._clock.wall_us()
        row = AlertRow(org_id, threshold_nano, chosen, armed=True, fired_us=0, updated_us=now_us)
        async with self._database.begin() as conn:
            await alerts.put_alert(conn, row)
            detail: dict[str, object] = {
                "threshold": usd_from_nano(threshold_nano),
                "emails": len(chosen),
            }
            await rows.append_audit(conn, now_us, actor, "alert.set", org_id, detail, org_id=org_id)
        await self.check()
        return await self.of(org_id) or row

    async def remove(self, org_id: str, *, actor: str) -> None:
        """Raises NotThere."""
        async with self._database.begin() as conn:
            if not await alerts.delete_alert(conn, org_id):
                raise NotThere(N_("There is no alert."))
            now_us = self._clock.wall_us()
            await rows.append_audit(conn, now_us, actor, "alert.remove", org_id, {}, org_id=org_id)

    async def check(self) -> int:
        """Tell whatever fell below its threshold; how many organisations were told."""
        told = 0
        async with self._database.read() as conn:
            found = await alerts.crossed(conn)
        for row, balance_nano in found:
            now_us = self._clock.wall_us()
            async with self._database.begin() as conn:
                changed = await alerts.set_armed(conn, row, armed=not row.armed, now_us=now_us)
                if changed and row.armed:
                    await _publish(conn, row, balance_nano, now_us)
            if changed and row.armed:
                told += 1
                self._write(row, balance_nano)
        return told

    def _write(self, row: AlertRow, balance_nano: int) -> None:
        if not self._mail.is_set:
            return
        balance, threshold = usd_from_nano(balance_nano), usd_from_nano(row.threshold_nano)
        subject = "TokenMarket: low balance / 余额不足"
        text = (
            f"The balance of your organization {row.org_id} is {balance} USD,"
            f" below your alert's threshold of {threshold} USD.\n\n"
            f"贵组织 {row.org_id} 的余额为 {balance} 美元，低于所设的提醒阈值 {threshold} 美元。\n"
        )
        for email in row.emails:
            self._mail.post(Message(email, subject, text))


async def _publish(conn: Connection, row: AlertRow, balance_nano: int, now_us: int) -> None:
    event_id = ids.new_id("evt", now_us, os.urandom(ids.RANDOM_BYTES))
    data = {
        "organization_id": row.org_id,
        "currency": "USD",
        "balance": usd_from_nano(balance_nano),
        "threshold": usd_from_nano(row.threshold_nano),
    }
    body = event_body(event_id, "balance.low", now_us // 1_000_000, data)
    new = NewEvent(
        id=event_id,
        org_id=row.org_id,
        type="balance.low",
        subject=str(now_us),
        body=body,
        created_us=now_us,
    )
    await publish(conn, new)
