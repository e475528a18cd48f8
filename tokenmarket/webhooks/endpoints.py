"""What people do to an organisation's webhook endpoints, checked before it is written.

Every function is part of the caller's transaction, finds things by (organisation, id) and leaves a
line in the audit trail. Whoever calls wakes the deliverer afterwards (``service.py``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import msgspec

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.core import ids
from tokenmarket.core.fetch_url import public_target
from tokenmarket.core.video.webhooks import SECRET_BYTES_NEW, new_secret
from tokenmarket.core.webhook_events import EVENT_TYPES, TEST_TYPE, event_body
from tokenmarket.core.wording import said_by, say
from tokenmarket.store import accounts as rows
from tokenmarket.store import webhook_endpoints, webhook_sending
from tokenmarket.store.database import Connection
from tokenmarket.store.webhook_endpoints import EndpointRow, NewEvent

ENDPOINTS_MAX = 20
DESCRIPTION_CHARS_MAX = 200
OVERLAP_S = 86_400  # unless another is asked for
OVERLAP_S_MAX = 30 * 86_400
_US = 1_000_000


class WrongEntry(Refused):
    """``param``: the entry that cannot be."""

    def __init__(self, param: str, text: str) -> None:
        super().__init__(text)
        self.param = param


class Wishes(msgspec.Struct, frozen=True):
    """What an endpoint shall be."""

    url: str
    description: str
    events: tuple[str, ...]


class Made(msgspec.Struct, frozen=True):
    """An endpoint whose ``secret`` is shown this once."""

    endpoint: EndpointRow
    secret: str

    def __repr__(self) -> str:
        return f"Made({self.endpoint.id}, ***)"


class Desk(msgspec.Struct, frozen=True):
    """In whose name, when, and under which rules: ``origins`` as in ``config.webhook_origins``,
    ``kek`` = root.derive(KEY_ENCRYPTION)."""

    org_id: str
    actor: str
    now_us: int
    kek: bytes
    origins: tuple[str, ...] = ()


async def find(conn: Connection, org_id: str, endpoint_id: str) -> EndpointRow:
    """Raises NotThere."""
    row = await webhook_endpoints.endpoint_by_id(conn, org_id, endpoint_id)
    if row is None:
        raise NotThere("There is no such webhook endpoint.")
    return row


async def create(conn: Connection, desk: Desk, wishes: Wishes) -> Made:
    """Raises WrongEntry, or Taken when there are too many."""
    wishes = checked(wishes, desk.origins)
    if await webhook_endpoints.endpoint_count(conn, desk.org_id) >= ENDPOINTS_MAX:
        raise Taken(
            say(
                "An organization has at most {endpoints_max} webhook endpoints.",
                endpoints_max=ENDPOINTS_MAX,
            )
        )
    row = EndpointRow(
        id=_new_id("whe", desk.now_us),
        org_id=desk.org_id,
        url=wishes.url,
        description=wishes.description,
        events=wishes.events,
        failing_since_us=0,
        disabled_us=0,
        disabled_reason="",
        created_us=desk.now_us,
    )
    await webhook_endpoints.insert_endpoint(conn, row)
    secret = await _add_secret(conn, desk, row, 0)
    await _audit(conn, desk, "webhook.create", row.id, {"url": row.url, "events": row.events})
    return Made(row, secret)


async def change(conn: Connection, desk: Desk, endpoint_id: str, wishes: Wishes) -> EndpointRow:
    """Raises NotThere or WrongEntry."""
    old = await find(conn, desk.org_id, endpoint_id)
    wishes = checked(wishes, desk.origins)
    new = msgspec.structs.replace(
        old, url=wishes.url, description=wishes.description, events=wishes.events
    )
    if new != old:
        await webhook_endpoints.update_endpoint(conn, new)
        detail = {"url": new.url, "events": new.events}
        await _audit(conn, desk, "webhook.change", endpoint_id, detail)
    return new


async def turn(conn: Connection, desk: Desk, endpoint_id: str, *, on: bool) -> EndpointRow:
    """Off: nothing new is sent, what is still to be sent waits. On: as if it had never failed.
    Raises NotThere."""
    old = await find(conn, desk.org_id, endpoint_id)
    if on == (old.disabled_us == 0):
        return old
    new = msgspec.structs.replace(
        old,
        failing_since_us=0,
        disabled_us=0 if on else desk.now_us,
        disabled_reason="" if on else "person",
    )
    await webhook_endpoints.update_endpoint(conn, new)
    action = "webhook.enable" if on else "webhook.disable"
    await _audit(conn, desk, action, endpoint_id, {} if on else {"reason": "person"})
    return new


async def remove(conn: Connection, desk: Desk, endpoint_id: str) -> None:
    """With its secrets and all that was tried. Raises NotThere."""
    row = await find(conn, desk.org_id, endpoint_id)
    await webhook_endpoints.delete_endpoint(conn, desk.org_id, row.id)
    await _audit(conn, desk, "webhook.delete", row.id, {"url": row.url})


async def rotate(
    conn: Connection, desk: Desk, endpoint_id: str, *, overlap_s: int = OVERLAP_S
) -> Made:
    """A new secret; the old one signs beside it for ``overlap_s``. Raises NotThere, WrongEntry."""
    if not 0 <= overlap_s <= OVERLAP_S_MAX:
        raise WrongEntry(
            "overlap_s",
            say("an overlap is 0 to {overlap_s_max} seconds", overlap_s_max=OVERLAP_S_MAX),
        )
    row = await find(conn, desk.org_id, endpoint_id)
    secret = await _add_secret(conn, desk, row, overlap_s)
    await _audit(conn, desk, "webhook.rotate", row.id, {"overlap_s": overlap_s})
    return Made(row, secret)


async def send_test(conn: Connection, desk: Desk, endpoint_id: str) -> str:
    """An event of type ``webhook.test`` to this endpoint alone; the dispatch's id. Raises NotThere,
    or Taken for an endpoint that is off."""
    row = await _that_is_on(conn, desk, endpoint_id)
    event_id = _new_id("evt", desk.now_us)
    data = {"object": "webhook_endpoint", "id": row.id, "url": row.url}
    event = NewEvent(
        id=event_id,
        org_id=desk.org_id,
        type=TEST_TYPE,
        subject=event_id,
        body=event_body(event_id, TEST_TYPE, desk.now_us // _US, data),
        created_us=desk.now_us,
    )
    dispatch_id = await webhook_endpoints.publish_to(conn, row, event)
    await _audit(conn, desk, "webhook.test", row.id, {"event": event_id})
    return dispatch_id


async def send_again(conn: Connection, desk: Desk, endpoint_id: str, dispatch_id: str) -> str:
    """The same event once more, under the same id, with attempts of its own; the new dispatch's
    id. Raises NotThere, or Taken for an endpoint that is off."""
    row = await _that_is_on(conn, desk, endpoint_id)
    made = await webhook_endpoints.dispatch_again(
        conn, desk.org_id, row.id, dispatch_id, desk.now_us
    )
    if made is None:
        raise NotThere("There is no such delivery.")
    await _audit(conn, desk, "webhook.resend", row.id, {"delivery": dispatch_id})
    return made


async def find_delivery(
    conn: Connection, org_id: str, endpoint_id: str, dispatch_id: str
) -> webhook_sending.Dispatch:
    """Raises NotThere."""
    found = await webhook_sending.dispatch_by_id(conn, org_id, endpoint_id, dispatch_id)
    if found is None:
        raise NotThere("There is no such delivery.")
    return found


def checked(wishes: Wishes, origins: tuple[str, ...]) -> Wishes:
    """Raises WrongEntry. The address is judged by its form; where its name leads, when it is
    sent to."""
    try:
        public_target(wishes.url, allowed=origins)
    except ValueError as error:
        raise WrongEntry("url", said_by(error)) from error
    description = wishes.description.strip()
    if len(description) > DESCRIPTION_CHARS_MAX or not description.isprintable():
        text = say(
            "a description is one line of at most {description_chars_max} characters",
            description_chars_max=DESCRIPTION_CHARS_MAX,
        )
        raise WrongEntry("description", text)
    return Wishes(wishes.url, description, _checked_events(wishes.events))


def _checked_events(events: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in events if name not in EVENT_TYPES]
    if unknown:
        names = ", ".join(EVENT_TYPES)
        raise WrongEntry(
            "events",
            say(
                "{unknown!r} is no type of event; they are {names}",
                unknown=unknown[0][:40],
                names=names,
            ),
        )
    if not events:
        raise WrongEntry("events", "name at least one type of event")
    return tuple(name for name in EVENT_TYPES if name in events)


async def _that_is_on(conn: Connection, desk: Desk, endpoint_id: str) -> EndpointRow:
    row = await find(conn, desk.org_id, endpoint_id)
    if row.disabled_us:
        raise Taken("The endpoint is off; turn it on first.")
    return row


async def _add_secret(conn: Connection, desk: Desk, row: EndpointRow, overlap_s: int) -> str:
    secret = new_secret(os.urandom(SECRET_BYTES_NEW))
    await webhook_endpoints.add_secret(conn, desk.kek, row, secret, desk.now_us, overlap_s * _US)
    return secret


async def _audit(
    conn: Connection, desk: Desk, action: str, subject: str, detail: Mapping[str, object]
) -> None:
    await rows.append_audit(
        conn, desk.now_us, desk.actor, action, subject, dict(detail), org_id=desk.org_id
    )


def _new_id(prefix: str, now_us: int) -> str:
    return ids.new_id(prefix, now_us, os.urandom(ids.RANDOM_BYTES))
