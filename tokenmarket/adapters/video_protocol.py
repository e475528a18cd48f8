"""What a video adapter is: pure functions between a task of ours and a provider's task.

    build -> (send) -> accepted          create: the provider's id, and what is needed to ask again
    poll  -> (send) -> observe           any number of times, hours apart, after restarts
    cancel -> (send) -> cancelled        where the provider can
    reconcile -> (send) -> reconciled    the create may or may not have arrived: find out

The engine (``tasks.py``) sends, waits, keeps and decides; an adapter reads no clock and keeps
nothing. What it must remember about a task goes into ``Accepted.ref`` and comes back in
``Handle.ref``.

What a reader must know:

* Nothing may be rendered twice. Only a proven refusal of the create is tried elsewhere: a raised
  UpstreamError, or an answer for which ``not_accepted`` is true. All else is "perhaps accepted".
* An upstream's words are mapped by exact tables. A state that is not in the table is ``Unknown``:
  the task stays where it was, nothing is charged and nothing is refunded until the deadline.
* A success without a file is not a success: ``Failed`` (code "moderated_output" where the answer
  says so), or ``Unknown`` when the answer does not make sense.
* Every field of an answer may be missing, of another type, or huge. Numbers are checked here;
  ``usage`` is sanitized against the bound by the engine.
* What the upstream cannot express goes to ``UpstreamRequest.dropped``, or is refused with ApiError
  (REQUEST_002) when it changes the price or the result (audio, last_frame, seconds).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import msgspec

from tokenmarket.adapters.protocol import Head, InputMode, Produced, UpstreamRequest
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.request import ResolvedVideo

# The public codes of a task's error (video_contract.md section 2.5).
FailureCode = Literal[
    "content_policy_violation",  # the prompt or an input was refused
    "moderated_output",  # rendered, then withheld
    "invalid_input_media",  # a picture or clip could not be read or has a wrong form
    "upstream_capacity",
    "upstream_error",
    "upstream_timeout",
    "insufficient_upstream_balance",  # shown to tenants as upstream_error
]


class ProviderCost(msgspec.Struct, frozen=True):
    """What the provider says it took from our account there. ``amount`` is its decimal string."""

    amount: str
    currency: str = "USD"  # or CNY, or "credit", "unit": the provider's own


class Handle(msgspec.Struct, frozen=True):
    """A task as the engine knows it. ``upstream_id`` is "" until the create was answered.

    ``request`` is the order as it was sent (its uploads may be gone). ``state`` is ours
    (submit_unknown, queued, running, canceling …), ``submitted_s`` unix time of the create.
    """

    task_id: str  # ours, and the client reference that ``build`` gave to the provider
    request: ResolvedVideo
    submitted_s: int
    upstream_id: str = ""
    ref: dict[str, str] = {}
    state: str = "queued"


# ------------------------------------------------------------------------------- what was observed


class Output(msgspec.Struct, frozen=True):
    """One file of a finished task. ``number`` counts the videos; a thumbnail or last frame has the
    number of its video. Measures are the upstream's word, None when it says nothing."""

    file: Produced
    kind: Literal["video", "thumbnail", "last_frame"] = "video"
    number: int = 0
    width: int | None = None
    height: int | None = None
    duration_ms: int | None = None
    fps: int | None = None
    has_audio: bool | None = None
    expires_s: int | None = None  # unix time at which the upstream's address dies


class Running(msgspec.Struct, frozen=True):
    """Not done. ``progress`` 0-100 as the upstream says, None when it says nothing."""

    queued: bool = False  # True: it waits there, nothing is rendered yet
    progress: int | None = None
    provider_state: str = ""
    poll_after_s: float | None = None  # only if the upstream asks for a pause


class Succeeded(msgspec.Struct, frozen=True):
    """Done, with at least one video among ``outputs``.

    ``usage`` is what the upstream reports in units that a price row can have (video_ms,
    input_video_ms, video_tokens, output_tokens, images); None: the engine bills what was delivered
    (``capabilities.delivered_usage``). ``attributes`` of the usage may correct price attributes
    that only the answer knows (the resolution really made). ``facts`` are shown on the task:
    seed, size, seconds, resolution, aspect_ratio, fps.
    """

    outputs: tuple[Output, ...]
    usage: Usage | None = None
    cost: ProviderCost | None = None
    facts: dict[str, object] = {}
    provider_state: str = ""
    warnings: tuple[str, ...] = ()


class Failed(msgspec.Struct, frozen=True):
    """Over, without a result. The caller pays nothing; ``cost`` is what the provider keeps."""

    code: FailureCode
    message: str
    provider_code: str | None = None
    retryable: bool = False  # would the same order have a chance later?
    cost: ProviderCost | None = None
    provider_state: str = ""


class Ended(msgspec.Struct, frozen=True):
    """Over without a result and without a failure: cancelled, or expired, at the provider."""

    state: Literal["cancelled", "expired"]
    cost: ProviderCost | None = None
    provider_state: str = ""


class Missing(msgspec.Struct, frozen=True):
    """The upstream does not know the task. Within a minute of the create it will: wait."""

    note: str = ""


