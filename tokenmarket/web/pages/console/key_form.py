"""The form of an API key: from what was typed to ``KeyWishes``, or a sentence per wrong field.

Sentences are constant, so that they can be translated where they are shown.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tokenmarket.accounts import org_keys
from tokenmarket.accounts.admin import ALLOWED_MAX, RATE_MAX, KeyWishes, Refused, checked_name
from tokenmarket.accounts.org_keys import Known, WrongEntry
from tokenmarket.core.catalog import OPERATIONS
from tokenmarket.core.money import nano_from_usd, usd_from_nano
from tokenmarket.core.texts import N_
from tokenmarket.store.accounts import KeyRow, Limits

AMOUNTS: tuple[str, ...] = ("spend_day", "spend_month", "spend_total")
NUMBERS: tuple[str, ...] = ("rpm", "tpm", "concurrency")
LISTS: tuple[str, ...] = ("models", "providers", "operations")
TEXTS: tuple[str, ...] = ("name", "expires", "addresses", "team", *AMOUNTS, *NUMBERS)

NAME = N_("Write one line of at most 100 characters.")
AMOUNT = N_("Write an amount in USD, such as 25 or 0.50.")
WHOLE = N_("Write a whole number.")
FUTURE = N_("Choose a day in the future.")
NETWORKS = N_("Write one network per line, such as 203.0.113.7 or 10.0.0.0/8.")
CHOOSE = N_("Choose from the list.")


class Entries(NamedTuple):
    """What stands in the form: texts of fields, and lists."""

    texts: dict[str, str]
    lists: dict[str, list[str]]


class Wrong(Exception):
    """``errors``: field -> sentence."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(errors)
        self.errors = errors


def entries_of(row: KeyRow | None, zone: ZoneInfo) -> Entries:
    """The form as it is opened: empty, or with what the key may do now."""
    texts = dict.fromkeys(TEXTS, "")
    if row is None:
        return Entries(texts, {name: [] for name in LISTS})
    texts |= {"name": row.name, "addresses": "\n".join(row.addresses or ())}
    for name in AMOUNTS:
        nano = getattr(row.limits, f"{name}_nano")
        texts[name] = "" if nano is None else usd_from_nano(nano)
    for name in NUMBERS:
        number = getattr(row.limits, name)
        texts[name] = "" if number is None else str(number)
    if row.expires_at_s is not None:
        # the last second of the key, so that a whole day reads as that day
        texts["expires"] = datetime.fromtimestamp(row.expires_at_s - 1, zone).date().isoformat()
    return Entries(texts, {name: list(getattr(row, name) or ()) for name in LISTS})


def entries_from(form: Mapping[str, str], lists: Mapping[str, Sequence[str]]) -> Entries:
    """What was sent."""
    texts = {name: form.get(name, "").strip() for name in TEXTS}
    return Entries(texts, {name: list(lists.get(name, ())) for name in LISTS})


def read(
    entries: Entries, zone: ZoneInfo, known: Known, *, now_us: int, before: KeyRow | None = None
) -> KeyWishes:
    """Raises Wrong."""
    errors: dict[str, str] = {}
    texts = entries.texts
    try:
        name = checked_name(texts.get("name", ""))
    except Refused:
        name, errors["name"] = "", NAME
    limits = _limits(texts, errors)
    expires_at_s = _expiry(texts.get("expires", ""), zone, before, now_us, errors)
    addresses = _addresses(texts.get("addresses", ""), errors)
    sets = {field: tuple(entries.lists.get(field, ())) or None for field in LISTS}
    if any(name not in OPERATIONS for name in sets["operations"] or ()):
        errors["operations"] = CHOOSE
    wishes = KeyWishes(
        name=name,
        limits=limits,
        models=sets["models"],
        providers=sets["providers"],
        operations=sets["operations"],
        addresses=addresses,
        expires_at_s=expires_at_s,
        team_id=texts.get("team") or None,
    )
    try:
        org_keys.check_names(wishes, known, before)
    except WrongEntry as error:
        errors[error.param] = CHOOSE
    if errors:
        raise Wrong(errors)
    return wishes


def _limits(texts: Mapping[str, str], errors: dict[str, str]) -> Limits:
    values: dict[str, int | None] = {}
    for name in AMOUNTS:
        text = texts.get(name, "").removeprefix("$")
        try:
            nano = nano_from_usd(text) if text else None
        except ValueError:
            nano = -1
        values[f"{name}_nano"] = nano
        if nano is not None and nano < 0:
            errors[name] = AMOUNT
    for name in NUMBERS:
        text = texts.get(name, "")
        values[name] = None
        if text:
            if text.isascii() and text.isdigit() and len(text) <= 13 and int(text) <= RATE_MAX:
                values[name] = int(text)
            else:
                errors[name] = WHOLE
    return Limits(**values)


def _expiry(
    text: str, zone: ZoneInfo, before: KeyRow | None, now_us: int, errors: dict[str, str]
) -> int | None:
    """The end of the day that was chosen, in the organisation's time zone."""
    if not text:
        return None
    if before is not None and entries_of(before, zone).texts.get("expires") == text:
        return before.expires_at_s  # to the second, if the day was left alone
    try:
        day = date.fromisoformat(text) + timedelta(days=1)
        end_s = int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
    except (ValueError, OverflowError):
        errors["expires"] = FUTURE
        return None
    if end_s * 1_000_000 <= now_us:
        errors["expires"] = FUTURE
    return end_s


def _addresses(text: str, errors: dict[str, str]) -> tuple[str, ...] | None:
    lines = [line.strip() for line in text.replace(",", "\n").splitlines() if line.strip()]
    try:
        networks = tuple(str(ipaddress.ip_network(line)) for line in lines)
    except ValueError:
        errors["addresses"] = NETWORKS
        return None
    if len(networks) > ALLOWED_MAX:
        errors["addresses"] = NETWORKS
    return networks or None
