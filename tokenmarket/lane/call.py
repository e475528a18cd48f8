"""One plain chat through the lane: ``Lane.offers`` when it arrives, ``Call.ended`` at its answer.

What a reader must know:

* Both steps are synchronous. In the first nothing is taken before everything was checked, so
  "not the lane's" (None) leaves nothing behind; in the second everything is read and computed
  before the settlement, and the settlement is written before the answer leaves, as in the rooms.
* Each step is a row of stages, which all requests or answers of one turn of the loop pass together
  (``offers.py``, ``answers.py``).
* ``Call.hand_over`` makes the Exchange that the rooms would have at this moment and lets
  ``gateway.py`` go on with it: an answer that is not plain, a failure, an end of this process.
* A Call is the upstream's response (``upstream/response.py``) with another way of waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from tokenmarket.adapters.protocol import TextAnswer
from tokenmarket.admission import BYTES_PER_TOKEN_ESTIMATE, Admission
from tokenmarket.billing.clock import Clock
from tokenmarket.billing.records import UsageEvent
from tokenmarket.billing.wallet import (
    AdmissionStopped,
    Hold,
    InsufficientFunds,
    JournalFailed,
    SpendLimitReached,
    Wallet,
)
from tokenmarket.core import wire
from tokenmarket.core.errors import ApiError
from tokenmarket.core.money import usd_bytes
from tokenmarket.core.parse import MESSAGE_OVERHEAD_TOKENS, parse
from tokenmarket.core.plain_chat import Plain, inside, split
from tokenmarket.core.routing import EVERYTHING, Candidate, Plan, output_tokens_max, route_bound
from tokenmarket.core.text_prices import TextBill, usage_facts
from tokenmarket.exchange import Exchange
from tokenmarket.lane.answers import Answers
from tokenmarket.lane.frames import UNFIT, Frame, Frames, Heading, Note
from tokenmarket.lane.offers import Offer, Offers
from tokenmarket.limits import Ticket
from tokenmarket.telemetry import Telemetry
from tokenmarket.upstream.connection import Connection
from tokenmarket.upstream.outbound import Outbound
from tokenmarket.upstream.response import UpstreamResponse

_encode = msgspec.json.Encoder().encode
_decode_text = msgspec.json.Decoder(str).decode


class Client(wire.Client, Protocol):
    """A caller's connection as the lane needs it."""

    def address(self, headers: dict[bytes, bytes]) -> str: ...
    def taken(self, call: Call) -> None:
        """The lane serves the request."""
        ...

    def left(self, heading: Heading, body: bytes) -> None:
        """The lane does not."""
        ...

    def over(self) -> None:
        """The request is answered; the connection may take the next one."""
        ...

    def go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """The request is served by this from now on, as one that came the general way."""
        ...


# Goes on with an exchange whose first attempt was sent: the rooms' (gateway.py).
Rooms = Callable[[Exchange, Client, "Call"], Coroutine[Any, Any, None]]


