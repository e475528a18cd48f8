"""The API keys of one organisation, as its own members see and change them.

Every function takes the organisation and finds the key by both ids: a key of somebody else is not
there. What is shown as spent is the sum of the posted charges of the period in UTC, the same rows
that usage and invoices are made of; it reads and leases nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from tokenmarket.accounts import admin
from tokenmarket.accounts.admin import KeyWishes, NewKey, NotThere, Refused
from tokenmarket.billing import periods
from tokenmarket.core import ids
from tokenmarket.core.wording import say
from tokenmarket.store import accounts as rows
from tokenmarket.store import usage_sums
from tokenmarket.store.accounts import KeyRow
from tokenmarket.store.database import Connection
from tokenmarket.store.usage_rollup import QUARTER_US, Filters

SOON_S = 7 * 86_400
OVERLAP_S_MAX = 30 * 86_400
SPEND_CAPS = ("spend_day_nano", "spend_month_nano", "spend_total_nano")
STATES = ("active", "expiring", "expired", "disabled")


class WrongEntry(Refused):
    """One entry of a form or body is wrong; ``param`` names it."""

    def __init__(self, param: str, text: str) -> None:
        super().__init__(text)
        self.param = param


class Known(NamedTuple):
    """What exists in the catalog now."""

    models: Collection[str]
    providers: Collection[str]


def state(row: KeyRow, now_s: int) -> str:
    """One of STATES; ``expiring`` is active for less than a week to come."""
    if row.disabled_at_s is not None:
        return "disabled"
    if row.expires_at_s is None:
        return "active"
    if row.expires_at_s <= now_s:
        return "expired"
    return "expiring" if row.expires_at_s - now_s <= SOON_S else "active"


async def find(conn: Connection, org_id: str, key_id: str) -> KeyRow:
    """Raises NotThere."""
    row = await rows.key_by_id(conn, key_id) if ids.is_id(key_id, "key") else None
    if row is None or row.org_id != org_id:
        raise NotThere("There is no such key.")
    return row


def check_names(wishes: KeyWishes, known: Known, before: KeyRow | None = None) -> None:
    """WrongEntry for a model or provider that does not exist. What the key had ``before`` may stay:
    a model that is gone must not keep the rest from being changed."""
    for param, wanted, there, had in (
        ("models", wishes.models, known.models, before.models if before else None),
        ("providers", wishes.providers, known.providers, before.providers if before else None),
    ):
        for name in wanted or ():
            if name not in there and name not in (had or ()):
                raise WrongEntry(
                    param, say("{param}: there is no {name!r}", param=param, name=name[:100])
                )


async def change(
    conn: Connection, org_id: str, key_id: str, wishes: KeyWishes, *, now_us: int, actor: str
) -> KeyRow:
    """Everything that may change becomes what ``wishes`` say; the team stays. Running servers
    follow within two seconds. Raises NotThere or Refused."""
    old = await find(conn, org_id, key_id)
    if old.disabled_at_s is not None:
        raise admin.Taken("The key is disabled and stays so; make a new one.")
    ends_s = wishes.expires_at_s
    if ends_s is not None and ends_s != old.expires_at_s and ends_s * 1_000_000 <= now_us:
        raise WrongEntry("expires_at", "the key would be expired already; give a later time")
    new = admin.changed_key(old, wishes)
    changed = [
        name for name in KeyRow.__struct_fields__ if getattr(old, name) != getattr(new, name)
    ]
    if changed and old.kind == "playground":
        caps = {name: getattr(new.limits, name) for name in SPEND_CAPS}
        if new != msgspec.structs.replace(old, limits=msgspec.structs.replace(old.limits, **caps)):
            raise admin.Taken("Of a playground's key only the spend caps can be changed.")
    if changed:
        await rows.change_key(conn, new)
        await rows.append_audit(
            conn, now_us, actor, "key.change", key_id, {"changed": changed}, org_id=org_id
        )
    return new


async def disable(conn: Connection, org_id: str, key_id: str, *, now_us: int, actor: str) -> KeyRow:
    """At once and for good. Raises NotThere."""
    await find(conn, org_id, key_id)
    return await admin.disable_key(conn, key_id, now_us=now_us, actor=actor)


async def roll(
    conn: Connection,
    org_id: str,
    key_id: str,
    pepper: bytes,
    *,
    overlap_s: int,
    now_us: int,
    actor: str,
) -> NewKey:
    """A successor with the same rights; the old key ends after ``overlap_s``. Raises NotThere,
    Taken or Refused."""
    await find(conn, org_id, key_id)
    if not 0 <= overlap_s <= OVERLAP_S_MAX:
        raise WrongEntry(
            "overlap_s",
            say("an overlap is 0 to {overlap_s_max} seconds", overlap_s_max=OVERLAP_S_MAX),
        )
    return await admin.rotate_key(
        conn, key_id, pepper, overlap_s=overlap_s, now_us=now_us, actor=actor
    )


async def spent_this_month(conn: Connection, org_id: str, now_us: int) -> dict[str, int]:
    """Nano-USD that each key has spent in this month (UTC); keys without requests are absent."""
    return await _spent(conn, org_id, periods.bounds("month", now_us)[0], now_us, None)


async def spent_by_period(
    conn: Connection, org_id: str, key_id: str, now_us: int
) -> dict[str, int]:
    """Nano-USD of one key today, this month (both UTC) and ever."""
    found: dict[str, int] = {}
    for period in periods.PERIODS:
        from_us = periods.bounds(period, now_us)[0]
        spent = await _spent(conn, org_id, from_us, now_us, (key_id,))
        found[period] = spent.get(key_id, 0)
    return found


async def _spent(
    conn: Connection, org_id: str, from_us: int, now_us: int, keys: Sequence[str] | None
) -> dict[str, int]:
    to_us = now_us - now_us % QUARTER_US + QUARTER_US
    filters = Filters(keys=None if keys is None else tuple(keys))
    sums = await usage_sums.sums(conn, org_id, from_us, to_us, ["key_id"], filters)
    return {str(row["key_id"]): int(row["charge_nano"]) for row in sums}


def wishes_of(row: KeyRow) -> KeyWishes:
    """What the key may do now, to change a part of it."""
    return KeyWishes(
        **{name: getattr(row, name) for name in KeyWishes.__struct_fields__},
    )
