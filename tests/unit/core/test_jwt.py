"""Signed tokens, checked by ``cryptography``."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tokenmarket.core.jwt import hs256, rs256, rsa_key

CLAIMS = {"iss": "ak", "exp": 1800, "nbf": -5}


def parts(token: str) -> tuple[dict[str, object], dict[str, object], bytes, bytes]:
    """(header, claims, what was signed, signature)."""
    assert "=" not in token
    pieces = [base64.urlsafe_b64decode(part + "==") for part in token.split(".")]
    signed = token.rpartition(".")[0].encode()
    return json.loads(pieces[0]), json.loads(pieces[1]), signed, pieces[2]


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def test_hs256() -> None:
    header, claims, signed, mac = parts(hs256(CLAIMS, "secret"))
    assert header == {"alg": "HS256", "typ": "JWT"}
    assert claims == CLAIMS
    assert mac == hmac.new(b"secret", signed, hashlib.sha256).digest()


def test_a_token_known_from_elsewhere() -> None:
    """The example on the front page of jwt.io."""
    claims = {"sub": "1234567890", "name": "John Doe", "iat": 1516239022}
    assert hs256(claims, "your-256-bit-secret") == (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
        ".eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ"
        ".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"
    )


def test_rs256() -> None:
    key = rsa.generate_private_key(65537, 2048)
    header, claims, signed, signature = parts(rs256(CLAIMS, rsa_key(pem_of(key)), "k1"))
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert claims == CLAIMS
    key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    assert "kid" not in parts(rs256(CLAIMS, key))[0]


def test_other_keys_are_refused_without_showing_them() -> None:
    for pem in (
        "",
        "secret",
        "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n",
        pem_of(ec.generate_private_key(ec.SECP256R1())),
        pem_of(rsa.generate_private_key(65537, 1024)),
    ):
        with pytest.raises(ValueError, match=r"private key|RSA key") as raised:
            rsa_key(pem)
        assert "secret" not in str(raised.value)
