"""Every state in every vocabulary, and walks through the machine."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.tasks import LIVE, TERMINAL, may_step
from tokenmarket.core.video.states import (
    ALL_STATES,
    EVENTS,
    WORDS,
    OpenAIStatus,
    states_shown_as,
)

OPENAI = set(get_args(OpenAIStatus))


def test_every_state_has_its_words() -> None:
    assert set(WORDS) == set(ALL_STATES) == {*LIVE, *TERMINAL}
    assert set(EVENTS) == TERMINAL


def test_openai_s_poll_stops_exactly_at_our_ends() -> None:
    # openai-python: poll() goes on while the status is queued or in_progress (contract 0.2).
    for state, words in WORDS.items():
        assert words.openai in OPENAI
        assert (words.openai in ("queued", "in_progress")) == (state in LIVE), state
        assert (words.task_dto in ("SUCCESS", "FAILURE")) == (state in TERMINAL), state
        assert (words.simple in ("succeeded", "failed")) == (state in TERMINAL), state
        assert (words.openrouter in ("pending", "in_progress")) == (state in LIVE), state


def test_only_a_success_looks_like_one() -> None:
    for vocabulary, success in (
        ("openai", "completed"),
        ("task_dto", "SUCCESS"),
        ("simple", "succeeded"),
        ("openrouter", "completed"),
    ):
        shown = {state for state, words in WORDS.items() if getattr(words, vocabulary) == success}
        assert shown == {"succeeded"}, vocabulary


def test_states_of_a_list_s_status() -> None:
    assert states_shown_as("failed") == ("cancelled", "expired", "failed", "rejected")
    assert states_shown_as("completed") == states_shown_as("succeeded") == ("succeeded",)
    assert states_shown_as("cancelled") == ("cancelled",)
    assert "submit_unknown" in states_shown_as("queued")
    assert states_shown_as("done") == ()
    together = [state for status in OPENAI for state in states_shown_as(status)]
    assert sorted(together) == sorted(ALL_STATES)


@given(st.lists(st.sampled_from(ALL_STATES), max_size=40))
def test_a_walk_ends_at_most_once_and_stays_there(wishes: list[str]) -> None:
    state, ended, statuses = "accepted", "", ["queued"]
    for wish in wishes:
        if not may_step(state, wish):
            continue
        assert not ended, f"{ended} -> {wish}"
        state = wish
        statuses.append(WORDS[state].openai)
        if state in TERMINAL:
            ended = state
    assert statuses.count("completed") + statuses.count("failed") == (1 if ended else 0)


def test_the_end_can_be_reached_from_everywhere() -> None:
    for state in LIVE:
        assert any(may_step(state, end) for end in TERMINAL), state
    for end in TERMINAL:
        assert not any(may_step(end, state) for state in ALL_STATES)
