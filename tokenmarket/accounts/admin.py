"""What an operator does to organisations and keys, checked before it is written.

Each function is one transaction (the caller's), leaves one line in the audit trail, and is noticed
by running servers within two seconds. Names come from people and end up in pages, logs and
terminals, so what cannot be shown on one line is refused here.
"""

from __future__ import annotations

import ipaddress
import os
import unicodedata
from collections.abc import Iterable

import msgspec

from tokenmarket.accounts import facts
from tokenmarket.accounts.key_events import publish_key
from tokenmarket.core import ids, keys
from tokenmarket.core.catalog import OPERATIONS
from tokenmarket.core.money import NANO_MAX
from tokenmarket.core.sealing import Root
from tokenmarket.core.texts import N_
from tokenmarket.core.wording import say
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import KeyRow, Limits, NameTaken, OrgRow
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.teams import team_by_id

NAME_CHARS_MAX = 100
ALLOWED_MAX = 200  # entries of one allowed set
RATE_MAX = 1_000_000_000_000
PEPPER_VERSION = 1


class Refused(ValueError):
    """What was asked for makes no sense; the text says what to write instead."""


class NotThere(Exception):
    """No such organisation or key."""


class Taken(Exception):
    """The name is in use, or the object is not in a state for this."""


class NewKey(msgspec.Struct, frozen=True):
    """A key just made; ``token`` exists nowhere else and is shown once."""

    token: str
    row: KeyRow
    org: OrgRow

    def __repr__(self) -> str:
        return f"NewKey({self.row.id}, ***)"


class KeyWishes(msgspec.Struct, frozen=True):
    """What a new key shall be allowed; None = everything, no limit, no end."""

    name: str = "default"
    limits: Limits = Limits()
    models: tuple[str, ...] | None = None
    providers: tuple[str, ...] | None = None
    operations: tuple[str, ...] | None = None
    addresses: tuple[str, ...] | None = None
    expires_at_s: int | None = None
    team_id: str | None = None


async def claim_root(database: Database, root: Root) -> None:
    """Bind the database to the root secret on first use; Refused if it belongs to another one.

    With a wrong secret every key would look unknown and no credential would open.
    """
    fingerprint = root.fingerprint()
    async with database.read() as conn:
        stored = await rows.remembered(conn, "root_fingerprint")
    if stored is None:
        async with database.begin() as conn:
            stored = await rows.remember(conn, "root_fingerprint", fingerprint)
    if stored != fingerprint:
        raise Refused(
            "this database was made with another secret: give the TOKENMARKET_SECRET_KEY or "
            "DATA/secret.key that belongs to it"
        )


async def create_org(
    conn: Connection,
    name: str,
    *,
    now_us: int,
    actor: str,
    kind: str = "customer",
    limits: Limits | None = None,
) -> OrgRow:
    """Raises Refused or Taken."""
    row = OrgRow(
        id=ids.new_id("org", now_us, os.urandom(ids.RANDOM_BYTES)),
        name=checked_name(name),
        kind=kind,
        limits=checked_limits(limits or Limits()),
        disabled_at_s=None,
        created_us=now_us,
        group_id=await facts.group_of_new(conn) if kind == "customer" else None,
    )
    try:
        await rows.insert_org(conn, row)
    except NameTaken as error:
        raise Taken(say("there is an organization named {name!r} already", name=name)) from error
    await rows.append_audit(
        conn, now_us, actor, "org.create", row.id, {"name": row.name}, org_id=row.id
    )
    return row


async def find_org(conn: Connection, name_or_id: str) -> OrgRow:
    """By name or id; raises NotThere."""
    row = await rows.org_by_name(conn, name_or_id)
    if row is None and ids.is_id(name_or_id, "org"):
        row = await rows.org_by_id(conn, name_or_id)
    if row is None:
        raise NotThere(say("there is no organization {name_or_id!r}", name_or_id=name_or_id))
    return row


