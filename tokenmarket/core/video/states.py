"""The states of a video task, as each kind of client reads them (section 2.3 of the contract).

The steps between states are ``core/tasks.py``'s. On ``/videos`` only OpenAI's four words are ever
shown: the SDK's ``poll()`` takes any other for the end of the task.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tokenmarket.core.tasks import LIVE, TERMINAL

OpenAIStatus = Literal["queued", "in_progress", "completed", "failed"]


class Words(msgspec.Struct, frozen=True):
    """One state in four vocabularies."""

    openai: OpenAIStatus
    task_dto: Literal["SUBMITTED", "QUEUED", "IN_PROGRESS", "SUCCESS", "FAILURE"]  # new-api's
    simple: Literal["queued", "processing", "succeeded", "failed"]  # its Gemini branch
    openrouter: Literal["pending", "in_progress", "completed", "failed", "cancelled", "expired"]
    error_code: str | None = None  # what OpenAI's shape says where it has no word for the end


WORDS: dict[str, Words] = {
    "accepted": Words("queued", "SUBMITTED", "queued", "pending"),
    "submitting": Words("queued", "SUBMITTED", "queued", "pending"),
    "submit_unknown": Words("queued", "SUBMITTED", "queued", "pending"),
    "queued": Words("queued", "QUEUED", "queued", "pending"),
    "running": Words("in_progress", "IN_PROGRESS", "processing", "in_progress"),
    "finalizing": Words("in_progress", "IN_PROGRESS", "processing", "in_progress"),
    "canceling": Words("in_progress", "IN_PROGRESS", "processing", "in_progress"),
    "succeeded": Words("completed", "SUCCESS", "succeeded", "completed"),
    "failed": Words("failed", "FAILURE", "failed", "failed"),
    "rejected": Words("failed", "FAILURE", "failed", "failed"),
    "cancelled": Words("failed", "FAILURE", "failed", "cancelled", "cancelled"),
    "expired": Words("failed", "FAILURE", "failed", "expired", "expired"),
}

ALL_STATES = (*LIVE, *sorted(TERMINAL))


def states_shown_as(status: str) -> tuple[str, ...]:
    """The states that a list's ``?status=`` means: one of ours, or OpenAI's word for several."""
    if status in WORDS and status not in ("queued", "failed"):
        return (status,)
    return tuple(state for state in ALL_STATES if WORDS[state].openai == status)


# Late news from an upstream: what it says about a task of ours that is over changes nothing.
EVENTS: dict[str, str] = {
    "succeeded": "video.completed",
    "failed": "video.failed",
    "expired": "video.failed",
    "rejected": "video.failed",
    "cancelled": "video.cancelled",
}
