"""Settings that the operator changes while the server runs: facts in ``meta``."""

from __future__ import annotations

import datetime
import re

from tokenmarket.accounts.admin import Refused
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store.database import Connection

EXCHANGE_RATE = "exchange_rate_cny"  # "7.1234 2026-11-24": CNY for one USD, since that day
_RATE = re.compile(r"(?!0+(?:\.0*)?$)[0-9]{1,4}(?:\.[0-9]{1,6})?")


async def set_exchange_rate(
    conn: Connection, cny: str, day: str, *, now_us: int, actor: str
) -> None:
    """What prices are shown at in CNY; charges stay in USD. Empty: nothing is converted.

    Raises Refused.
    """
    cny = cny.strip()
    before = await rows.remembered(conn, EXCHANGE_RATE)
    if not cny:
        await rows.forget(conn, EXCHANGE_RATE)
        text = None
    else:
        if _RATE.fullmatch(cny) is None:
            raise Refused(N_("Write how many CNY one USD is, as in 7.12."))
        try:
            text = f"{cny} {datetime.date.fromisoformat(day).isoformat()}"
        except ValueError as error:
            raise Refused(N_("Write the day of the rate, as in 2026-11-24.")) from error
        await rows.replace_fact(conn, EXCHANGE_RATE, text)
    detail: dict[str, object] = {"before": before, "after": text}
    await rows.append_audit(conn, now_us, actor, "setting.exchange_rate", EXCHANGE_RATE, detail)


async def exchange_rate(conn: Connection) -> tuple[str, str] | None:
    """(CNY for one USD, since which day); None: not set."""
    text = await rows.remembered(conn, EXCHANGE_RATE)
    if text is None:
        return None
    cny, _, day = text.partition(" ")
    return cny, day
