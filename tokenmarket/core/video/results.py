"""What the engine hands to the web, and when a file cannot be had."""

from __future__ import annotations

import msgspec

from tokenmarket.core.errors import ApiError
from tokenmarket.core.video.projection import VideoView, poll_hint_ms
from tokenmarket.core.wording import say


class Created(msgspec.Struct, frozen=True):
    """The answer to a create. ``head`` are further header lines, each ending in CRLF (attempts,
    provider, dropped parameters). ``replayed``: the idempotency key named this task before."""

    view: VideoView
    replayed: bool = False
    head: bytes = b""


class Content(msgspec.Struct, frozen=True):
    """A file to send: ``key`` in our store, or ``location``, where it lies instead."""

    key: str = ""
    content_type: str = "video/mp4"
    filename: str = "video.mp4"
    location: str | None = None


def not_found(task_id: str) -> ApiError:
    """The same for what never was and for another organisation's."""
    return ApiError(
        "REQUEST_004",
        say("There is no video {task_id!r}.", task_id=task_id[:64]),
        reason="video_not_found",
    )


def gone() -> ApiError:
    """It was made, and its bytes are not kept any more."""
    return ApiError("REQUEST_009", "This file is not kept any more.", reason="video_expired")


def check_ready(view: VideoView, variant: str, index: int) -> None:
    """ApiError unless the file can be fetched now: 409 not ready, or ended without one; 410 gone;
    404 for what this video does not have."""
    if view.live:
        raise ApiError(
            "REQUEST_008",
            say("The video is {state}; its file is there once it is completed.", state=view.state),
            reason="video_not_ready",
            retry_after_s=poll_hint_ms(view) / 1000,
        )
    if view.state != "succeeded":
        raise ApiError(
            "REQUEST_008",
            say("The task is {state}: there is no file.", state=view.state),
            reason="video_failed",
        )
    if view.expires_s is not None and view.expires_s <= view.now_s:
        raise gone()
    output = next((one for one in view.outputs if one.index == index), None)
    if output is None:
        raise ApiError(
            "REQUEST_004", say("There is no output {index}.", index=index), param="index"
        )
    lacking = {
        "thumbnail": output.thumbnail_url is None,
        "last_frame": output.last_frame_url is None,
        "spritesheet": True,  # nobody makes them since OpenAI's service ended
    }
    if lacking.get(variant, False):
        raise ApiError(
            "REQUEST_004",
            say("This video has no {variant}.", variant=variant),
            param="variant",
            reason="no_variant",
        )
