"""T1.1, bounded for every run; TOKENMARKET_MONEY_EXAMPLES=4000 makes it the nightly one."""

from __future__ import annotations

import logging
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.money_machine import MoneyMachine

EXAMPLES = int(os.environ.get("TOKENMARKET_MONEY_EXAMPLES", "25"))


@pytest.mark.timeout(0 if EXAMPLES > 25 else 110)
def test_whatever_happens_the_books_are_right() -> None:
    quiet = logging.getLogger("tokenmarket")
    before = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        _run()
    finally:
        quiet.setLevel(before)


def _run() -> None:
    run_state_machine_as_test(
        MoneyMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            derandomize=EXAMPLES == 25,
            database=None,
            phases=[Phase.generate, Phase.shrink] if EXAMPLES > 25 else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