class Unknown(msgspec.Struct, frozen=True):
    """An answer that says nothing about the task: a new state, garbage, an overloaded server."""

    note: str
    provider_state: str = ""
    poll_after_s: float | None = None


Observation = Running | Succeeded | Failed | Ended | Missing | Unknown


class Fetch(msgspec.Struct, frozen=True):
    """One more exchange is needed (the file's address is behind another call): send ``request``
    after ``delay_s``; ``read`` takes whatever comes back, with any status."""

    request: UpstreamRequest
    read: Callable[[Head, bytes], Observation | Fetch]
    delay_s: float = 0.0


class Before(msgspec.Struct, frozen=True):
    """Something harmless to send before the create, an upload: ``then`` reads a 2xx answer (others
    go to ``explain``) and gives the create, or the next such step. Failing here costs nothing."""

    request: UpstreamRequest
    then: Callable[[Head, bytes], UpstreamRequest | Before]


class Accepted(msgspec.Struct, frozen=True):
    """The provider has the task. ``ref`` is what else is needed to ask for it (a polling address,
    the family of the path); never a credential. ``observation`` where the answer says more."""

    upstream_id: str
    ref: dict[str, str] = {}
    observation: Observation = Running(queued=True)
    cost: ProviderCost | None = None  # a quote
    warnings: tuple[str, ...] = ()


class Absent(msgspec.Struct, frozen=True):
    """Proven: the provider has no such task. It may be created again."""


# --------------------------------------------------------------------------------------- adapter


class VideoAdapter(ABC):
    """Video of one provider. Instances are module constants named ``VIDEO`` without state.

    ``inputs``: how the provider takes the caller's files (``request.inputs``). "bytes": the engine
    has fetched every address before ``build``; "url": every upload has been given an address of
    ours; "any": as the caller gave them.
    ``knows_sources``: an edit or extension of what this provider made itself may be told by the id
    that it had there (``source_upstream_id``); False: always by the address of our copy.
    ``deadline_s``: no end after so long is ``expired``; the model's capability of that name wins.
    ``poll_every_s``: the pause between two polls of one task.
    """

    inputs: ClassVar[InputMode] = "any"
    knows_sources: ClassVar[bool] = False
    deadline_s: ClassVar[int] = 1800
    poll_every_s: ClassVar[float] = 5.0

    @abstractmethod
    def build(
        self,
        request: ResolvedVideo,
        route: Route,
        *,
        task_id: str,
        now_s: int,
        callback_url: str | None,
    ) -> UpstreamRequest | Before:
        """The create. ``task_id`` goes into whatever field of the provider finds a task again.

        ``callback_url`` is an address of ours for the provider's notices (they are hints: the
        engine polls on one), None: register none. Raises ApiError(REQUEST_001/002).
        """

    @abstractmethod
    def accepted(
        self, request: ResolvedVideo, route: Route, head: Head, body: bytes
    ) -> Accepted | Unknown:
        """A 2xx answer to the create. Raises UpstreamError for an explicit refusal inside it;
        an answer without a usable id is ``Unknown``: perhaps accepted."""

    @abstractmethod
    def poll(self, handle: Handle, route: Route) -> UpstreamRequest:
        """How to ask for the task."""

    @abstractmethod
    def observe(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        """A 2xx answer to the poll. Never raises."""

    @abstractmethod
    def explain(self, head: Head, body: bytes) -> UpstreamError:
        """An answer that is not 2xx, to any of the calls. Never raises."""

    def refused(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation | Fetch:
        """An answer to the poll that is not 2xx. Override where a status says how the task ended.
        By default only "not found" means anything: a poll that fails is no failed task."""
        error = self.explain(head, body)
        if error.kind == "not_found":
            return Missing(error.message)
        return Unknown(error.message, poll_after_s=error.retry_after_s)

    def not_accepted(self, head: Head, body: bytes) -> bool:
        """Whether an answer to the create that is not 2xx proves that nothing was begun. A server
        error may come after the task was taken; override where the provider says otherwise."""
        return head.status < 500

    def expected_s(self, request: ResolvedVideo, route: Route) -> int:
        """How long rendering usually takes; polling hints are made from it."""
        return 60 * request.n

    # --- what not every provider has --------------------------------------------------------------

    def cancel(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        """How to cancel; None where that cannot be asked in ``handle.state`` (the engine has just
        polled). Beware of a DELETE that removes what is finished."""
        return None

    def cancelled(self, handle: Handle, route: Route, head: Head, body: bytes) -> Observation:
        """Any answer to the cancel. ``Ended("cancelled")`` only where it proves that; otherwise
        ``Unknown``, and the next poll decides."""
        return Unknown(f"the cancel was answered {head.status}")

    def reconcile(self, handle: Handle, route: Route) -> UpstreamRequest | None:
        """How to look for a create whose answer never came, by ``handle.task_id`` or by time and
        model; None where the provider has no such question: the hold lives to the deadline."""
        return None

    def reconciled(
        self, handle: Handle, route: Route, head: Head, body: bytes
    ) -> Accepted | Absent | Unknown:
        """Any answer to ``reconcile``. ``Absent`` only where the provider's answer proves it: an
        exact search by our id. A search by time and model that finds nothing, or more than one,
        proves nothing."""
        return Unknown("not read")