async def create_key(
    conn: Connection,
    org: OrgRow,
    wishes: KeyWishes,
    pepper: bytes,
    *,
    now_us: int,
    actor: str,
    token: str | None = None,
) -> NewKey:
    """A new key; the organisation may have several of one name. ``token``: its text, for one that
    is derived instead of drawn. Raises Refused, or NotThere for a team of somebody else."""
    if wishes.expires_at_s is not None and wishes.expires_at_s * 1_000_000 <= now_us:
        raise Refused("the key would be expired already; give a date in the future")
    if wishes.team_id is not None and await team_by_id(conn, org.id, wishes.team_id) is None:
        raise NotThere(N_("There is no such team."))
    derived = token is not None
    token = token or keys.generate("live", os.urandom(keys.RANDOM_BYTES))
    row = _key_row(token, org.id, wishes, pepper, now_us, rotates=None, created_by=actor)
    if derived:
        row = msgspec.structs.replace(row, kind="playground")
    await rows.insert_key(conn, row)
    detail: dict[str, object] = {"org": org.id, "name": row.name}
    if row.team_id is not None:
        detail["team"] = row.team_id
    await rows.append_audit(conn, now_us, actor, "key.create", row.id, detail, org_id=org.id)
    if not derived:  # the playground's are nobody's news
        await publish_key(conn, "key.created", row, now_us)
    return NewKey(token=token, row=row, org=org)


async def find_key(conn: Connection, key_id: str) -> KeyRow:
    """Raises NotThere."""
    row = await rows.key_by_id(conn, key_id) if ids.is_id(key_id, "key") else None
    if row is None:
        raise NotThere(
            say("there is no key {key_id!r}; list them with: tokenmarket key list", key_id=key_id)
        )
    return row


