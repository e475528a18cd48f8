"""The events that an organisation's webhook endpoints can be told of, and the body of one.

The texts are English msgids for the pages. Signing and retries are ``core/video/webhooks.py``'s.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tokenmarket.core.texts import N_

EVENT_TYPES: dict[str, str] = {
    "video.completed": N_("A video is ready."),
    "video.failed": N_("A video could not be made."),
    "video.cancelled": N_("A video was cancelled."),
    "balance.low": N_("The balance has fallen below the alert's threshold."),
    "key.created": N_("An API key was made, by hand or by rolling another one."),
    "key.disabled": N_("An API key was disabled."),
    "key.expiring": N_("An API key expires within seven days."),
}
TEST_TYPE = "webhook.test"  # sent on demand only, to one endpoint, whatever it wants

_encode = msgspec.json.Encoder().encode


def event_body(event_id: str, kind: str, created_s: int, data: Mapping[str, object]) -> str:
    """What is sent, byte by byte."""
    event = {
        "id": event_id,
        "object": "event",
        "type": kind,
        "created_at": created_s,
        "data": data,
    }
    return _encode(event).decode()
