"""The video endpoints: a table of paths and methods over ``VideoService``, the engine.

Reads bodies (JSON and forms), finds the caller, renders what the service says. Every row needs a
key; an id of another organisation is not there (``design/security.md`` A7). Section 2 of
``reference/media/video_contract.md``; the two dialects of new-api are on ``/video/…``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from tokenmarket.accounts import Caller
from tokenmarket.billing.clock import Clock
from tokenmarket.catalog import CatalogSource
from tokenmarket.contents import Copy, Recorder
from tokenmarket.core import ids
from tokenmarket.core.errors import ApiError
from tokenmarket.core.forms import form_members, read_form
from tokenmarket.core.video.body import FORM_LISTS, FORM_OBJECTS
from tokenmarket.core.video.parse import parse_video
from tokenmarket.core.video.projection import (
    VideoView,
    deleted_object,
    list_page,
    model_row,
    poll_headers,
    task_object,
    wrapped,
)
from tokenmarket.core.video.request import VideoOperation, VideoRequest
from tokenmarket.core.video.results import check_ready, gone, not_found
from tokenmarket.core.video.states import states_shown_as
from tokenmarket.core.wire import Client, ClientGone, Inbound, check_content_type, header_value
from tokenmarket.core.wording import say
from tokenmarket.web.reads import query_values
from tokenmarket.web.video_service import SendContent, VideoService

PREFIX = "/api/v1"
PAGE_DEFAULT, PAGE_MAX = 20, 100
FORM_IN_THREAD_BYTES = 16 * 1024 * 1024
IDEMPOTENCY_KEY_CHARS_MAX = 255
VARIANTS = ("video", "thumbnail", "spritesheet", "last_frame")

_encode = msgspec.json.Encoder().encode
_decode_item = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NUMBER = re.compile(r"[0-9]{1,3}", re.ASCII)


class VideosContext(msgspec.Struct, frozen=True):
    """What the handlers need of the rest. ``refusal`` (request, error, ms) -> head, body;
    ``message`` says an error in the caller's language; ``limits`` are a caller's rate-limit header
    lines; ``allowed`` as in ``core/fetch_url.py``."""

    service: VideoService
    catalog: CatalogSource
    authenticate: Callable[[Inbound], Awaitable[Caller]]
    refusal: Callable[[Inbound, ApiError, int], tuple[bytes, bytes]]
    message: Callable[[Inbound, ApiError], str]
    limits: Callable[[Caller], bytes]
    crash: Callable[[str, Exception], None]
    send: SendContent
    clock: Clock
    contents: Recorder
    allowed: tuple[str, ...] = ()


class Call(msgspec.Struct, frozen=True):
    """One request on its way to a handler. ``id`` is the task's of the path, "" without one."""

    inbound: Inbound
    client: Client
    caller: Caller
    id: str
    copy: Copy | None = None


Handler = Callable[[Call], Awaitable[None]]


