"""Ids ascend with time, in one worker strictly, and are never repeated."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core import ids

NOW_US = 1_795_392_000_000_000


@given(st.lists(st.integers(min_value=0, max_value=2**52), min_size=2, max_size=50))
def test_request_ids_ascend_whatever_the_clock_does(times: list[int]) -> None:
    request_ids = ids.RequestIds(os.urandom)
    made = [request_ids.next(now_us) for now_us in times]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(ids.is_id(one, "req") for one in made)


def test_randomness_is_drawn_in_pools_and_used_once() -> None:
    drawn: list[int] = []

    def random_bytes(count: int) -> bytes:
        drawn.append(count)
        return os.urandom(count)

    request_ids = ids.RequestIds(random_bytes)
    tails = {request_ids.next(NOW_US)[-20:] for _ in range(1025)}
    assert len(tails) == 1025, "80 fresh random bits in every id"
    assert len(drawn) == 3


def test_ids_of_all_kinds_sort_by_time() -> None:
    early = ids.new_id("key", NOW_US, b"\xff" * 10)
    late = ids.new_id("key", NOW_US + 1, b"\x00" * 10)
    assert early < late
    assert ids.id_time_us(late) == NOW_US + 1
    assert ids.new_id("org", 0, bytes(10)) == "org_" + "0" * 34


@pytest.mark.parametrize(
    "text", ["", "key_", "key", "KEY_" + "0" * 34, "key_" + "0" * 33, "key_" + "0" * 35,
             "key_" + "g" * 34, "key_" + "0" * 34 + "\n", "key_" + "٠" * 34, "org_" + "0" * 34],
)  # fmt: skip
def test_other_texts_are_not_ids(text: str) -> None:
    assert not ids.is_id(text, "key")


def test_too_little_randomness_is_refused() -> None:
    with pytest.raises(ValueError, match="10 random bytes"):
        ids.new_id("key", NOW_US, b"")