class Lane:
    """All plain chats of this process."""

    def __init__(
        self,
        frames: Frames,
        admission: Admission,
        wallet: Wallet,
        upstreams: Outbound,
        telemetry: Telemetry,
        clock: Clock,
        rooms: Rooms,
        new_id: Callable[[int], str],
    ) -> None:
        self.frames = frames
        self.admission = admission
        self.wallet = wallet
        self.upstreams = upstreams
        self.telemetry = telemetry
        self.wall_us = clock.wall_us
        self.monotonic_us = clock.monotonic_us
        self.rooms = rooms
        self.new_id = new_id
        self.calls: dict[str, Call] = {}
        self.offers = Offers(self.recognise, self.admit, self.send, telemetry, clock)
        # In the outbox behind the answers themselves: nobody waits for what is told.
        self.told = Answers((Call.tell,), telemetry)
        self.answers = Answers(
            (Call.understand, Call.settle, Call.respond),
            telemetry,
            self.told.add,
        )
        # Where an answer has to wait for the disk, it waits in the rooms.
        self.on = wallet.settles_at_once

    def recognise(self, offer: Offer) -> tuple[Call, Plain] | None:
        """A plain chat; None: it is not, and nothing is known of it."""
        heading, body, client, wall_us, started_us = offer
        note = heading.notes
        if type(note) is not Note:
            note = None if note is UNFIT or not self.on else self.frames.note(heading)
            if note is None:
                return None
        caller = note.caller
        if (
            caller.refused is not None
            or caller.addresses is not None
            or caller.allowed is not EVERYTHING
            or caller.keeps_content
        ):
            return None
        if caller.expires_at_s is not None and wall_us >= caller.expires_at_s * 1_000_000:
            return None
        catalog = self.frames.catalog.current
        if note.catalog is not catalog:
            note.forget(catalog)
        last = note.last
        plain = None if last is None else inside(body, last[0], last[1])
        if last is not None and plain is not None:
            frame: Frame | None = last[2]
        else:
            plain = split(body)
            if plain is None:
                return None
            frame = note.frames.get(plain.frame) or self.frames.miss(note, plain, body)
            if frame is None:
                return None
            if frame.layout is not None:
                note.last = (frame.layout, plain.frame, frame)
        try:
            user = _user(plain.user) if plain.user else ""
        except msgspec.DecodeError:
            return None
        return Call(self, note, frame, heading, client, body, user, wall_us, started_us), plain

    def admit(self, call: Call, plain: Plain) -> Connection | None:
        """Limits, money, a connection: all or nothing (None)."""
        frame, caller = call.frame, call.note.caller
        funds = caller.funds
        if funds is None:
            return None
        route = frame.route
        bound_tokens = len(call.body) + MESSAGE_OVERHEAD_TOKENS * plain.turns + frame.extra_tokens
        limits = caller.limiter or self.admission.limits_of(caller)
        connection = self.upstreams.take(route, frame.credential)
        if connection is None:
            return None
        call.sent_us = now_us = self.monotonic_us()
        try:
            call.ticket = limits.take(
                bound_tokens // BYTES_PER_TOKEN_ESTIMATE + frame.estimate_tokens, now_us
            )
        except ApiError:
            self.upstreams.untake(route, frame.credential, connection)
            return None
        input_tokens = min(bound_tokens, frame.input_tokens_max)
        call.input_tokens_max = input_tokens
        call.request_id = self.new_id(call.accepted_us)
        try:
            call.hold = self.wallet.try_hold(
                funds,
                call.request_id,
                frame.prices.ceiling(input_tokens, frame.output_tokens),
                model=route.model.id,
                price_version=route.prices.version,
                provider=route.provider.name,
            )
        except (InsufficientFunds, SpendLimitReached, AdmissionStopped, JournalFailed):
            call.ticket.cancel()
            self.upstreams.untake(route, frame.credential, connection)
            return None
        caller.used = True
        self.calls[call.request_id] = call
        return connection

    def send(self, call: Call, plain: Plain, connection: Connection) -> None:
        """The request leaves with this turn of the loop."""
        frame = call.frame
        end = b',"user":%b}' % plain.user if plain.user else b"}"
        before, messages = frame.before, plain.messages
        # all timeouts count from here
        call.started_s = call.sent_s = call.last_s = call.written_s = connection.now_s()
        connection.begin(
            call,
            b"%bcontent-length: %d\r\n\r\n%b%b%b"
            % (
                frame.lead,
                len(before) + len(messages) + len(end),
                before,
                messages,
                end,
            ),
            b"",
        )
        call.client.cancellable = True

    def running(self, request_id: str) -> Exchange | None:
        """What is known of a running request."""
        call = self.calls.get(request_id)
        return None if call is None else call.exchange()


@lru_cache(maxsize=4096)
def _user(raw: bytes) -> str:
    return _decode_text(raw)[:128]