class Videos:
    """``handle`` raises nothing but what ends a connection."""

    def __init__(self, context: VideosContext) -> None:
        self._context = context
        self._service = context.service
        create = self._creating("generate", generations=False)
        generate = self._creating("generate", generations=True)
        # Before the first pattern that has a variable part: what stands exactly for itself.
        self._exact: dict[str, dict[str, Handler]] = {
            "/videos": {"GET": self._list, "POST": create},
            "/videos/models": {"GET": self._models},
            "/videos/edits": {"POST": self._creating("edit")},
            "/videos/extensions": {"POST": self._creating("extend")},
            "/video/generations": {"POST": generate},
        }
        self._below: dict[tuple[str, str], dict[str, Handler]] = {
            ("videos", ""): {"GET": self._get, "DELETE": self._delete},
            ("videos", "content"): {"GET": self._content},
            ("videos", "cancel"): {"POST": self._cancel},
            ("videos", "remix"): {"POST": self._creating("remix")},
            ("video/generations", ""): {"GET": self._get_wrapped},
            ("video/tasks", ""): {"GET": self._get_wrapped},
        }

        tables = (*self._exact.values(), *self._below.values())
        orders = (methods.get("POST") for methods in tables)
        # What makes tasks has receipts, and its content may be kept.
        self._orders = frozenset(order for order in orders if order not in (None, self._cancel))

    @staticmethod
    def owns(path: str) -> bool:
        """Whether the path is below one of these; what is not in the table is 404 here too."""
        rest = path.removeprefix(PREFIX)
        return rest != path and (
            rest == "/videos"
            or rest.startswith(("/videos/", "/video/generations", "/video/tasks/"))
        )

    async def handle(self, inbound: Inbound, client: Client) -> None:
        """Answer one request."""
        copy: Copy | None = None
        try:
            handler, task_id = self._find(inbound)
            caller = await self._context.authenticate(inbound)
            if caller.keeps_content and handler in self._orders:
                copy = self._context.contents.copy(caller.org_id, inbound, client)
                client = copy or client
            if task_id and not ids.is_id(task_id, "video"):
                raise not_found(task_id)
            await handler(Call(inbound, client, caller, task_id, copy))
        except ClientGone:
            return
        except ApiError as error:
            self._refuse(inbound, client, error)
        except Exception as error:
            self._context.crash(inbound.request_id, error)
            if not client.begun:  # else the front cuts the connection: the body is not whole
                message = "An internal error; nothing was charged."
                self._refuse(inbound, client, ApiError("PLATFORM_002", message))
        finally:
            if copy is not None:
                self._context.contents.keep(copy)

    def _find(self, inbound: Inbound) -> tuple[Handler, str]:
        path = inbound.path.removeprefix(PREFIX)
        task_id = ""
        methods = self._exact.get(path)
        if methods is None:
            for (parent, last), found in self._below.items():
                head, tail = f"/{parent}/", f"/{last}" if last else ""
                middle = path.removeprefix(head).removesuffix(tail)
                if path == f"{head}{middle}{tail}" and middle and "/" not in middle:
                    methods, task_id = found, middle
                    break
        if methods is None:
            raise ApiError(
                "REQUEST_004", say("There is nothing at {path!r}.", path=inbound.path[:200])
            )
        handler = methods.get("GET" if inbound.method == "HEAD" else inbound.method)
        if handler is None:
            allow = ", ".join(["HEAD", *methods] if "GET" in methods else methods)
            message = say(
                "{method} is not answered here; use {allow}.", method=inbound.method, allow=allow
            )
            raise ApiError("REQUEST_005", message, allow=allow)
        return handler, task_id

    # --- answers ------------------------------------------------------------------------------

    def _ms(self, inbound: Inbound) -> int:
        return (self._context.clock.monotonic_us() - inbound.started_us) // 1000

    def _head(self, call: Call) -> bytes:
        request_id = call.inbound.request_id.encode("ascii")
        return (
            b"x-request-id: %b\r\nopenai-processing-ms: %d\r\ncache-control: no-store\r\n"
            % (request_id, self._ms(call.inbound))
        ) + self._context.limits(call.caller)

    def _respond(self, call: Call, document: object, head: bytes = b"") -> None:
        lines = self._head(call) + b"content-type: application/json\r\n" + head
        call.client.respond(200, lines, _encode(document))

    def _refuse(self, inbound: Inbound, client: Client, error: ApiError) -> None:
        head, body = self._context.refusal(inbound, error, self._ms(inbound))
        if inbound.path.startswith(f"{PREFIX}/video/"):
            # new-api's clients look for its TaskError beside the envelope.
            told = self._context.message(inbound, error)
            known = {"code": error.reason or error.code, "message": told, "data": None}
            body = _encode(known)[:-1] + b"," + body[1:]
        client.respond(error.status, head, body)

    # --- create -------------------------------------------------------------------------------

    def _creating(self, operation: VideoOperation, *, generations: bool = False) -> Handler:
        async def create(call: Call) -> None:
            async def read() -> VideoRequest:
                return await self._order(call, operation, generations=generations)

            key = _idempotency_key(call.inbound.headers)
            made = await self._service.create(call.caller, call.inbound, read, idempotency_key=key)
            head = poll_headers(made.view) + made.head
            if made.replayed:
                head += b"idempotent-replayed: true\r\n"
            shown = task_object(made.view, compat=_compat(call.inbound))
            self._respond(call, shown, head)

        return create

    async def _order(
        self, call: Call, operation: VideoOperation, *, generations: bool
    ) -> VideoRequest:
        inbound = call.inbound
        allowed = self._context.allowed
        if inbound.spool is None:
            check_content_type(inbound)
            body, files, lax = inbound.body, (), False
        else:
            kind = inbound.headers.get(b"content-type", b"")
            if inbound.spool.size > FORM_IN_THREAD_BYTES:
                form = await asyncio.to_thread(read_form, kind, inbound.spool)
            else:
                form = read_form(kind, inbound.spool)
            body = form_members(form, lists=FORM_LISTS, objects=FORM_OBJECTS)
            files, lax = tuple(form.files), True
            if call.copy is not None:
                call.copy.read_form(body, files)

        def parse(model: str) -> VideoRequest:
            return parse_video(
                body,
                files,
                lax=lax,
                generations=generations,
                operation=operation,
                source_task_id=call.id or None,
                model_default=model,
                allowed=allowed,
            )

        if operation == "generate":
            return parse("")
        # Remixes and the like name no model: it is their source's. A placeholder finds the source.
        request = parse("?")
        if request.source_task_id is not None:
            source = await self._service.get(call.caller, request.source_task_id)
            if source is None:
                raise not_found(request.source_task_id)
            return parse(source.video.model)
        return parse("")

    # --- one task -----------------------------------------------------------------------------

    async def _view(self, call: Call) -> VideoView:
        view = await self._service.get(call.caller, call.id)
        if view is None:
            raise not_found(call.id)
        return view

    async def _get(self, call: Call) -> None:
        query_values(call.inbound.query, ())
        view = await self._view(call)
        self._respond(call, task_object(view, compat=_compat(call.inbound)), poll_headers(view))

    async def _get_wrapped(self, call: Call) -> None:
        values = query_values(call.inbound.query, ("format", "model"))
        wanted = values.get("format", "dto")
        if wanted not in ("dto", "simple"):
            raise ApiError("REQUEST_001", "format is 'dto' or 'simple'.", param="format")
        view = await self._view(call)
        shown = wrapped(view, simple=wanted == "simple", compat=_compat(call.inbound))
        self._respond(call, shown, poll_headers(view))

    async def _cancel(self, call: Call) -> None:
        view = await self._service.cancel(call.caller, call.id)
        if view is None:
            raise not_found(call.id)
        self._respond(call, task_object(view, compat=_compat(call.inbound)), poll_headers(view))

    async def _delete(self, call: Call) -> None:
        view = await self._view(call)
        if view.live:
            raise ApiError(
                "REQUEST_008",
                say(
                    "The video is {state}: cancel it, or wait until it has ended.", state=view.state
                ),
                reason="video_not_terminal",
            )
        if not await self._service.delete(call.caller, call.id):
            raise not_found(call.id)
        self._respond(call, deleted_object(call.id))

    async def _content(self, call: Call) -> None:
        values = query_values(call.inbound.query, ("variant", "index", "redirect"))
        variant = values.get("variant", "video")
        if variant not in VARIANTS:
            raise ApiError(
                "REQUEST_001",
                say("variant is one of {variants}.", variants=", ".join(VARIANTS)),
                param="variant",
            )
        index = _whole(values, "index", 0, 0, 99)
        view = await self._view(call)
        check_ready(view, variant, index)
        content = await self._service.content(
            call.caller, call.id, variant, index, redirect=values.get("redirect") == "1"
        )
        if content is None:
            raise gone()
        head = self._head(call)
        if content.location is not None:
            location = b"location: %b\r\n" % header_value(content.location)
            call.client.respond(302, head + location, b"")
            return
        await self._context.send(
            call.client,
            content.key,
            call.inbound.headers,
            head=head,
            content_type=content.content_type,
            filename=content.filename,
            head_only=call.inbound.method == "HEAD",
        )

    # --- lists --------------------------------------------------------------------------------

    async def _list(self, call: Call) -> None:
        values = query_values(call.inbound.query, ("after", "limit", "order", "status", "model"))
        order = values.get("order", "desc")
        if order not in ("asc", "desc"):
            raise ApiError("REQUEST_001", "order is 'asc' or 'desc'.", param="order")
        after = values.get("after", "")
        if after and not ids.is_id(after, "video"):
            raise ApiError("REQUEST_001", "after is the id of a video.", param="after")
        states: tuple[str, ...] = ()
        if values.get("status"):
            states = states_shown_as(values["status"])
            if not states:
                legal = "queued, in_progress, completed, failed, or a state"
                raise ApiError(
                    "REQUEST_001", say("status is one of {legal}.", legal=legal), param="status"
                )
        views, has_more = await self._service.page(
            call.caller,
            after=after,
            limit=_whole(values, "limit", PAGE_DEFAULT, 1, PAGE_MAX),
            ascending=order == "asc",
            states=states,
            model=values.get("model", ""),
        )
        self._respond(call, list_page(views, has_more=has_more))

    async def _models(self, call: Call) -> None:
        query_values(call.inbound.query, ())
        catalog = self._context.catalog.for_group(call.caller.group_id)
        allowed = call.caller.allowed.models
        rows = [
            model_row(model, _decode_item(catalog.openai_model(model)))
            for model in sorted(catalog.current.models.values(), key=lambda model: model.id)
            if model.enabled
            and model.operation == "video"
            and (allowed is None or model.id in allowed)
        ]
        self._respond(call, {"object": "list", "data": rows})


def _compat(inbound: Inbound) -> bool:
    return inbound.headers.get(b"x-compat", b"").strip().lower() == b"new-api"


def _idempotency_key(headers: Mapping[bytes, bytes]) -> str:
    raw = headers.get(b"idempotency-key")
    other = headers.get(b"x-idempotency-key")
    if raw is not None and other is not None and raw != other:
        raise ApiError(
            "REQUEST_001",
            "Idempotency-Key and X-Idempotency-Key differ: send one.",
            param="Idempotency-Key",
            reason="conflicting_parameters",
        )
    key = (raw or other or b"").decode("latin-1")
    if len(key) > IDEMPOTENCY_KEY_CHARS_MAX:
        raise ApiError(
            "REQUEST_001",
            say(
                "An idempotency key has at most {idempotency_key_chars_max} characters.",
                idempotency_key_chars_max=IDEMPOTENCY_KEY_CHARS_MAX,
            ),
            param="Idempotency-Key",
        )
    return key


def _whole(values: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    if _NUMBER.fullmatch(text) is None or not least <= int(text) <= most:
        raise ApiError(
            "REQUEST_001",
            say("{name} is {least} to {most}.", name=name, least=least, most=most),
            param=name,
        )
    return int(text)
