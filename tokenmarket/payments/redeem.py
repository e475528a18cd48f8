"""Redeem codes: made in batches by an operator, shown once, each turned into credit once.

    made = await codes.create(wishes, actor=…)         # made.codes exist nowhere else
    amount_nano = await codes.redeem(org_id, text, …)  # Refused, Taken, TooMany

What a reader must know:

* A code has 100 random bits; only a keyed digest is stored. People type it, so case, separators
  and the letters that look like digits do not matter (Crockford's base 32).
* The credit is a grant: it burns before paid money, may end, and may be for some models only.
* Wrong guesses are counted per organisation and per address; what is wrong with a code that cannot
  be redeemed is not told.
"""

from __future__ import annotations

import os
import secrets
from collections import OrderedDict
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from tokenmarket.accounts.admin import NAME_CHARS_MAX, NotThere, Refused, Taken
from tokenmarket.billing.clock import Clock
from tokenmarket.core import ids
from tokenmarket.core.money import usd_from_nano
from tokenmarket.core.texts import N_
from tokenmarket.ledger.grants import grant_in
from tokenmarket.store import accounts as rows
from tokenmarket.store import redeem
from tokenmarket.store.database import Database
from tokenmarket.store.money import DAY_US, NEVER_US
from tokenmarket.store.money_moves import money_transaction
from tokenmarket.store.redeem import BatchRow

CODES_MAX = 10_000
CODE_NANO_MAX = 100_000 * 1_000_000_000
DAYS_MAX = 3_650
GUESSES_MAX = 10
GUESSES_US = 3_600 * 1_000_000
_WATCHED_MAX = 10_000  # organisations and addresses whose guesses are counted
_CHARS = 20
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOOKALIKES = str.maketrans({"O": "0", "I": "1", "L": "1"})


class TooMany(Exception):
    """Too many wrong codes; ``after_s`` says when it may be tried again."""

    def __init__(self, after_s: int) -> None:
        super().__init__(N_("Too many wrong codes. Try again later."))
        self.after_s = after_s


class BatchWishes(NamedTuple):
    """What a new batch shall be. ``credit_days`` 0: the credit never ends."""

    name: str
    amount_nano: int
    codes: int
    expires_us: int
    credit_days: int = 0
    models: tuple[str, ...] = ()
    one_per_org: bool = False


class NewBatch(NamedTuple):
    """A batch just made, with its codes, which are shown this once."""

    row: BatchRow
    codes: list[str]

    def __repr__(self) -> str:
        return f"NewBatch({self.row.id}, ***)"


