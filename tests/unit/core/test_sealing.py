"""Sealed values open only with their root, in their row, unchanged."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core import sealing
from tokenmarket.core.sealing import Root, SealBroken

KEK = Root(b"r" * 32).derive(sealing.KEY_ENCRYPTION)


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_what_was_sealed_opens(secret: bytes, associated: bytes) -> None:
    wrapped, sealed = sealing.seal(secret, KEK, associated, os.urandom(sealing.RANDOM_BYTES))
    assert sealing.unseal(wrapped, sealed, KEK, associated) == secret
    assert len(secret) < 4 or secret not in wrapped + sealed


@given(st.data())
def test_any_changed_bit_is_noticed(data: st.DataObject) -> None:
    wrapped, sealed = sealing.seal(b"sk-secret", KEK, b"row", bytes(sealing.RANDOM_BYTES))
    which = data.draw(st.sampled_from([wrapped, sealed]))
    bit = data.draw(st.integers(min_value=0, max_value=len(which) * 8 - 1))
    broken = bytearray(which)
    broken[bit // 8] ^= 1 << bit % 8
    pair = (bytes(broken), sealed) if which is wrapped else (wrapped, bytes(broken))
    with pytest.raises(SealBroken):
        sealing.unseal(*pair, KEK, b"row")


@pytest.mark.parametrize(
    ("wrapped_cut", "sealed_cut", "kek", "associated"),
    [
        (0, 0, KEK, b"other row"),
        (0, 0, b"x" * 32, b"row"),
        (0, 0, b"short", b"row"),
        (50, 0, KEK, b"row"),
        (60, 0, KEK, b"row"),
        (0, 25, KEK, b"row"),
    ],
)
def test_elsewhere_it_does_not_open(
    wrapped_cut: int, sealed_cut: int, kek: bytes, associated: bytes
) -> None:
    wrapped, sealed = sealing.seal(b"sk-secret", KEK, b"row", bytes(sealing.RANDOM_BYTES))
    with pytest.raises(SealBroken):
        sealing.unseal(
            wrapped[: len(wrapped) - wrapped_cut],
            sealed[: len(sealed) - sealed_cut],
            kek,
            associated,
        )


def test_every_purpose_has_its_own_key() -> None:
    root = Root(os.urandom(32))
    labels = [
        value
        for name, value in vars(sealing).items()
        if name.isupper() and isinstance(value, str) and value.startswith("tokenmarket ")
    ]
    assert len(labels) >= 6
    assert len({root.derive(label) for label in labels}) == len(labels)
    assert root.fingerprint() != Root(os.urandom(32)).fingerprint()


def test_a_root_shows_nothing_and_is_never_short() -> None:
    assert "7777" not in repr(Root(b"7" * 32))
    with pytest.raises(ValueError, match="32 bytes"):
        Root(b"7" * 31)
