"""Settings that the operator changes while the server runs: facts in ``meta``."""

from __future__ import annotations

import datetime
import re

import msgspec

from tokenmarket.accounts.admin import Refused
from tokenmarket.accounts.facts import GROUP_OF_NEW, SIGN_UP
from tokenmarket.accounts.people import checked_email
from tokenmarket.backoffice import groups
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store.database import Connection

EXCHANGE_RATE = "exchange_rate_cny"  # "7.1234 2026-11-24": CNY for one USD, since that day
SUPPORT = "support_contact"
SIGN_UP_MODES = ("open", "invite", "closed")
_RATE = re.compile(r"(?!0+(?:\.0*)?$)[0-9]{1,4}(?:\.[0-9]{1,6})?")
_ADDRESS = re.compile(r"https://[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?(?:/[!-~]{0,180})?")


class Facts(msgspec.Struct, frozen=True):
    """All of them. ``sign_up`` None: as configured; ``support`` is an e-mail or https address."""

    cny: str | None
    cny_day: str | None
    sign_up: str | None
    group_of_new: str | None
    support: str | None


async def read(conn: Connection) -> Facts:
    cny, day = await exchange_rate(conn) or (None, None)
    return Facts(
        cny=cny,
        cny_day=day,
        sign_up=await rows.remembered(conn, SIGN_UP),
        group_of_new=await rows.remembered(conn, GROUP_OF_NEW),
        support=await rows.remembered(conn, SUPPORT),
    )


async def set_exchange_rate(
    conn: Connection, cny: str, day: str, *, now_us: int, actor: str
) -> None:
    """What prices are shown at in CNY; charges stay in USD. Empty: nothing is converted.

    Raises Refused.
    """
    cny = cny.strip()
    text = None
    if cny:
        if _RATE.fullmatch(cny) is None:
            raise Refused(N_("Write how many CNY one USD is, as in 7.12."))
        try:
            text = f"{cny} {datetime.date.fromisoformat(day).isoformat()}"
        except ValueError as error:
            raise Refused(N_("Write the day of the rate, as in 2026-11-24.")) from error
    await _put(conn, EXCHANGE_RATE, text, "exchange_rate", now_us, actor)


async def exchange_rate(conn: Connection) -> tuple[str, str] | None:
    """(CNY for one USD, since which day); None: not set."""
    text = await rows.remembered(conn, EXCHANGE_RATE)
    if text is None:
        return None
    cny, _, day = text.partition(" ")
    return cny, day


async def set_sign_up(conn: Connection, mode: str, *, now_us: int, actor: str) -> None:
    """Who may make an account; empty: as configured. Raises Refused."""
    if mode and mode not in SIGN_UP_MODES:
        raise Refused(N_("Sign-up is open, invite or closed."))
    await _put(conn, SIGN_UP, mode or None, "sign_up", now_us, actor)


async def set_group_of_new(conn: Connection, group_id: str, *, now_us: int, actor: str) -> None:
    """The group that organisations made from now on start in; empty: none. Raises NotThere."""
    if group_id:
        await groups.find(conn, group_id)
    await _put(conn, GROUP_OF_NEW, group_id or None, "group_of_new", now_us, actor)


async def set_support(conn: Connection, contact: str, *, now_us: int, actor: str) -> None:
    """Where people find help, shown on every page; empty: nowhere. Raises Refused."""
    contact = contact.strip()
    if contact and _ADDRESS.fullmatch(contact) is None:
        try:
            contact = checked_email(contact)
        except Refused as error:
            raise Refused(
                N_("Write an e-mail address, or one that begins with https://.")
            ) from error
    await _put(conn, SUPPORT, contact or None, "support", now_us, actor)


async def _put(
    conn: Connection, name: str, text: str | None, setting: str, now_us: int, actor: str
) -> None:
    before = await rows.remembered(conn, name)
    if text == before:
        return
    if text is None:
        await rows.forget(conn, name)
    else:
        await rows.replace_fact(conn, name, text)
    detail: dict[str, object] = {"before": before, "after": text}
    await rows.append_audit(conn, now_us, actor, f"setting.{setting}", name, detail)
