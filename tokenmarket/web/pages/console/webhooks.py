"""Webhook endpoints of an organisation: list, make, change, test, rotate, turn off, delete; what
was sent to each, and the callbacks of single video orders.

A signing secret is in the answer to the form that made it and nowhere else, so that answer is a
page and not a redirect.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec
from starlette.responses import Response

from tokenmarket.accounts.admin import NotThere, Taken
from tokenmarket.core import sealing
from tokenmarket.core.texts import N_
from tokenmarket.core.video.webhooks import SECRET_BYTES_NEW, new_secret
from tokenmarket.core.webhook_events import EVENT_TYPES
from tokenmarket.store import webhook_endpoints, webhook_sending, webhooks
from tokenmarket.store.webhook_endpoints import EndpointRow
from tokenmarket.store.webhook_sending import Dispatch
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit
from tokenmarket.webhooks import callbacks, endpoints
from tokenmarket.webhooks.deliverer import error_said
from tokenmarket.webhooks.endpoints import Desk, Made, Wishes, WrongEntry

PAGE_DELIVERIES = 50
CALLBACKS_SHOWN = 20
OVERLAPS_S = (0, 3_600, 86_400, 7 * 86_400)
RESULT_WITHIN_S = 3.0
_WRONG = {
    "url": N_("It must be an https address on a public host, without a user name or fragment."),
    "description": N_("One line of at most 200 characters."),
    "events": N_("Choose at least one event."),
}
_OFF = N_("The endpoint is off; turn it on first.")


async def listing(visit: Visit) -> Response:
    """All endpoints, and the newest callbacks of video orders."""
    org_id = _org_id(visit)
    database = visit.parts.database
    async with database.read() as conn:
        found = await webhook_endpoints.endpoints_of(conn, org_id)
    calls = await webhooks.recent(database, org_id, CALLBACKS_SHOWN)
    return await visit.render(
        "console/webhooks.html",
        endpoints=[(row, state_of(row)) for row in found],
        callbacks=[(row, _callback_state(row)) for row in calls],
        error_text=_error_text(visit),
        endpoints_max=endpoints.ENDPOINTS_MAX,
    )


async def new(visit: Visit) -> Response:
    """The form, and the endpoint that it makes."""
    if visit.request.method == "GET":
        wishes = Wishes("", "", ("video.completed", "video.failed"))
        return await _form(visit, wishes, {})
    wishes = _wishes(visit)
    try:
        async with visit.parts.database.begin() as conn:
            made = await endpoints.create(conn, _desk(visit), wishes)
    except WrongEntry as wrong:
        return await _form(visit, wishes, _errors(visit, wrong))
    except Taken:
        text = visit._("An organization has at most 20 webhook endpoints.")
        return await _form(visit, wishes, {"": text})
    return await _secret(visit, made, replaced=False)


async def callback_secret(visit: Visit) -> Response:
    """Another secret for the callbacks of video orders, shown once."""
    secret = new_secret(os.urandom(SECRET_BYTES_NEW))
    await callbacks.new_callback_secret(
        visit.parts.database,
        _desk(visit).kek,
        _org_id(visit),
        secret,
        now_us=visit.now_us,
        actor=visit.actor,
    )
    return _no_store(
        await visit.render("console/webhook_secret.html", endpoint=None, secret=secret)
    )


async def detail(visit: Visit) -> Response:
    """One endpoint: the form to change it, and what was sent there."""
    row = await _endpoint(visit)
    return await _detail(visit, row, Wishes(row.url, row.description, row.events), {})


async def change(visit: Visit) -> Response:
    """Takes the form of the detail page."""
    row, wishes = await _endpoint(visit), _wishes(visit)
    try:
        async with visit.parts.database.begin() as conn:
            await endpoints.change(conn, _desk(visit), row.id, wishes)
    except WrongEntry as wrong:
        return await _detail(visit, row, wishes, _errors(visit, wrong))
    return visit.redirect(_home(visit, row), flash=("ok", visit._("Saved.")))


async def turn(visit: Visit) -> Response:
    row = await _endpoint(visit)
    on = visit.form.get("on") == "1"
    async with visit.parts.database.begin() as conn:
        await endpoints.turn(conn, _desk(visit), row.id, on=on)
    visit.parts.webhooks.deliverer.wake()
    text = visit._("The endpoint is on.") if on else visit._("The endpoint is off.")
    return visit.redirect(_home(visit, row), flash=("ok", text))


async def rotate(visit: Visit) -> Response:
    """Another secret, shown once; the old one signs beside it for the chosen time."""
    row = await _endpoint(visit)
    chosen = visit.form.get("overlap_s", "")
    overlap_s = int(chosen) if chosen in {str(one) for one in OVERLAPS_S} else endpoints.OVERLAP_S
    async with visit.parts.database.begin() as conn:
        made = await endpoints.rotate(conn, _desk(visit), row.id, overlap_s=overlap_s)
    return await _secret(visit, made, replaced=True)


async def test(visit: Visit) -> Response:
    """Sends a test event and shows what became of it."""
    row = await _endpoint(visit)
    try:
        async with visit.parts.database.begin() as conn:
            dispatch_id = await endpoints.send_test(conn, _desk(visit), row.id)
    except Taken:
        return visit.redirect(_home(visit, row), flash=("bad", visit._(_OFF)))
    return await _sent(visit, row, dispatch_id)


async def delete(visit: Visit) -> Response:
    row = await _endpoint(visit)
    async with visit.parts.database.begin() as conn:
        await endpoints.remove(conn, _desk(visit), row.id)
    text = visit._("The endpoint and all that was sent to it are deleted.")
    return visit.redirect(visit.url("@/webhooks"), flash=("ok", text))


async def delivery(visit: Visit) -> Response:
    """One event on its way to one endpoint: every attempt, and what is sent."""
    row = await _endpoint(visit)
    dispatch = await _delivery(visit, row)
    async with visit.parts.database.read() as conn:
        tried = await webhook_sending.attempts_of(conn, row.org_id, [dispatch.id])
    return await visit.render(
        "console/webhook_delivery.html",
        endpoint=row,
        dispatch=dispatch,
        state=_dispatch_state(dispatch),
        attempts=tried.get(dispatch.id, []),
        error_text=_error_text(visit),
        body=_indented(dispatch.body),
    )


async def resend(visit: Visit) -> Response:
    """The same event once more, under the same id."""
    row = await _endpoint(visit)
    dispatch = await _delivery(visit, row)
    try:
        async with visit.parts.database.begin() as conn:
            dispatch_id = await endpoints.send_again(conn, _desk(visit), row.id, dispatch.id)
    except Taken:
        return visit.redirect(_home(visit, row), flash=("bad", visit._(_OFF)))
    return await _sent(visit, row, dispatch_id)


async def _sent(visit: Visit, row: EndpointRow, dispatch_id: str) -> Response:
    await visit.parts.webhooks.tried(row.org_id, row.id, dispatch_id, RESULT_WITHIN_S)
    return visit.redirect(f"{_home(visit, row)}/deliveries/{dispatch_id}")


async def _form(visit: Visit, wishes: Wishes, errors: dict[str, str]) -> Response:
    return await visit.render(
        "console/webhook_new.html",
        status=422 if errors else 200,
        wishes=wishes,
        errors=errors,
        event_types=_event_types(visit),
    )


async def _detail(
    visit: Visit, row: EndpointRow, wishes: Wishes, errors: dict[str, str]
) -> Response:
    after = visit.query.get("after", "")
    async with visit.parts.database.read() as conn:
        found = await webhook_sending.dispatches_of(
            conn, row.org_id, row.id, after=after, limit=PAGE_DELIVERIES + 1
        )
    shown = found[:PAGE_DELIVERIES]
    return await visit.render(
        "console/webhook.html",
        status=422 if errors else 200,
        endpoint=row,
        state=state_of(row),
        wishes=wishes,
        errors=errors,
        event_types=_event_types(visit),
        deliveries=[(one, _dispatch_state(one)) for one in shown],
        first_page=not after,
        error_text=_error_text(visit),
        next_after=shown[-1].id if len(found) > PAGE_DELIVERIES else None,
    )


async def _secret(visit: Visit, made: Made, *, replaced: bool) -> Response:
    """The one page that has the secret."""
    page = await visit.render(
        "console/webhook_secret.html",
        endpoint=made.endpoint,
        secret=made.secret,
        replaced=replaced,
    )
    return _no_store(page)


def _no_store(response: Response) -> Response:
    response.headers["cache-control"] = "no-store"
    return response


async def _endpoint(visit: Visit) -> EndpointRow:
    try:
        async with visit.parts.database.read() as conn:
            return await endpoints.find(conn, _org_id(visit), visit.params["endpoint"])
    except NotThere:
        raise visit.not_found() from None


async def _delivery(visit: Visit, row: EndpointRow) -> Dispatch:
    try:
        async with visit.parts.database.read() as conn:
            return await endpoints.find_delivery(conn, row.org_id, row.id, visit.params["delivery"])
    except NotThere:
        raise visit.not_found() from None


def state_of(row: EndpointRow) -> str:
    """on | failing | off."""
    if row.disabled_us:
        return "off"
    return "failing" if row.failing_since_us else "on"


def _error_text(visit: Visit) -> Callable[[str], str]:
    return lambda stored: visit.said(error_said(stored))


def _dispatch_state(row: Dispatch) -> str:
    if row.delivered_us:
        return "delivered"
    if row.given_up_us:
        return "given_up"
    return "failing" if row.last_error else "waiting"


def _callback_state(row: webhooks.Delivery) -> str:
    if row.delivered_us:
        return "delivered"
    if row.disabled_us:
        return "given_up"
    return "failing" if row.last_error else "waiting"


def _wishes(visit: Visit) -> Wishes:
    form = visit.form
    events = tuple(visit.form_lists.get("events", ()))
    return Wishes(form.get("url", "").strip(), form.get("description", "").strip(), events)


def _errors(visit: Visit, wrong: WrongEntry) -> dict[str, str]:
    return {wrong.param: visit._(_WRONG[wrong.param])}


def _event_types(visit: Visit) -> list[tuple[str, str]]:
    return [(kind, f"{kind} – {visit._(text)}") for kind, text in EVENT_TYPES.items()]


def _indented(body: str) -> str:
    """The body for reading; it is sent without the spaces."""
    return msgspec.json.format(body, indent=2)


def _home(visit: Visit, row: EndpointRow) -> str:
    return visit.url(f"@/webhooks/{row.id}")


def _desk(visit: Visit) -> Desk:
    parts = visit.parts
    kek = parts.root.derive(sealing.KEY_ENCRYPTION)
    return Desk(_org_id(visit), visit.actor, visit.now_us, kek, parts.config.webhook_origins)


def _org_id(visit: Visit) -> str:
    return visit.params["org"]


_HOME = "/{lang}/console/{org}/webhooks"
_ONE = f"{_HOME}/{{endpoint}}"
_SENT = f"{_ONE}/deliveries/{{delivery}}"
_MAY = member("webhooks")
PAGES = [
    Page(_HOME, listing, _MAY),
    Page(f"{_HOME}/new", new, _MAY, ("GET", "POST")),
    Page(f"{_HOME}/callback-secret", callback_secret, _MAY, ("POST",)),
    Page(_ONE, detail, _MAY),
    Page(_ONE, change, _MAY, ("POST",)),
    Page(f"{_ONE}/turn", turn, _MAY, ("POST",)),
    Page(f"{_ONE}/rotate", rotate, _MAY, ("POST",)),
    Page(f"{_ONE}/test", test, _MAY, ("POST",)),
    Page(f"{_ONE}/delete", delete, _MAY, ("POST",)),
    Page(_SENT, delivery, _MAY),
    Page(f"{_SENT}/resend", resend, _MAY, ("POST",)),
]
