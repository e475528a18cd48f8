"""An operator's credit or debit of a paid balance, with a reason, in ledger and audit trail.

The id comes with the form or the request, so that a repeated one moves nothing twice.
"""

from __future__ import annotations

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.texts import N_
from tokenmarket.ledger.grants import adjust_in
from tokenmarket.store import accounts as rows
from tokenmarket.store.database import Database
from tokenmarket.store.money_ledger import Conflict, Short
from tokenmarket.store.money_moves import money_transaction

REASON_CHARS_MAX = 500
AMOUNT_NANO_MAX = 1_000_000 * 1_000_000_000
_ID_CHARS_MAX = 64


async def adjust(
    database: Database,
    *,
    org_id: str,
    adjustment_id: str,
    amount_nano: int,
    reason: str,
    actor: str,
    now_us: int,
) -> bool:
    """Up, or down if negative; False if it was done before. Raises Refused, NotThere, Taken."""
    reason = reason.strip()
    if not reason or not reason.isprintable() or len(reason) > REASON_CHARS_MAX:
        raise Refused(N_("Write the reason on one line."))
    if amount_nano == 0 or abs(amount_nano) > AMOUNT_NANO_MAX:
        raise Refused(N_("Write an amount from 0.01 to 1,000,000 USD."))
    plain = adjustment_id.replace("-", "").replace("_", "")
    if not plain.isascii() or not plain.isalnum() or len(adjustment_id) > _ID_CHARS_MAX:
        raise Refused(N_("The form is too old. Load the page again."))
    try:
        async with money_transaction(database) as conn:
            if await rows.org_by_id(conn, org_id) is None:
                raise NotThere(N_("There is no such organization."))
            done = await adjust_in(
                conn,
                org_id=org_id,
                adjustment_id=adjustment_id,
                amount_nano=amount_nano,
                reason=reason,
                now_us=now_us,
            )
            if done:
                detail: dict[str, object] = {
                    "amount": usd_from_nano(amount_nano),
                    "reason": reason,
                }
                action = "credit.add" if amount_nano > 0 else "credit.take"
                await rows.append_audit(
                    conn, now_us, actor, action, adjustment_id, detail, org_id=org_id
                )
            return done
    except Short as error:
        raise Taken(
            N_(
                "Less than that is free now. Money that a running server holds comes back about ten"
                " seconds after the last request."
            )
        ) from error
    except Conflict as error:
        raise Taken(N_("This id was used for another movement.")) from error