async def disable_key(conn: Connection, key_id: str, *, now_us: int, actor: str) -> KeyRow:
    """At once and for good; disabling twice changes nothing. Raises NotThere."""
    row = await find_key(conn, key_id)
    if row.disabled_at_s is None:
        await rows.disable_key(conn, key_id, now_us // 1_000_000)
        await rows.append_audit(
            conn, now_us, actor, "key.disable", key_id, {"org": row.org_id}, org_id=row.org_id
        )
        row = await find_key(conn, key_id)
        await publish_key(conn, "key.disabled", row, now_us)
    return row


async def rotate_key(
    conn: Connection,
    key_id: str,
    pepper: bytes,
    *,
    overlap_s: int,
    now_us: int,
    actor: str,
) -> NewKey:
    """A new key with the same rights; the old one ends after ``overlap_s``.

    The spend caps are copied too: they count per key, so each of the two has its own.
    Raises NotThere, or Taken for a key that is disabled, expired or rotated before.
    """
    old = await find_key(conn, key_id)
    if old.kind == "playground":
        raise Taken("A playground's key is not rolled: disable it, and the next use makes another.")
    org = await rows.org_by_id(conn, old.org_id)
    if org is None:
        raise NotThere(say("the organization of {key_id} is gone", key_id=key_id))
    now_s = now_us // 1_000_000
    if old.disabled_at_s is not None or (
        old.expires_at_s is not None and old.expires_at_s <= now_s
    ):
        raise Taken(say("the key {key_id} is not valid any more; make a new one", key_id=key_id))
    if any(row.rotates == key_id for row in await rows.keys_of(conn, old.org_id)):
        raise Taken(
            say("the key {key_id} has been rotated before; rotate its successor", key_id=key_id)
        )
    wishes = KeyWishes(
        name=old.name,
        limits=old.limits,
        models=old.models,
        providers=old.providers,
        operations=old.operations,
        addresses=old.addresses,
        expires_at_s=old.expires_at_s,
        team_id=old.team_id,
    )
    token = keys.generate("live", os.urandom(keys.RANDOM_BYTES))
    maker = old.created_by or actor
    row = _key_row(token, org.id, wishes, pepper, now_us, rotates=key_id, created_by=maker)
    await rows.insert_key(conn, row)
    await rows.expire_key(conn, key_id, now_s + overlap_s)
    detail: dict[str, object] = {"new": row.id, "overlap_s": overlap_s}
    await rows.append_audit(conn, now_us, actor, "key.rotate", key_id, detail, org_id=org.id)
    await publish_key(conn, "key.created", row, now_us)
    return NewKey(token=token, row=row, org=org)


def changed_key(row: KeyRow, wishes: KeyWishes) -> KeyRow:
    """The row with what may change of a key; its team and its text stay. Raises Refused."""
    return msgspec.structs.replace(
        row,
        name=checked_name(wishes.name),
        limits=checked_limits(wishes.limits),
        models=_checked_set("model", wishes.models),
        providers=_checked_set("provider", wishes.providers),
        operations=_checked_operations(wishes.operations),
        addresses=_checked_networks(wishes.addresses),
        expires_at_s=wishes.expires_at_s,
    )


def checked_name(text: str) -> str:
    """One printable line of at most 100 characters, normalised; raises Refused."""
    name = unicodedata.normalize("NFC", text)
    if not name or name != name.strip() or not name.isprintable():
        raise Refused(
            say(
                "{text!r} is not a name: write one line of printable characters without spaces "
                "at the ends",
                text=text[:40],
            )
        )
    if len(name) > NAME_CHARS_MAX:
        raise Refused(
            say(
                "a name has at most {name_chars_max} characters, this one has {name}",
                name_chars_max=NAME_CHARS_MAX,
                name=len(name),
            )
        )
    return name


def checked_limits(limits: Limits) -> Limits:
    """Whole and not negative; raises Refused."""
    for name in ("rpm", "tpm", "concurrency"):
        value = getattr(limits, name)
        if value is not None and not 0 <= value <= RATE_MAX:
            raise Refused(
                say(
                    "{name} is a number from 0 to {rate_max}, not {value}",
                    name=name,
                    rate_max=RATE_MAX,
                    value=value,
                )
            )
    for name in ("spend_total_nano", "spend_month_nano", "spend_day_nano"):
        value = getattr(limits, name)
        if value is not None and not 0 <= value <= NANO_MAX:
            raise Refused("a spend limit is an amount from 0 to 9000000000 USD")
    return limits


def _key_row(
    token: str,
    org_id: str,
    wishes: KeyWishes,
    pepper: bytes,
    now_us: int,
    *,
    rotates: str | None,
    created_by: str,
) -> KeyRow:
    return KeyRow(
        id=ids.new_id("key", now_us, os.urandom(ids.RANDOM_BYTES)),
        org_id=org_id,
        name=checked_name(wishes.name),
        digest=keys.digest(token, pepper).hex(),
        pepper_version=PEPPER_VERSION,
        prefix=keys.prefix(token),
        last4=token[-4:],
        limits=checked_limits(wishes.limits),
        models=_checked_set("model", wishes.models),
        providers=_checked_set("provider", wishes.providers),
        operations=_checked_operations(wishes.operations),
        addresses=_checked_networks(wishes.addresses),
        expires_at_s=wishes.expires_at_s,
        disabled_at_s=None,
        rotates=rotates,
        last_used_day=None,
        created_us=now_us,
        team_id=wishes.team_id,
        created_by=created_by,
    )


def _checked_set(kind: str, names: Iterable[str] | None) -> tuple[str, ...] | None:
    """None stays None; an empty list would be a key that can do nothing, surely a mistake."""
    if names is None:
        return None
    unique = tuple(dict.fromkeys(names))
    if not 0 < len(unique) <= ALLOWED_MAX:
        raise Refused(
            say(
                "name 1 to {allowed_max} {kind}s, or leave the option out to allow all",
                allowed_max=ALLOWED_MAX,
                kind=kind,
            )
        )
    for name in unique:
        checked_name(name)
    return unique


def _checked_operations(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    for name in names or ():
        if name not in OPERATIONS:
            raise Refused(
                say(
                    "{name!r} is not an operation; they are {operations}",
                    name=name,
                    operations=", ".join(OPERATIONS),
                )
            )
    return _checked_set("operation", names)


def _checked_networks(texts: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if texts is None:
        return None
    try:
        return _checked_set("network", (str(ipaddress.ip_network(text)) for text in texts))
    except ValueError as error:
        raise Refused(
            say("{error}; write a network as in 10.0.0.0/8 or 203.0.113.7", error=error)
        ) from error
