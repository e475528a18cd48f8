"""``Answers``: all answers of a turn pass each stage together, and none disturbs another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from tokenmarket.lane.answers import TOGETHER_MAX, Answers
from tokenmarket.lane.call import Call
from tokenmarket.telemetry import Telemetry


class Crashes:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def crash(self, request_id: str, error: BaseException) -> None:
        self.seen.append((request_id, str(error)))


class Scripted:
    """A call that writes down its stages; ``does`` may fail in one of them."""

    def __init__(self, name: str, log: list[str], does: Callable[[str], bool] | None = None):
        self.request_id = name
        self.lane: object = "the lane"
        self._log = log
        self._does = does

    def stage(self, name: str) -> bool:
        self._log.append(f"{self.request_id} {name}")
        return self._does is None or self._does(name)

    def hand_over(self) -> None:
        self.lane = None
        self._log.append(f"{self.request_id} to the rooms")


def answers(*names: str, then: Callable[[Call], None] | None = None) -> tuple[Answers, Crashes]:
    def stage(name: str) -> Callable[[Call], bool]:
        return lambda call: cast("Scripted", call).stage(name)

    crashes = Crashes()
    return Answers([stage(name) for name in names], cast("Telemetry", crashes), then), crashes


async def end_of_turn(found: Answers, calls: list[Scripted]) -> None:
    for call in calls:
        found.add(cast("Call", call))
    await asyncio.sleep(0)


async def test_every_stage_is_passed_by_all_before_the_next() -> None:
    log: list[str] = []
    found, _ = answers("read", "settle")
    await end_of_turn(found, [Scripted("a", log), Scripted("b", log)])
    assert log == ["a read", "b read", "a settle", "b settle"]
    await end_of_turn(found, [Scripted("c", log)])
    assert log[4:] == ["c read", "c settle"]


async def test_who_has_passed_all_stages_goes_on_in_the_same_turn() -> None:
    log: list[str] = []
    told, _ = answers("tell")
    found, _ = answers("settle", "respond", then=told.add)
    calls = [Scripted("a", log), Scripted("b", log, lambda name: name != "settle")]
    await end_of_turn(found, [*calls, Scripted("c", log)])
    assert log[-4:] == ["a respond", "c respond", "a tell", "c tell"]
    assert "b tell" not in log


async def test_who_is_not_plain_goes_to_the_rooms_and_the_others_go_on() -> None:
    log: list[str] = []
    found, crashes = answers("read", "settle")
    calls = [Scripted("a", log, lambda name: name != "read"), Scripted("b", log)]
    await end_of_turn(found, calls)
    assert log == ["a read", "a to the rooms", "b read", "b settle"]
    assert crashes.seen == []


async def test_a_bug_with_one_answer_is_told_and_costs_the_others_nothing() -> None:
    def breaks(name: str) -> bool:
        raise RuntimeError(f"in {name}")

    log: list[str] = []
    found, crashes = answers("read", "settle")
    await end_of_turn(found, [Scripted("a", log), Scripted("b", log, breaks), Scripted("c", log)])
    assert crashes.seen == [("b", "in read")]
    assert log[-3:] == ["c read", "a settle", "c settle"]
    assert log.count("b to the rooms") == 1


async def test_who_left_the_lane_before_the_end_of_the_turn_is_not_touched() -> None:
    log: list[str] = []
    found, _ = answers("read", "settle")
    gone, stays = Scripted("gone", log), Scripted("stays", log)
    found.add(cast("Call", gone))
    found.add(cast("Call", stays))
    gone.hand_over()  # its client has left
    await asyncio.sleep(0)
    assert log == ["gone to the rooms", "stays read", "stays settle"]


async def test_a_large_turn_goes_in_portions() -> None:
    log: list[str] = []
    found, _ = answers("read", "settle")
    await end_of_turn(found, [Scripted(str(n), log) for n in range(TOGETHER_MAX + 1)])
    assert log[TOGETHER_MAX] == "0 settle"
    assert log[-2:] == [f"{TOGETHER_MAX} read", f"{TOGETHER_MAX} settle"]
