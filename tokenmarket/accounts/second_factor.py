"""The second factor: codes of an app (RFC 6238: SHA-1, 6 digits, 30 s) and ten recovery codes.

What a reader must know:

* The secret is sealed under a key of its own purpose and bound to the person.
* A code works once: its time step is written down in the transaction that accepts it, and no code
  of that or an earlier step is accepted again. One step before and after now is allowed.
* A recovery code works once, and only its keyed digest is stored.
"""

from __future__ import annotations

import base64
import hmac
import io
import os
import re
import secrets
from hashlib import blake2b
from urllib.parse import quote

import segno
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from tokenmarket.accounts import people
from tokenmarket.accounts.admin import Refused, Taken
from tokenmarket.billing.clock import Clock
from tokenmarket.core import sealing
from tokenmarket.core.sealing import Root
from tokenmarket.core.texts import N_
from tokenmarket.store import accounts as rows
from tokenmarket.store import second_factor as factor_rows
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.people import User
from tokenmarket.store.second_factor import TotpRow

ISSUER = "TokenMarket"
STEP_S = 30
DRIFT_STEPS = (-1, 0, 1)
SECRET_BYTES = 20
RECOVERY_CODES = 10
_CODE = re.compile(r"[0-9]{6}", re.ASCII)
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike
_VERSION = 1


class SecondFactor:
    """``root`` gives the two keys: one seals, one digests recovery codes."""

    def __init__(self, database: Database, clock: Clock, root: Root) -> None:
        self._database = database
        self._clock = clock
        self._kek = root.derive(sealing.SECOND_FACTOR)
        self._recovery_key = root.derive(sealing.RECOVERY_CODES)

    async def begin(self, user: User) -> str:
        """The base32 secret for the app; not in force before ``confirm``. The same one is shown
        again until then. Raises Taken if a second factor is on."""
        async with self._database.begin() as conn:
            row = await factor_rows.totp_of(conn, user.id)
            if row is not None and row.confirmed_us is not None:
                raise Taken(N_("Two-factor sign-in is on already."))
            if row is not None:
                return _base32(self._open(row))
            secret = os.urandom(SECRET_BYTES)
            wrapped, sealed = sealing.seal(
                secret, self._kek, _bound_to(user.id), os.urandom(sealing.RANDOM_BYTES)
            )
            row = TotpRow(
                user_id=user.id,
                wrapped_key=base64.b64encode(wrapped).decode(),
                sealed=base64.b64encode(sealed).decode(),
                confirmed_us=None,
                last_step=0,
                created_us=self._clock.wall_us(),
            )
            await factor_rows.insert_totp(conn, row)
        return _base32(secret)

    async def confirm(self, user: User, code: str) -> list[str]:
        """Switch it on with a first code; returns the recovery codes, shown once.

        Raises Refused for a wrong code or if ``begin`` was never called.
        """
        now_us = self._clock.wall_us()
        async with self._database.begin() as conn:
            row = await factor_rows.totp_of(conn, user.id)
            if row is None or row.confirmed_us is not None or not await self._take(conn, row, code):
                raise Refused(N_("This code is not right, or was used before."))
            await factor_rows.confirm_totp(conn, user.id, now_us)
            codes = await self._new_codes(conn, user.id)
            by = people.actor(user.id)
            await rows.append_audit(conn, now_us, by, "user.totp_on", user.id, {})
        return codes

    async def check(self, user_id: str, code: str) -> bool:
        """Whether this is a code of now, or an unused recovery code; it works this once.

        False also for who has no second factor.
        """
        async with self._database.begin() as conn:
            row = await factor_rows.totp_of(conn, user_id)
            if row is None or row.confirmed_us is None:
                return False
            if await self._take(conn, row, code):
                return True
            digest = self._digest(user_id, code)
            now_us = self._clock.wall_us()
            if not await factor_rows.use_recovery_code(conn, user_id, digest, now_us):
                return False
            by = people.actor(user_id)
            await rows.append_audit(conn, now_us, by, "user.recovery_code", user_id, {})
            return True

    async def renew_codes(self, user: User) -> list[str]:
        """Ten new recovery codes; the old ones are worth nothing."""
        async with self._database.begin() as conn:
            codes = await self._new_codes(conn, user.id)
            by = people.actor(user.id)
            now_us = self._clock.wall_us()
            await rows.append_audit(conn, now_us, by, "user.recovery_codes_new", user.id, {})
        return codes

    async def codes_left(self, user_id: str) -> int:
        async with self._database.read() as conn:
            return await factor_rows.count_recovery_codes(conn, user_id)

    async def remove(self, user: User, *, by: str) -> None:
        """Off, with its codes; also what was begun and never confirmed."""
        async with self._database.begin() as conn:
            await factor_rows.delete_totp(conn, user.id)
            now_us = self._clock.wall_us()
            await rows.append_audit(conn, now_us, by, "user.totp_off", user.id, {})

    async def _new_codes(self, conn: Connection, user_id: str) -> list[str]:
        codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
        digests = [self._digest(user_id, code) for code in codes]
        await factor_rows.replace_recovery_codes(conn, user_id, digests)
        return codes

    async def _take(self, conn: Connection, row: TotpRow, code: str) -> bool:
        """Whether the code is one of now; its step is then used up."""
        code = re.sub(r"\s", "", code[:20])
        if _CODE.fullmatch(code) is None:
            return False
        totp = TOTP(self._open(row), 6, SHA1(), STEP_S, enforce_key_length=False)  # noqa: S303
        now_step = self._clock.wall_us() // 1_000_000 // STEP_S
        for step in (now_step + drift for drift in DRIFT_STEPS):
            if hmac.compare_digest(totp.generate(step * STEP_S), code.encode()):
                return await factor_rows.use_step(conn, row.user_id, step)
        return False

    def _open(self, row: TotpRow) -> bytes:
        wrapped, sealed = base64.b64decode(row.wrapped_key), base64.b64decode(row.sealed)
        return sealing.unseal(wrapped, sealed, self._kek, _bound_to(row.user_id))

    def _digest(self, user_id: str, code: str) -> str:
        plain = re.sub(r"[^a-z0-9]", "", code[:40].lower())
        text = f"{user_id} {plain}".encode()
        return blake2b(text, key=self._recovery_key, digest_size=32).hexdigest()


def app_uri(secret: str, email: str) -> str:
    """What the QR code says."""
    name = quote(f"{ISSUER}:{email}", safe="")
    return f"otpauth://totp/{name}?secret={secret}&issuer={ISSUER}"


def qr_svg(uri: str) -> str:
    """An SVG element: dark on light in every theme, because scanners want that.

    Sizes and colours are attributes, so the strict content policy of the pages holds.
    """
    drawing = io.BytesIO()
    segno.make(uri, error="m", micro=False).save(
        drawing, kind="svg", xmldecl=False, svgclass=None, lineclass=None, border=3, scale=4,
        dark="#000000", light="#ffffff", nl=False,
    )  # fmt: skip
    return drawing.getvalue().decode()


def _recovery_code() -> str:
    """``7h2kq-mx4rt``: 49 random bits."""
    letters = [secrets.choice(_LETTERS) for _ in range(10)]
    return f"{''.join(letters[:5])}-{''.join(letters[5:])}"


def _base32(secret: bytes) -> str:
    return base64.b32encode(secret).decode().rstrip("=")


def _bound_to(user_id: str) -> bytes:
    return f"totp:{user_id}:{_VERSION}".encode()