class Codes:
    """``secret`` is ``root.derive(sealing.REDEEM_CODES)``."""

    def __init__(self, database: Database, secret: bytes, clock: Clock) -> None:
        self._database = database
        self._secret = secret
        self._clock = clock
        # who -> times of wrong codes; the one that was wrong longest ago is forgotten first
        self._wrong: OrderedDict[str, list[int]] = OrderedDict()

    async def create(self, wishes: BatchWishes, *, actor: str) -> NewBatch:
        """Raises Refused."""
        now_us = self._clock.wall_us()
        row = _checked(wishes, actor, now_us)
        codes = [_new_code() for _ in range(wishes.codes)]
        digests = [(self._digest(_plain(code)), code[-4:]) for code in codes]
        async with self._database.begin() as conn:
            await redeem.insert_batch(conn, row, digests)
            detail: dict[str, object] = {
                "name": row.name,
                "codes": row.codes,
                "amount": usd_from_nano(row.amount_nano),
            }
            await rows.append_audit(conn, now_us, actor, "codes.create", row.id, detail)
        return NewBatch(row, codes)

    async def disable(self, batch_id: str, *, actor: str) -> None:
        """Its codes cannot be redeemed from now on. Raises NotThere, Taken."""
        now_us = self._clock.wall_us()
        async with self._database.begin() as conn:
            if await redeem.batch_by_id(conn, batch_id) is None:
                raise NotThere(N_("There is no such batch."))
            if not await redeem.disable_batch(conn, batch_id, now_us):
                raise Taken(N_("This batch is disabled already."))
            await rows.append_audit(conn, now_us, actor, "codes.disable", batch_id, {})

    async def redeem(self, org_id: str, text: str, *, address: str, actor: str) -> int:
        """The credit, in nano-USD. Raises Refused, Taken, TooMany, Unavailable."""
        now_us = self._clock.wall_us()
        watched = (f"org:{org_id}", f"address:{address}")
        for who in watched:
            self._check_guesses(who, now_us)
        digest = self._digest(_plain(text))
        async with money_transaction(self._database) as conn:
            found = await redeem.find_code(conn, digest)
            batch = None if found is None else found[1]
            if found is not None and found[0].org_id == org_id:
                raise Taken(N_("Your organization has redeemed this code already."))
            if batch is not None and self._is_open(batch, now_us):
                once = f"{batch.id}:{org_id}" if batch.one_per_org else None
                if once is not None and await redeem.is_used_once(conn, once):
                    raise Taken(N_("Your organization has redeemed a code of this kind already."))
                used = await redeem.use_code(
                    conn, digest, org_id=org_id, by=actor, once=once, now_us=now_us
                )
                if used:
                    await self._give(conn, org_id, digest, batch, actor, now_us)
                    return batch.amount_nano
        for who in watched:
            self._count_wrong(who, now_us)
        raise Refused(N_("This code does not exist or can no longer be redeemed."))

    def _is_open(self, batch: BatchRow, now_us: int) -> bool:
        return not batch.disabled_us and now_us < batch.expires_us

    async def _give(
        self,
        conn: rows.Connection,
        org_id: str,
        digest: str,
        batch: BatchRow,
        actor: str,
        now_us: int,
    ) -> None:
        models = msgspec.json.decode(batch.models, type=tuple[str, ...]) if batch.models else ()
        ends_us = now_us + batch.credit_days * DAY_US if batch.credit_days else NEVER_US
        await grant_in(
            conn,
            org_id=org_id,
            grant_id=f"code-{digest[:24]}",
            amount_nano=batch.amount_nano,
            reason=f"redeem code, {batch.name}",
            now_us=now_us,
            expires_us=ends_us,
            models=models,
        )
        detail: dict[str, object] = {
            "batch": batch.id,
            "amount": usd_from_nano(batch.amount_nano),
        }
        subject = f"code-{digest[:24]}"
        await rows.append_audit(conn, now_us, actor, "codes.redeem", subject, detail, org_id=org_id)

    def _check_guesses(self, who: str, now_us: int) -> None:
        recent = [at for at in self._wrong.get(who, ()) if at > now_us - GUESSES_US]
        if len(recent) >= GUESSES_MAX:
            raise TooMany((recent[0] + GUESSES_US - now_us) // 1_000_000 + 1)

    def _count_wrong(self, who: str, now_us: int) -> None:
        times = self._wrong.setdefault(who, [])
        times.append(now_us)
        del times[:-GUESSES_MAX]
        self._wrong.move_to_end(who)
        if len(self._wrong) > _WATCHED_MAX:
            self._wrong.popitem(last=False)

    def _digest(self, plain: str) -> str:
        text = plain.encode("utf-8", "surrogatepass")
        return blake2b(text, key=self._secret, digest_size=32, person=b"redeem").hexdigest()


def _checked(wishes: BatchWishes, actor: str, now_us: int) -> BatchRow:
    if not 0 < wishes.codes <= CODES_MAX:
        raise Refused(N_("A batch has 1 to 10,000 codes."))
    if not 0 < wishes.amount_nano <= CODE_NANO_MAX:
        raise Refused(N_("A code is worth up to 100,000 USD."))
    if not 0 <= wishes.credit_days <= DAYS_MAX:
        raise Refused(N_("Credit ends after 1 to 3,650 days, or never."))
    if not 0 < len(wishes.name) <= NAME_CHARS_MAX or not wishes.name.isprintable():
        raise Refused(N_("Write a name on one line."))
    if wishes.expires_us <= now_us:
        raise Refused(N_("Codes must expire in the future."))
    return BatchRow(
        id=ids.new_id("batch", now_us, os.urandom(ids.RANDOM_BYTES)),
        name=wishes.name,
        amount_nano=wishes.amount_nano,
        codes=wishes.codes,
        expires_us=wishes.expires_us,
        credit_days=wishes.credit_days,
        models=msgspec.json.encode(sorted(wishes.models)).decode() if wishes.models else "",
        one_per_org=int(wishes.one_per_org),
        created_by=actor,
        created_us=now_us,
        disabled_us=0,
    )


def _new_code() -> str:
    """``TM-XXXXX-XXXXX-XXXXX-XXXXX``."""
    text = "".join(secrets.choice(_ALPHABET) for _ in range(_CHARS))
    return "-".join(("TM", *(text[at : at + 5] for at in range(0, _CHARS, 5))))


def _plain(text: str) -> str:
    """What a person typed, as it is digested; any text."""
    plain = "".join(char for char in text[:100].upper() if char.isalnum())
    return plain.removeprefix("TM").translate(_LOOKALIKES)