class Call(UpstreamResponse):
    """One request and its answer."""

    __slots__ = (
        "accepted_us",
        "bill",
        "body",
        "client",
        "found",
        "frame",
        "heading",
        "hold",
        "input_tokens_max",
        "lane",
        "note",
        "now_us",
        "request_id",
        "sent_us",
        "started_us",
        "ticket",
        "user",
        "wall_us",
        "written_id",
    )

    # as soon as the request is admitted
    hold: Hold
    ticket: Ticket
    request_id: str
    # by the stages of its answer, each for the later ones
    now_us: int
    wall_us: int
    found: TextAnswer
    bill: TextBill
    written_id: bytes

    def __init__(
        self,
        lane: Lane,
        note: Note,
        frame: Frame,
        heading: Heading,
        client: Client,
        body: bytes,
        user: str,
        accepted_us: int,
        started_us: int,
    ) -> None:
        UpstreamResponse.__init__(self, 0.0, 0.0, frame.route.provider.timeouts, reused=True)
        self.lane: Lane | None = lane  # None: the rooms have it
        self.note = note
        self.frame = frame
        self.heading = heading
        self.client = client
        self.body = body
        self.user = user
        self.accepted_us = accepted_us
        self.started_us = started_us
        self.sent_us = 0
        self.input_tokens_max = 0

    # --- from the upstream's connection -----------------------------------------------------------

    def ended(self) -> None:
        """The answer is here."""
        if self.lane is None:
            super().ended()
        else:
            self.lane.answers.add(self)

    def wake(self) -> None:
        """Bytes or an error have come. Only what the rooms should see is of interest."""
        if self.lane is None:
            super().wake()
        elif self.error is not None or self.paused:
            self.hand_over()

    # --- the answer, in stages. False: it is not plain, and nothing has happened ------------------

    def understand(self) -> bool:
        """What does it say, and what does it cost?"""
        lane, frame, hold = self.lane, self.frame, self.hold
        if lane is None:
            return False
        self.now_us = lane.monotonic_us()
        if not 200 <= self.head.status < 300:
            return False
        chunks = self.inbox
        received = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        found = frame.read(self.request_id, self.accepted_us // 1_000_000, received)
        if found is None:
            return False
        self.found = found
        self.bill = bill = frame.prices.bill(found.counts)
        return (  # or it is to be repaired, capped, or taken from several buckets
            bill.prompt_tokens <= self.input_tokens_max
            and bill.completion_tokens <= frame.output_tokens
            and 0 < bill.charge_nano <= hold.amount_nano
            and len(hold.parts) == 1
        )

    def settle(self) -> bool:
        """Charge, and write the receipt. From here on only the answer is missing."""
        lane = self.lane
        if lane is None:
            return False
        try:
            lane.wallet.settle_text(self.hold, self._event())
        except JournalFailed:
            return False
        return True

    def _event(self) -> UsageEvent:
        """As ``receipts.usage_event`` writes it."""
        frame, hold, found, head, bill = self.frame, self.hold, self.found, self.head, self.bill
        started_us, accepted_us, charge_nano = self.started_us, self.accepted_us, bill.charge_nano
        self.written_id = written_id = self.request_id.encode("ascii")
        ended_us = self.now_us - started_us
        self.wall_us = finished_us = accepted_us + ended_us
        sent_us = self.sent_us - started_us
        usage = usage_facts(found.counts, found.service_tier)
        receipt = frame.receipt % (
            written_id,
            accepted_us // 1_000_000,
            ended_us,
            ended_us,
            sent_us,
            sent_us,
            head.status,
            ended_us,
            ended_us - int((self.last_s - self.head_s) * 1e6),  # the head was there before the end
            _encode(head.headers.get("x-request-id")),
            usage,
            bill.items,
            hold.amount_nano,
            charge_nano,
            hold.amount_nano - charge_nano,
            written_id,
            _encode(found.finish_reason),
        )
        caller, route, counts = self.note.caller, frame.route, found.counts
        return UsageEvent(
            self.request_id,
            caller.org_id,
            caller.key_id,
            accepted_us,
            finished_us,
            "chat",
            route.model.id,
            route.provider.name,
            "succeeded",
            "",
            charge_nano,
            0,
            bill.prompt_tokens,
            bill.completion_tokens,
            counts.cached,
            counts.reasoning,
            usage.decode("ascii"),
            route.prices.version,
            receipt,
        )

    def respond(self) -> bool:
        """The answer leaves with this turn of the loop."""
        lane, bill, caller, now_us = self.lane, self.bill, self.note.caller, self.now_us
        if lane is None:
            return False
        self.ticket.done(bill.prompt_tokens + bill.completion_tokens)
        duration_us = now_us - self.started_us
        overhead_us = self.sent_us - self.started_us
        limits, funds = caller.limiter, caller.funds
        self.client.respond(
            200,
            self.frame.head
            % (
                self.written_id,
                duration_us // 1000,
                overhead_us / 1000,
                b"" if limits is None else limits.headers(now_us),
                bill.charge_usd,
                usd_bytes(0 if funds is None else lane.wallet.balance_nano(funds, self.wall_us)),
            ),
            b"%b%b}" % (self.found.prefix, bill.usage),
        )
        return True

    def tell(self) -> bool:
        """Log line, metrics, health; the end."""
        lane, frame, now_us, bill = self.lane, self.frame, self.now_us, self.bill
        if lane is None:
            return False
        duration_us = now_us - self.started_us
        lane.telemetry.finished_text(
            frame.line,
            self.written_id,
            self.accepted_us + duration_us,
            duration_us,
            bill.charge_nano,
            bill.prompt_tokens,
            bill.completion_tokens,
            self.user,
        )
        first_us = now_us - self.sent_us - int((self.last_s - self.head_s) * 1e6)
        lane.upstreams.release(frame.route, frame.credential, None, first_byte_us=first_us)
        del lane.calls[self.request_id]
        self.lane = None
        self.client.over()
        return True

    # --- the rooms --------------------------------------------------------------------------------

    def hand_over(self) -> None:
        """The rooms go on with it; the client may have left."""
        lane, self.lane = self.lane, None
        if lane is not None:
            del lane.calls[self.request_id]
            self.client.go_on(lane.rooms(self.exchange(), self.client, self))

    def exchange(self) -> Exchange:
        """What the rooms would know by now."""
        frame, heading, body = self.frame, self.heading, self.body
        route, headers = frame.route, heading.headers_for(body)
        exchange = Exchange(
            "chat",
            wire.Inbound(
                self.request_id,
                "POST",
                heading.path,
                heading.query,
                headers,
                body,
                self.client.address(headers),
                self.accepted_us,
                self.started_us,
            ),
        )
        request = parse("chat", body)
        request.request_id = self.request_id
        request.created_s = self.accepted_us // 1_000_000
        request.output_limit = frame.output_limit
        candidate = Candidate(route.provider.name, route.upstream_model)
        exchange.caller = self.note.caller
        exchange.request = request
        exchange.plan = Plan(route.model.policy, None, (route,), (candidate,))
        exchange.ticket = self.ticket
        exchange.hold = exchange.hold_open = self.hold
        exchange.bound = route_bound(route, request, output_tokens_max(route, request))
        attempt = exchange.begin_attempt(0, route, self.sent_us)
        attempt.credential_id = frame.credential.id
        return exchange
