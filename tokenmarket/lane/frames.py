"""What plain chats of one caller have in common, worked out by the rooms themselves and kept.

A ``Note`` belongs to one request head (key and headers), a ``Frame`` to one frame of bodies
(``core/plain_chat.py``) under it. Both are made with the very functions of the general way (parse,
plan, the adapter's ``build``) from a request that has that head and frame; whatever those would
refuse, or answer in more than one way, makes no frame. A new catalog makes all frames invalid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from weakref import WeakSet

import msgspec

from tokenmarket.accounts import Accounts, Caller
from tokenmarket.adapters.protocol import (
    Adapter,
    MediaAdapter,
    ReadsText,
    TextReader,
    UpstreamRequest,
)
from tokenmarket.admission import estimated_output_tokens
from tokenmarket.catalog import CatalogSource
from tokenmarket.core.catalog import Catalog, Route
from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import MESSAGE_OVERHEAD_TOKENS, parse
from tokenmarket.core.plain_chat import Layout, Plain, layout
from tokenmarket.core.requests import Request
from tokenmarket.core.routing import AVAILABLE, only_route, output_tokens_max
from tokenmarket.core.text_prices import TextPrices, text_prices
from tokenmarket.core.wire import Inbound, bearer_token, check_content_type
from tokenmarket.receipts import header_text, text_form
from tokenmarket.replies import text_head_form
from tokenmarket.telemetry import Telemetry, TextLine
from tokenmarket.upstream.credentials import Credential
from tokenmarket.upstream.outbound import Outbound

FRAMES_MAX = 256  # per head; then all are forgotten
FRAME_BYTES_MAX = 64 * 1024
KEPT_BYTES_MAX = 16 * 1024 * 1024  # of all frames; then all are forgotten
SEEN_MAX = 1024
MISSES_MAX = 64  # in a row: this program's bodies have no frame in common
RETRY_EVERY = 32
# Headers that make a request more than plain.
_SPECIAL = frozenset({b"idempotency-key", b"traceparent"})

UNFIT = object()  # a head that never belongs to the lane

_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Heading(Protocol):
    """A request head that was accepted before (``web/known_head.py``)."""

    path: str
    query: bytes
    headers: dict[bytes, bytes]
    notes: object

    def headers_for(self, body: bytes) -> dict[bytes, bytes]: ...


class Frame:
    """One frame of bodies, priced and routed."""

    __slots__ = (
        "before",
        "credential",
        "estimate_tokens",
        "extra_tokens",
        "head",
        "input_tokens_max",
        "layout",
        "lead",
        "line",
        "output_limit",
        "output_tokens",
        "prices",
        "read",
        "receipt",
        "route",
    )

    def __init__(
        self,
        request: Request,
        plain: Plain,
        route: Route,
        credential: Credential,
        prices: TextPrices,
        read: TextReader,
    ) -> None:
        self.route = route
        self.credential = credential
        self.prices = prices
        self.read = read
        self.lead = b""  # the head upstream, up to the length
        self.before = b""  # the body upstream, up to the messages
        self.layout: Layout | None = None  # of the bodies that look like the one it was made from
        self.output_limit = request.output_limit
        self.output_tokens = output_tokens_max(route, request) * request.n
        self.estimate_tokens = estimated_output_tokens(request)
        # Of the proven input bound: what does not depend on the messages.
        self.extra_tokens = (
            request.bound.input_tokens - len(request.body) - MESSAGE_OVERHEAD_TOKENS * plain.turns
        )
        self.input_tokens_max = route.model.context_tokens or 1 << 62
        self.head = text_head_form(route.provider.name, route.upstream_model, request.output_limit)
        self.receipt = b""  # ``receipts.text_form``
        self.line: TextLine


class Note:
    """One head: who calls, and the frames seen under it."""

    __slots__ = ("__weakref__", "caller", "catalog", "frames", "last", "misses", "names", "seen")

    def __init__(
        self, caller: Caller, catalog: Catalog, names: tuple[str | None, str | None]
    ) -> None:
        self.caller = caller
        self.catalog = catalog
        self.names = names  # the client's own request id and session id
        self.frames: dict[bytes, Frame | None] = {}  # None: not the lane's
        self.last: tuple[Layout, bytes, Frame] | None = None  # the next body probably looks like it
        self.seen: set[int] = set()  # hashes of frames met once
        self.misses = 0

    def forget(self, catalog: Catalog) -> None:
        """Another catalog: nothing that was worked out holds."""
        self.catalog = catalog
        self.frames.clear()
        self.last = None
        self.seen.clear()
        self.misses = 0


class Frames:
    """Makes notes and frames."""

    def __init__(
        self,
        accounts: Accounts,
        catalog: CatalogSource,
        upstreams: Outbound,
        adapters: Mapping[str, Mapping[str, Adapter | MediaAdapter]],
        telemetry: Telemetry,
        chat_path: str,
    ) -> None:
        self._accounts = accounts
        self.catalog = catalog
        self._upstreams = upstreams
        self._adapters = adapters
        self._telemetry = telemetry
        self._chat_path = chat_path
        self._notes: WeakSet[Note] = WeakSet()
        self._kept_bytes = 0

    def note(self, heading: Heading) -> Note | None:
        """Who sends this head, if such requests may be plain; None: not now, or never. Kept with
        the head."""
        headers = heading.headers
        if heading.path != self._chat_path or heading.query or not _SPECIAL.isdisjoint(headers):
            heading.notes = UNFIT
            return None
        inbound = Inbound("", "POST", heading.path, b"", headers, b"", "", 0, 0)
        try:
            check_content_type(inbound)
            caller = self._accounts.lookup(bearer_token(inbound))
        except ApiError:
            return None
        if caller is None:
            return None
        names = (
            header_text(headers.get(b"x-client-request-id")),
            header_text(headers.get(b"x-session-id")),
        )
        heading.notes = found = Note(caller, self.catalog.current, names)
        self._notes.add(found)
        return found

    def miss(self, note: Note, plain: Plain, body: bytes) -> Frame | None:
        """A frame that is not kept yet: worked out when it is met a second time."""
        frame = plain.frame
        if frame in note.frames or len(frame) > FRAME_BYTES_MAX:
            return None  # it was judged before
        note.misses += 1
        if note.misses > MISSES_MAX and note.misses % RETRY_EVERY:
            return None
        mark = hash(frame)
        if mark not in note.seen:
            if len(note.seen) >= SEEN_MAX:
                note.seen.clear()
            note.seen.add(mark)
            return None
        note.misses = 0
        if len(note.frames) >= FRAMES_MAX:
            note.frames.clear()
            note.last = None
        self._kept_bytes += 2 * len(frame)  # as the frame and as its layout
        if self._kept_bytes > KEPT_BYTES_MAX:
            self._kept_bytes = 0
            for other in self._notes:
                other.forget(self.catalog.current)
        try:
            found = self._work_out(note, plain, body)
        except ApiError:
            found = None
        note.frames[frame] = found
        return found

    def _work_out(self, note: Note, plain: Plain, body: bytes) -> Frame | None:
        """The frame of this request by the rooms of the general way. Raises ApiError."""
        request = parse("chat", body)
        bound = request.bound
        if request.stream or request.attributes or bound.units or bound.image_input:
            return None
        upstreams = self._upstreams
        catalog = self.catalog.for_group(note.caller.group_id).current
        route = only_route(request, catalog, lambda _: AVAILABLE)
        if route is None:
            return None
        adapter = self._adapters[route.provider.adapter].get("chat")
        read = adapter.text_reader(route) if isinstance(adapter, ReadsText) else None
        prices = text_prices(route.prices)
        credential = upstreams.only_credential(route)
        request.output_limit = request.max_output_tokens
        if (
            adapter is None
            or read is None
            or prices is None
            or credential is None
            or not (request.output_limit or route.model.max_output_tokens)
        ):
            return None
        built = adapter.build(request, route, now_s=0)
        before = _before(built, plain)
        if before is None:
            return None
        frame = Frame(request, plain, route, credential, prices, read)
        frame.layout = layout(body, plain)
        frame.before = before
        frame.lead = upstreams.lead(route, credential, built)
        frame.receipt = text_form(
            note.caller.key_id, route, credential.id, request.output_limit, note.names
        )
        frame.line = self._telemetry.text_line(route.model.id, route.provider.name, note.caller)
        return frame


def _before(built: UpstreamRequest, plain: Plain) -> bytes | None:
    """The body upstream with the messages moved to its end, up to them. None if the messages or
    ``user`` would not go there as they came, or something of the caller's would not go at all."""
    body = built.body
    if built.dropped or built.from_root or built.url or built.method != "POST":
        return None
    if not isinstance(body, bytes):
        return None
    members = _members(body)
    messages, user = members.pop("messages", None), members.pop("user", None)
    if messages is None or bytes(messages) != plain.messages:
        return None
    if bytes(user or b"") != plain.user:
        return None
    others = b"".join([b"%b:%b," % (_encode(name), value) for name, value in members.items()])
    return b'{%b"messages":' % others
