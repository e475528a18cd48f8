"""From an API key to a ``Caller``: a dict in the usual case, SQL once per key.

What a reader must know:

* ``lookup`` is synchronous and costs one keyed hash. It answers only for a caller who is cached and
  may call right now; everything else goes through ``authenticate``, which raises the right error.
* A Caller is one object for as long as the process knows the key: ``refresh`` changes it in place,
  because the funds and limiter states of the running requests hang on it.
* Garbage stops at the check sum. A well-formed unknown key costs one look-up, then the negative
  cache answers; an address that keeps failing is not looked up at all for the rest of the minute.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tokenmarket.accounts.failures import Failures, address_of, bound
from tokenmarket.billing.clock import Clock
from tokenmarket.core import keys
from tokenmarket.core.errors import ApiError
from tokenmarket.core.routing import EVERYTHING, Allowed
from tokenmarket.store import accounts as rows
from tokenmarket.store.accounts import KeyRow, Limits, OrgRow
from tokenmarket.store.database import Database
from tokenmarket.store.teams import models_of_teams

if TYPE_CHECKING:
    from tokenmarket.billing.wallet import Funds
    from tokenmarket.limits import CallerLimits

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNKNOWN_MAX = 10_000  # entries of the negative cache
UNKNOWN_S = 5
USE_SWEEP_S = 60
_ROWS_PER_QUERY = 500


class Caller:
    """An API key that passed, with everything the request path asks about it.

    ``addresses`` is None for "from anywhere". ``funds`` and ``limiter`` belong to admission; they
    are named here so that no dict stands between a request and them. ``refused`` is why the key is
    not valid any more.
    """

    __slots__ = (
        "addresses",
        "allowed",
        "created_at_s",
        "expires_at_s",
        "funds",
        "group_id",
        "keeps_content",
        "key_hint",
        "key_id",
        "key_limits",
        "key_name",
        "last_used_day",
        "limiter",
        "org_id",
        "org_limits",
        "org_name",
        "refused",
        "used",
    )

    def __init__(
        self, key: KeyRow, org: OrgRow, team_models: tuple[str, ...] | None = None
    ) -> None:
        self.key_id = key.id
        self.org_id = key.org_id
        self.created_at_s = key.created_us // 1_000_000
        self.key_hint = keys.hint(key.prefix, key.last4)
        self.funds: Funds | None = None
        self.limiter: CallerLimits | None = None
        self.used = True
        self.update(key, org, team_models)

    def update(self, key: KeyRow, org: OrgRow, team_models: tuple[str, ...] | None = None) -> None:
        """Take over what may change; ``team_models`` are those of the key's team, None = all."""
        self.key_name = key.name
        self.org_name = org.name
        self.group_id = org.group_id  # whose prices apply
        self.keeps_content = org.content_days is not None
        self.key_limits: Limits = key.limits
        self.org_limits: Limits = org.limits
        models = _both(_set(key.models), _set(team_models))
        allowed = Allowed(models, _set(key.providers), _set(key.operations))
        self.allowed = EVERYTHING if allowed == EVERYTHING else allowed
        self.addresses = _networks(key.addresses)
        self.expires_at_s = key.expires_at_s
        self.last_used_day = key.last_used_day
        self.refused: str | None = None
        if key.disabled_at_s is not None:
            self.refused = "key_disabled"
        elif org.disabled_at_s is not None:
            self.refused = "organization_disabled"

    def __repr__(self) -> str:
        return f"Caller({self.key_id}, {self.org_id})"


