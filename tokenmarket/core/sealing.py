"""Secrets at rest: one root, one derived key per purpose, and sealed values bound to their row.

Every purpose has its own label, so that no secret is ever used in two domains
(``design/security.md`` C3). A sealed value is AES-256-GCM under a data key of its own, which is
sealed under the key-encryption key: the root can be changed without touching the values (C1). The
associated data names table, row and version, so a ciphertext moved to another row does not open.
Randomness is handed in.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12
DATA_KEY_BYTES = 32
RANDOM_BYTES = 2 * NONCE_BYTES + DATA_KEY_BYTES

# The purposes. A label is never changed or used again.
PEPPER = "tokenmarket api-key digest v1"
KEY_ENCRYPTION = "tokenmarket credential key-encryption v1"
JOURNAL_MAC = "tokenmarket journal mac v1"
WEBHOOKS = "tokenmarket webhooks v1"
COOKIES = "tokenmarket cookies v1"
FILE_URLS = "tokenmarket file urls v1"
NOTICE_URLS = "tokenmarket notice urls v1"
SESSIONS = "tokenmarket sessions v1"
LINKS = "tokenmarket one-time links v1"
SIGN_UP_LINKS = "tokenmarket sign-up links v1"
SECOND_FACTOR = "tokenmarket second factor v1"
PLAYGROUND_KEYS = "tokenmarket playground keys v1"
RECOVERY_CODES = "tokenmarket recovery codes v1"
TEST_PAYMENTS = "tokenmarket test payments v1"
CONTENTS = "tokenmarket content keys v1"
REDEEM_CODES = "tokenmarket redeem codes v1"
FINGERPRINT = "tokenmarket root fingerprint v1"


class SealBroken(Exception):
    """The value does not open: other root, moved to another row, or changed."""


class Root:
    """The secret that all others are derived from; its repr never shows it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) < DATA_KEY_BYTES:
            raise ValueError("the root secret needs at least 32 bytes")
        self._secret = secret

    def derive(self, label: str) -> bytes:
        """32 bytes for one purpose; ``label`` is one of this module's constants."""
        kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=label.encode())
        return kdf.derive(self._secret)

    def fingerprint(self) -> str:
        """Tells two roots apart and reveals neither; kept in the database to notice a mix-up."""
        return self.derive(FINGERPRINT)[:16].hex()

    def __repr__(self) -> str:
        return "Root(***)"


def seal(secret: bytes, kek: bytes, associated: bytes, randomness: bytes) -> tuple[bytes, bytes]:
    """(wrapped data key, sealed value); ``randomness`` is RANDOM_BYTES fresh bytes."""
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"sealing takes {RANDOM_BYTES} random bytes, not {len(randomness)}")
    data_key = randomness[:DATA_KEY_BYTES]
    wrap_nonce = randomness[DATA_KEY_BYTES : DATA_KEY_BYTES + NONCE_BYTES]
    seal_nonce = randomness[DATA_KEY_BYTES + NONCE_BYTES :]
    wrapped = wrap_nonce + AESGCM(kek).encrypt(wrap_nonce, data_key, associated)
    sealed = seal_nonce + AESGCM(data_key).encrypt(seal_nonce, secret, associated)
    return wrapped, sealed


def unseal(wrapped: bytes, sealed: bytes, kek: bytes, associated: bytes) -> bytes:
    """The secret, or SealBroken."""
    try:
        data_key = AESGCM(kek).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], associated)
        return AESGCM(data_key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except (InvalidTag, ValueError) as error:
        raise SealBroken("the sealed value does not open with this root secret") from error
