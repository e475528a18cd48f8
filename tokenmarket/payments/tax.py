"""The tax of an organisation's invoices: what the operator set, and what it makes of an amount.

What a reader must know:

* The rate is in hundredths of a percent, the amount what paid money paid. ``included``: that amount
  has the tax in it; else the tax comes on top, and is paid outside of the balance.
* The tax is rounded once, half away from zero to a whole cent, on the total of the document. The
  rest follows from it exactly: net and tax are the gross to the last digit.
* An issued invoice keeps the tax it was issued with; credit notes reckon in the same way.
"""

from __future__ import annotations

import re

import msgspec

from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import tax_profiles
from tokenmarket.store.database import Database
from tokenmarket.store.tax_profiles import TaxProfile

NAME_CHARS_MAX = 40
RATE_BP_MAX = 10_000
_CENT_NANO = 10_000_000
_RATE = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?", re.ASCII)


class Tax(msgspec.Struct, frozen=True):
    """The tax of one document; its amounts are signed as the document's are."""

    name: str
    rate_bp: int
    included: bool
    net_nano: int
    tax_nano: int
    gross_nano: int


def taxed(profile: TaxProfile, amount_nano: int) -> Tax:
    """The amount split into net and tax, or with the tax on top."""
    base = 10_000 + profile.rate_bp if profile.included else 10_000
    tax_nano = _rounded(amount_nano * profile.rate_bp, base * _CENT_NANO) * _CENT_NANO
    net_nano = amount_nano - tax_nano if profile.included else amount_nano
    return Tax(
        name=profile.name,
        rate_bp=profile.rate_bp,
        included=profile.included,
        net_nano=net_nano,
        tax_nano=tax_nano,
        gross_nano=net_nano + tax_nano,
    )


def _rounded(number: int, by: int) -> int:
    """``number / by``, halves away from zero."""
    whole = (2 * abs(number) + by) // (2 * by)
    return -whole if number < 0 else whole


def rate_bp_from(text: str) -> int:
    """``"20"`` or ``"7.5"`` percent -> 2000, 750. Raises Refused."""
    match = _RATE.fullmatch(text.strip().removesuffix("%").strip())
    rate_bp = -1
    if match is not None:
        rate_bp = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if not 0 <= rate_bp <= RATE_BP_MAX:
        raise Refused(N_("Write a rate from 0 to 100 percent with at most two decimals."))
    return rate_bp


def percent(rate_bp: int) -> str:
    """2000 -> ``20``, 750 -> ``7.5``."""
    whole, part = divmod(rate_bp, 100)
    return f"{whole}.{part:02d}".rstrip("0").rstrip(".") if part else str(whole)


async def profile_of(database: Database, org_id: str) -> TaxProfile | None:
    """What the next invoices say; None: nothing about tax."""
    async with database.read() as conn:
        return await tax_profiles.find(conn, org_id)


async def set_profile(
    database: Database, org_id: str, profile: TaxProfile | None, *, actor: str, now_us: int
) -> None:
    """From the next invoice on; None: no tax any more. Raises Refused, NotThere."""
    if profile is not None:
        name = profile.name.strip()
        if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
            raise Refused(N_("Write the tax's name on one line, such as VAT."))
        if not 0 <= profile.rate_bp <= RATE_BP_MAX:
            raise Refused(N_("Write a rate from 0 to 100 percent with at most two decimals."))
        profile = msgspec.structs.replace(profile, name=name)
    async with database.begin() as conn:
        if await rows.org_by_id(conn, org_id) is None:
            raise NotThere(N_("There is no such organization."))
        await tax_profiles.put(conn, org_id, profile)
        detail: dict[str, object] = {}
        if profile is not None:
            detail = msgspec.structs.asdict(profile)
        await rows.append_audit(conn, now_us, actor, "tax.set", org_id, detail, org_id=org_id)
