"""JSON Web Tokens that we sign to show who we are at a provider (RFC 7515, 7519). None is read."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

Claims = Mapping[str, str | int]

RSA_BITS_MIN = 2048


def hs256(claims: Claims, secret: str) -> str:
    """Signed with a shared secret."""
    signed = _signed({"alg": "HS256", "typ": "JWT"}, claims)
    mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + _base64url(mac)).decode()


def rs256(claims: Claims, key: RSAPrivateKey, key_id: str | None = None) -> str:
    """Signed with an RSA key; ``key_id`` tells the reader which."""
    header = {"alg": "RS256", "typ": "JWT"}
    if key_id:
        header["kid"] = key_id
    signed = _signed(header, claims)
    return (signed + b"." + _base64url(key.sign(signed, PKCS1v15(), SHA256()))).decode()


def rsa_key(pem: str) -> RSAPrivateKey:
    """Raises ValueError, which never shows the key, for anything but an RSA key of 2048 bits."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except Exception:  # ValueError, TypeError, UnsupportedAlgorithm: whatever is wrong with it
        raise ValueError("not a private key in PEM without a password") from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < RSA_BITS_MIN:
        raise ValueError(f"not an RSA key of at least {RSA_BITS_MIN} bits")
    return key


def _signed(header: Mapping[str, str], claims: Claims) -> bytes:
    return _base64url(msgspec.json.encode(header)) + b"." + _base64url(msgspec.json.encode(claims))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
