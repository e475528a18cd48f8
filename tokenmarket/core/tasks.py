"""The states of an asynchronous task and the steps between them (``video_contract.md`` 2.3).

Terminal states never change. Money follows the state: a live task has its hold, a terminal one has
not, so a step into a terminal state is always also a settlement.
"""

from __future__ import annotations

LIVE = (
    "accepted",  # hold taken, nothing sent
    "submitting",  # perhaps sent
    "submit_unknown",  # sent, and nobody knows whether the upstream took it
    "queued",
    "running",
    "canceling",
    "finalizing",  # done upstream, its bytes are being copied
)
TERMINAL = frozenset({"succeeded", "failed", "cancelled", "expired", "rejected"})

_STEPS: dict[str, frozenset[str]] = {
    "accepted": frozenset({"submitting", "rejected", "failed", "cancelled", "expired"}),
    # back to accepted: refused before anything can have been done, another route may be tried
    "submitting": frozenset(
        {"accepted", "submit_unknown", "queued", "running", "finalizing"} | TERMINAL
    ),
    "submit_unknown": frozenset({"queued", "running", "canceling", "finalizing"} | TERMINAL),
    "queued": frozenset({"running", "canceling", "finalizing"} | TERMINAL),
    "running": frozenset({"queued", "canceling", "finalizing"} | TERMINAL),
    # an upstream that does not cancel what runs goes on and may still succeed
    "canceling": frozenset({"queued", "running", "finalizing"} | TERMINAL),
    "finalizing": frozenset({"succeeded", "failed", "cancelled", "expired"}),
}


def may_step(state: str, to_state: str) -> bool:
    """Whether the step exists; a live task may stay where it is, with other changes."""
    steps = _STEPS.get(state)
    return steps is not None and (to_state == state or to_state in steps)
