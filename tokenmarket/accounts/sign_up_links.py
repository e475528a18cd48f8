"""Links of letters that invite whoever reads an address' mail to make an account with it.

There is no person yet, so there is no row either: the address and the end stand in the link itself,
under a keyed digest. It works until an account has the address, or for a day.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re

from tokenmarket.billing.clock import Clock

LIFETIME_S = 86_400
_TOKEN = re.compile(r"([A-Za-z0-9_-]{1,1100})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})", re.ASCII)


class SignUpLinks:
    """``secret`` is ``root.derive(sealing.SIGN_UP_LINKS)``."""

    def __init__(self, clock: Clock, secret: bytes) -> None:
        self._clock = clock
        self._secret = secret

    def make(self, email: str) -> str:
        """The token for a checked address."""
        expires_s = self._clock.wall_us() // 1_000_000 + LIFETIME_S
        name = _base64(email.encode())
        return f"{name}.{expires_s}.{self._signature(name, expires_s)}"

    def find(self, token: str) -> str | None:
        """The address; None for what is not ours or too old. Takes any text."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        name, expires_s = match[1], int(match[2])
        if not hmac.compare_digest(self._signature(name, expires_s), match[3]):
            return None
        if self._clock.wall_us() >= expires_s * 1_000_000:
            return None
        try:
            return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
        except (binascii.Error, UnicodeDecodeError):  # signed by another version of this
            return None

    def _signature(self, name: str, expires_s: int) -> str:
        digest = hmac.digest(self._secret, f"{name}\n{expires_s}".encode(), "sha256")
        return _base64(digest)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")
