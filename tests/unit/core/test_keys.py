"""The format of API keys, and that garbage of any kind is refused without an exception."""

import os
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core import keys

KEY = keys.generate("live", bytes(range(32)))


@given(st.binary(min_size=32, max_size=32), st.sampled_from(keys.KINDS))
def test_every_generated_key_is_wellformed(randomness: bytes, kind: str) -> None:
    token = keys.generate(kind, randomness)
    assert re.fullmatch(keys.KEY_PATTERN, token)
    assert keys.is_wellformed(token)


def test_the_check_sum_is_crc32_in_base62() -> None:
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for character in KEY[-6:]:
        number = number * 62 + alphabet.index(character)
    assert number == zlib.crc32(KEY[:-6].encode())


def test_every_single_changed_character_is_noticed() -> None:
    for at in range(len(KEY)):
        for replacement in "0Az_":
            changed = KEY[:at] + replacement + KEY[at + 1 :]
            assert keys.is_wellformed(changed) == (changed == KEY), changed


@given(st.text(max_size=80))
def test_garbage_is_refused_quietly(text: str) -> None:
    assert not keys.is_wellformed(text)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param(KEY + "\n", id="line end"),
        pytest.param(" " + KEY, id="space"),
        pytest.param(KEY[:-1], id="too short"),
        pytest.param(KEY + "0", id="too long"),
        pytest.param(KEY.upper(), id="upper case"),
        pytest.param(KEY.replace("tm_live_", "tm_prod_"), id="unknown kind"),
        pytest.param("tm_live_" + "\u0661" * 38, id="digits that are not ASCII"),
        pytest.param("\ud800" * 46, id="surrogates"),
        pytest.param("x" * 10_000_000, id="huge"),
    ],
)
def test_near_misses_are_refused(token: str) -> None:
    assert not keys.is_wellformed(token)


def test_different_randomness_gives_different_keys() -> None:
    made = {keys.generate("live", os.urandom(32)) for _ in range(500)}
    assert len(made) == 500


def test_the_digest_depends_on_key_and_pepper() -> None:
    assert len(keys.digest(KEY, b"a" * 32)) == 32
    assert keys.digest(KEY, b"a" * 32) != keys.digest(KEY, b"b" * 32)
    assert keys.digest(KEY, b"a" * 32) != keys.digest(KEY + "x", b"a" * 32)


def test_what_may_be_shown_is_not_enough_to_guess() -> None:
    shown = keys.hint(keys.prefix(KEY), KEY[-4:])
    assert shown.startswith("tm_live_")
    assert len(shown) == len("tm_live_") + 4 + 1 + 4


@pytest.mark.parametrize(("kind", "size"), [("prod", 32), ("live", 31), ("live", 33), ("live", 0)])
def test_wrong_use_is_refused(kind: str, size: int) -> None:
    with pytest.raises(ValueError, match="a key"):
        keys.generate(kind, bytes(size))
