"""Management endpoints about webhook endpoints, what was sent to them, and callbacks of orders."""

from __future__ import annotations

import os
from typing import Annotated, Literal

import msgspec

from tokenmarket.core import sealing
from tokenmarket.core.video.webhooks import SECRET_BYTES_NEW, new_secret
from tokenmarket.store import webhook_endpoints, webhook_sending, webhooks
from tokenmarket.store.webhook_endpoints import EndpointRow
from tokenmarket.store.webhook_sending import Attempt, Dispatch
from tokenmarket.web.manage.endpoint import Call, Deleted, Endpoint, Listing, Nothing, page
from tokenmarket.webhooks import callbacks, endpoints
from tokenmarket.webhooks.endpoints import Desk, Wishes

CALLBACKS_MAX = 200


class WebhookEndpoint(msgspec.Struct, kw_only=True):
    """An address of the organization that is told of events."""

    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    id: str
    url: str
    description: str
    events: list[str]
    enabled: bool
    disabled_reason: str | None
    disabled_at: int | None
    failing_since: int | None
    created_at: int


class NewWebhookEndpoint(WebhookEndpoint, kw_only=True):
    """A webhook endpoint with a signing secret that was just made; it is shown this once."""

    secret: str


class WebhookWishes(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a new webhook endpoint shall be. The address is https on a public host."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    events: list[str]
    description: str = ""


class WebhookChanges(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What shall be different about a webhook endpoint; what is left out stays."""

    url: str | None = None
    events: list[str] | None = None
    description: str | None = None
    enabled: bool | None = None


class Rotation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """So many seconds the old secret signs beside the new one."""

    overlap_s: int = endpoints.OVERLAP_S


class WebhookAttempt(msgspec.Struct, kw_only=True):
    """One try to deliver. No status: there was no answer, and the error says why."""

    number: int
    at: int
    duration_ms: int
    status: int | None
    error: str | None
    answer: str


class WebhookDelivery(msgspec.Struct, kw_only=True):
    """One event on its way to one webhook endpoint. The body is what is sent, byte by byte."""

    object: Literal["webhook_delivery"] = "webhook_delivery"
    id: str
    event_id: str
    type: str
    state: Literal["pending", "delivered", "given_up"]
    attempts: list[WebhookAttempt]
    next_attempt_at: int | None
    created_at: int
    body: str


class VideoCallback(msgspec.Struct, kw_only=True):
    """The callback of one video order."""

    object: Literal["video_callback"] = "video_callback"
    id: str
    video_id: str
    url: str
    type: str
    state: Literal["pending", "delivered", "given_up"]
    attempts: int
    last_status: int | None
    last_error: str | None
    created_at: int


class CallbackSecret(msgspec.Struct, kw_only=True):
    """The secret that signs callbacks of video orders, shown this once."""

    object: Literal["callback_secret"] = "callback_secret"
    secret: str


def _document(row: EndpointRow) -> WebhookEndpoint:
    return msgspec.convert(_shown(row), WebhookEndpoint)


def _shown(row: EndpointRow) -> dict[str, object]:
    return {
        "id": row.id,
        "url": row.url,
        "description": row.description,
        "events": list(row.events),
        "enabled": not row.disabled_us,
        "disabled_reason": row.disabled_reason or None,
        "disabled_at": _second(row.disabled_us),
        "failing_since": _second(row.failing_since_us),
        "created_at": row.created_us // 1_000_000,
    }


def _second(at_us: int) -> int | None:
    return at_us // 1_000_000 if at_us else None


def _state(delivered_us: int, given_up_us: int) -> Literal["pending", "delivered", "given_up"]:
    if delivered_us:
        return "delivered"
    return "given_up" if given_up_us else "pending"


def _delivery(row: Dispatch, tried: list[Attempt]) -> WebhookDelivery:
    state = _state(row.delivered_us, row.given_up_us)
    return WebhookDelivery(
        id=row.id,
        event_id=row.event_id,
        type=row.type,
        state=state,
        attempts=[
            WebhookAttempt(
                number=one.number,
                at=one.at_us // 1_000_000,
                duration_ms=one.duration_ms,
                status=one.status,
                error=one.error or None,
                answer=one.answer,
            )
            for one in tried
        ],
        next_attempt_at=row.next_attempt_us // 1_000_000 if state == "pending" else None,
        created_at=row.created_us // 1_000_000,
        body=row.body,
    )


def _desk(call: Call) -> Desk:
    kek = call.parts.root.derive(sealing.KEY_ENCRYPTION)
    return Desk(call.org_id, call.actor, call.now_us, kek, call.parts.config.webhook_origins)


async def listing(call: Call) -> Listing[WebhookEndpoint]:
    async with call.parts.database.read() as conn:
        found = await webhook_endpoints.endpoints_of(
            conn, call.org_id, after=call.cursor, limit=call.limit + 1
        )
    return page([_document(row) for row in found], call.limit, lambda item: item.id)


async def show(call: Call) -> WebhookEndpoint:
    async with call.parts.database.read() as conn:
        return _document(await endpoints.find(conn, call.org_id, call.params["id"]))


async def create(call: Call) -> NewWebhookEndpoint:
    body: WebhookWishes = call.body
    wishes = Wishes(body.url, body.description, tuple(body.events))
    async with call.parts.database.begin() as conn:
        made = await endpoints.create(conn, _desk(call), wishes)
    return msgspec.convert({**_shown(made.endpoint), "secret": made.secret}, NewWebhookEndpoint)


async def change(call: Call) -> WebhookEndpoint:
    body: WebhookChanges = call.body
    desk, endpoint_id = _desk(call), call.params["id"]
    async with call.parts.database.begin() as conn:
        row = await endpoints.find(conn, call.org_id, endpoint_id)
        wishes = Wishes(
            row.url if body.url is None else body.url,
            row.description if body.description is None else body.description,
            row.events if body.events is None else tuple(body.events),
        )
        if wishes != Wishes(row.url, row.description, row.events):
            row = await endpoints.change(conn, desk, endpoint_id, wishes)
        if body.enabled is not None:
            row = await endpoints.turn(conn, desk, endpoint_id, on=body.enabled)
    call.parts.webhooks.deliverer.wake()
    return _document(row)


async def delete(call: Call) -> Deleted:
    async with call.parts.database.begin() as conn:
        await endpoints.remove(conn, _desk(call), call.params["id"])
    return Deleted(id=call.params["id"])


async def rotate(call: Call) -> NewWebhookEndpoint:
    body: Rotation = call.body
    async with call.parts.database.begin() as conn:
        made = await endpoints.rotate(
            conn, _desk(call), call.params["id"], overlap_s=body.overlap_s
        )
    return msgspec.convert({**_shown(made.endpoint), "secret": made.secret}, NewWebhookEndpoint)


async def test(call: Call) -> WebhookDelivery:
    async with call.parts.database.begin() as conn:
        made = await endpoints.send_test(conn, _desk(call), call.params["id"])
    call.parts.webhooks.deliverer.wake()
    return await _shown_delivery(call, made)


async def deliveries(call: Call) -> Listing[WebhookDelivery]:
    async with call.parts.database.read() as conn:
        endpoint = await endpoints.find(conn, call.org_id, call.params["id"])
        found = await webhook_sending.dispatches_of(
            conn, call.org_id, endpoint.id, after=call.cursor, limit=call.limit + 1
        )
        tried = await webhook_sending.attempts_of(conn, call.org_id, [row.id for row in found])
    shown = [_delivery(row, tried.get(row.id, [])) for row in found]
    return page(shown, call.limit, lambda item: item.id)


async def delivery(call: Call) -> WebhookDelivery:
    return await _shown_delivery(call, call.params["delivery_id"])


async def resend(call: Call) -> WebhookDelivery:
    async with call.parts.database.begin() as conn:
        made = await endpoints.send_again(
            conn, _desk(call), call.params["id"], call.params["delivery_id"]
        )
    call.parts.webhooks.deliverer.wake()
    return await _shown_delivery(call, made)


async def _shown_delivery(call: Call, dispatch_id: str) -> WebhookDelivery:
    async with call.parts.database.read() as conn:
        row = await endpoints.find_delivery(conn, call.org_id, call.params["id"], dispatch_id)
        tried = await webhook_sending.attempts_of(conn, call.org_id, [row.id])
    return _delivery(row, tried.get(row.id, []))


async def video_callbacks(call: Call) -> Listing[VideoCallback]:
    found = await webhooks.recent(call.parts.database, call.org_id, CALLBACKS_MAX)
    later = [row for row in found if not call.cursor or row.id < call.cursor]
    shown = [
        VideoCallback(
            id=row.id,
            video_id=row.task_id,
            url=row.url,
            type=row.type,
            state=_state(row.delivered_us, row.disabled_us),
            attempts=row.attempts,
            last_status=row.last_status,
            last_error=row.last_error or None,
            created_at=row.created_us // 1_000_000,
        )
        for row in later
    ]
    return page(shown, call.limit, lambda item: item.id)


async def callback_secret(call: Call) -> CallbackSecret:
    secret = new_secret(os.urandom(SECRET_BYTES_NEW))
    await callbacks.new_callback_secret(
        call.parts.database,
        _desk(call).kek,
        call.org_id,
        secret,
        now_us=call.now_us,
        actor=call.actor,
    )
    return CallbackSecret(secret=secret)


_TAG, _MAY = "Webhooks", "webhooks"
_ONE = "/webhooks/{id}"
_SENT = f"{_ONE}/deliveries/{{delivery_id}}"
ENDPOINTS = [
    Endpoint(
        "GET",
        "/webhooks",
        _MAY,
        listing,
        None,
        Listing[WebhookEndpoint],
        "Webhook endpoints, newest first.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/webhooks",
        _MAY,
        create,
        WebhookWishes,
        NewWebhookEndpoint,
        "Make a webhook endpoint.",
        _TAG,
    ),
    Endpoint("GET", _ONE, _MAY, show, None, WebhookEndpoint, "One webhook endpoint.", _TAG),
    Endpoint(
        "PATCH",
        _ONE,
        _MAY,
        change,
        WebhookChanges,
        WebhookEndpoint,
        "Change a webhook endpoint, turn it off or on.",
        _TAG,
    ),
    Endpoint(
        "DELETE",
        _ONE,
        _MAY,
        delete,
        None,
        Deleted,
        "Delete a webhook endpoint and the list of its deliveries.",
        _TAG,
    ),
    Endpoint(
        "POST",
        f"{_ONE}/rotate",
        _MAY,
        rotate,
        Rotation,
        NewWebhookEndpoint,
        "Replace the signing secret of a webhook endpoint.",
        _TAG,
    ),
    Endpoint(
        "POST",
        f"{_ONE}/test",
        _MAY,
        test,
        Nothing,
        WebhookDelivery,
        "Send a test event to a webhook endpoint.",
        _TAG,
    ),
    Endpoint(
        "GET",
        f"{_ONE}/deliveries",
        _MAY,
        deliveries,
        None,
        Listing[WebhookDelivery],
        "What was sent to a webhook endpoint in the last 30 days, newest first.",
        _TAG,
    ),
    Endpoint("GET", _SENT, _MAY, delivery, None, WebhookDelivery, "One delivery.", _TAG),
    Endpoint(
        "POST",
        f"{_SENT}/resend",
        _MAY,
        resend,
        Nothing,
        WebhookDelivery,
        "Send the same event once more.",
        _TAG,
    ),
    Endpoint(
        "GET",
        "/video-callbacks",
        _MAY,
        video_callbacks,
        None,
        Listing[VideoCallback],
        "Callbacks of single video orders: the newest 200.",
        _TAG,
    ),
    Endpoint(
        "POST",
        "/video-callbacks/secret",
        _MAY,
        callback_secret,
        Nothing,
        CallbackSecret,
        "Make another secret for callbacks of video orders; the old one signs for 24 hours more.",
        _TAG,
    ),
]