class Accounts:
    """The callers that this process knows; ``pepper`` is ``root.derive(sealing.PEPPER)``."""

    def __init__(self, database: Database, pepper: bytes, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # copying a keyed state is cheaper than keying one per request
        self._hash = hashlib.blake2b(key=pepper, digest_size=32)
        self._callers: dict[bytes, Caller] = {}
        self._unknown: dict[bytes, int] = {}
        self._failures = Failures()
        self._loading = asyncio.Lock()
        self._generation = -1
        self._swept_us = clock.monotonic_us()

    def lookup(self, token: str) -> Caller | None:
        """The caller if everything is known and fine, else None: then ``authenticate``."""
        caller = self._callers.get(self._digest(token))
        if caller is None or caller.refused is not None or caller.addresses is not None:
            return None
        expires_at_s = caller.expires_at_s
        if expires_at_s is not None and self._clock.wall_us() >= expires_at_s * 1_000_000:
            return None
        caller.used = True
        return caller

    async def authenticate(self, token: str, address: str | None) -> Caller:
        """The caller of this key from this IP address.

        ApiError AUTH_001 (missing, invalid, disabled, expired), AUTH_002 (address), QUOTA_001 (this
        address tried too many unknown keys).
        """
        if not token:
            raise _refusal("missing_key", "No API key: send the header Authorization: Bearer KEY.")
        now_us = self._clock.monotonic_us()
        if not keys.is_wellformed(token):
            self._failures.add(address, now_us)
            raise _refusal("invalid_key", "This is not an API key: it is mistyped or incomplete.")
        if token.startswith("tm_adm_"):
            raise _refusal(
                "management_key", "This is a key of the management API; API keys are tm_live_…"
            )
        digest = self._digest(token)
        caller = self._callers.get(digest)
        if caller is None:
            caller = await self._load(digest, address)
        self._check(caller, address)
        caller.used = True
        return caller

    async def refresh(self) -> bool:
        """Take over control-plane changes; True if there were any since the last call.

        To be called every second; one small read when nothing changed.
        """
        async with self._database.read() as conn:
            generation = await rows.generation(conn)
            changed = generation != self._generation
            if changed:
                found = {row.id: row for row in await rows.orgs(conn)}
                ids = [caller.key_id for caller in self._callers.values()]
                current: dict[str, KeyRow] = {}
                models: dict[str, tuple[str, ...] | None] = {}
                for start in range(0, len(ids), _ROWS_PER_QUERY):
                    part = await rows.keys_by_ids(conn, ids[start : start + _ROWS_PER_QUERY])
                    current.update((row.id, row) for row in part)
                    models.update(await models_of_teams(conn, {row.team_id for row in part}))
                self._take_over(ids, current, found, models)
                self._unknown.clear()
                self._generation = generation
        await self._sweep_use()
        return changed

    def callers(self) -> Iterable[Caller]:
        """Everybody this process has authenticated."""
        return self._callers.values()

    def _digest(self, token: str) -> bytes:
        state = self._hash.copy()
        state.update(token.encode("utf-8", "surrogatepass"))
        return state.digest()

    async def _load(self, digest: bytes, address: str | None) -> Caller:
        """One look-up at a time: a burst with one new key must end in one Caller."""
        async with self._loading:
            caller = self._callers.get(digest)
            if caller is not None:
                return caller
            now_us = self._clock.monotonic_us()
            if self._unknown.get(digest, 0) > now_us:
                self._failures.add(address, now_us)
                raise _unknown_key()
            self._failures.check(address, now_us)
            async with self._database.read() as conn:
                generation = await rows.generation(conn)
                found = await rows.key_by_digest(conn, digest.hex())
                team_id = None if found is None else found[0].team_id
                models = await models_of_teams(conn, [team_id])
            if generation != self._generation:
                self._generation = -1  # a refresh may have passed this row while it was on its way
            if found is None:
                bound(self._unknown, UNKNOWN_MAX)
                self._unknown[digest] = now_us + UNKNOWN_S * 1_000_000
                self._failures.add(address, now_us)
                raise _unknown_key()
            caller = self._callers[digest] = Caller(*found, models.get(team_id or ""))
            return caller

    def _check(self, caller: Caller, address: str | None) -> None:
        if caller.refused == "organization_disabled":
            raise _refusal(caller.refused, "The organization of this API key is disabled.")
        if caller.refused is not None:
            raise _refusal(caller.refused, "This API key is disabled.")
        expires_at_s = caller.expires_at_s
        if expires_at_s is not None and self._clock.wall_us() >= expires_at_s * 1_000_000:
            raise _refusal("key_expired", "This API key has expired.")
        if caller.addresses is not None and not _inside(address, caller.addresses):
            raise ApiError(
                "AUTH_002",
                "This API key may not be used from this address.",
                reason="address_not_allowed",
            )

    def _take_over(
        self,
        ids: list[str],
        current: dict[str, KeyRow],
        found: dict[str, OrgRow],
        models: dict[str, tuple[str, ...] | None],
    ) -> None:
        """Only callers that were asked for: one may have arrived while SQL was answering."""
        asked = set(ids)
        for caller in self._callers.values():
            key = current.get(caller.key_id)
            org = None if key is None else found.get(key.org_id)
            if key is not None and org is not None:
                caller.update(key, org, models.get(key.team_id or ""))
            elif caller.key_id in asked:
                caller.refused = "key_disabled"  # the row is gone

    async def _sweep_use(self) -> None:
        """Once a minute: note the day on keys used for the first time today."""
        now_us = self._clock.monotonic_us()
        if now_us - self._swept_us < USE_SWEEP_S * 1_000_000:
            return
        self._swept_us = now_us
        today = self._clock.wall_us() // 86_400_000_000
        fresh = [c for c in self._callers.values() if c.used and c.last_used_day != today]
        for caller in self._callers.values():
            caller.used = False
        for start in range(0, len(fresh), _ROWS_PER_QUERY):
            part = fresh[start : start + _ROWS_PER_QUERY]
            async with self._database.begin() as conn:
                await rows.mark_used(conn, [caller.key_id for caller in part], today)
            for caller in part:
                caller.last_used_day = today


def _inside(address: str | None, networks: tuple[Network, ...]) -> bool:
    parsed = address_of(address)
    return parsed is not None and any(parsed in network for network in networks)


def _set(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """What both allow; None allows everything."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _networks(texts: tuple[str, ...] | None) -> tuple[Network, ...] | None:
    return None if texts is None else tuple(ipaddress.ip_network(text) for text in texts)


def _refusal(reason: str, message: str) -> ApiError:
    return ApiError("AUTH_001", message, reason=reason)


def _unknown_key() -> ApiError:
    return _refusal("invalid_key", "This API key does not exist.")
