"""Room 7: the answer on its way to the caller, settled before its last byte.

    answer    one JSON document of one exchange (chat, embeddings)
    stream    events pass as they come; the last ones wait for the settlement
    collect   media that may take several exchanges, made into the form asked for
    speak     audio that streams

Each ends with ``settlement.close`` and then the last bytes; what fails before that raises
UpstreamError or ClientGone, and ``gateway.py`` decides what becomes of the request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tokenmarket.adapters.protocol import Adapter, MediaAdapter, Reply, UpstreamRequest
from tokenmarket.billing.clock import Clock
from tokenmarket.billing.wallet import Wallet
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import UpstreamError
from tokenmarket.core.requests import Request
from tokenmarket.core.wire import Client
from tokenmarket.exchange import Exchange
from tokenmarket.idempotency import Claim
from tokenmarket.media import MediaRooms
from tokenmarket.replies import audio_head, reply_head, stream_head
from tokenmarket.settlement import Settlement
from tokenmarket.speech import EVENT_STREAM
from tokenmarket.upstream.credentials import Credential
from tokenmarket.upstream.outbound import Answer, Outbound

RESPONSE_BYTES_MAX = 64 * 1024 * 1024
EVENTS_SPARE = 1_024  # role, finish and empty events of all choices
PROGRESS_US = 1_000_000  # a stream that a crash cuts is charged for what this old a record says
PROGRESS_BYTES = 16 * 1024


class Relay:
    """Of one process; everything about one request is in its Exchange."""

    def __init__(
        self,
        settlement: Settlement,
        wallet: Wallet,
        media: MediaRooms,
        upstreams: Outbound,
        clock: Clock,
    ) -> None:
        self._settlement = settlement
        self._wallet = wallet
        self._media = media
        self._upstreams = upstreams
        self._clock = clock

    async def answer(
        self,
        adapter: Adapter | MediaAdapter,
        route: Route,
        request: Request,
        exchange: Exchange,
        client: Client,
        claim: Claim | None,
        response: Answer,
    ) -> None:
        """One JSON answer: read, settle, then the only byte block leaves."""
        body = await response.read(RESPONSE_BYTES_MAX)
        reply = adapter.read(request, route, response.head, body)
        if not isinstance(reply, Reply):
            raise TypeError(f"{exchange.operation} takes one exchange")
        await self._deliver(
            route, reply, "application/json", reply.payload, exchange, client, claim
        )

    async def collect(
        self,
        adapter: MediaAdapter,
        route: Route,
        request: Request,
        parts: tuple[Request, ...],
        calls: list[UpstreamRequest],
        exchange: Exchange,
        client: Client,
        claim: Claim | None,
        credential: Credential,
    ) -> None:
        """An answer that may take several exchanges, and is made into the form asked for."""

        def send(call: UpstreamRequest) -> Awaitable[Answer]:
            return self._upstreams.send(route, credential, call, route.provider.timeouts)

        def elapsed_us() -> int:
            return self._clock.monotonic_us() - exchange.started_us

        reply = await self._media.collect(
            adapter, route, request, parts, calls, send, exchange.attempts[-1], elapsed_us
        )
        rendered = await self._media.rendered(
            request, route, reply, exchange.org_id, credential.headers
        )
        await self._deliver(
            route, reply, rendered.content_type, rendered.payload, exchange, client, claim
        )

    async def _deliver(
        self,
        route: Route,
        reply: Reply,
        content_type: str,
        payload_of: Callable[[bytes | None], bytes],
        exchange: Exchange,
        client: Client,
        claim: Claim | None,
    ) -> None:
        """Settle a whole answer, then the only byte block leaves."""
        client.cancellable = False
        now_us = self._clock.monotonic_us()
        exchange.first_byte_us = now_us - exchange.started_us
        exchange.end_attempt(len(exchange.attempts) - 1, now_us, None)
        exchange.finish_reason = reply.finish_reason
        charge_nano = self._settlement.price(exchange, route, reply.usage)
        payload = payload_of(self._settlement.usage_json(exchange, charge_nano))
        await self._settle(exchange, charge_nano, claim, content_type, payload)
        head = reply_head(
            exchange, self._clock.monotonic_us(), content_type=content_type.encode("ascii")
        )
        client.respond(200, head, payload)

    async def speak(
        self,
        adapter: MediaAdapter,
        route: Route,
        request: Request,
        exchange: Exchange,
        client: Client,
        claim: Claim | None,
        response: Answer,
    ) -> None:
        """Audio passes as it comes; its last bytes wait for the settlement."""
        decoder = adapter.speech(request, route, response.head)
        exchange.decoder = decoder
        exchange.expected = decoder.expected

        def begin() -> None:
            cost_nano = None
            if decoder.expected is not None and not decoder.expected.estimated:
                cost_nano = self._settlement.price(exchange, route, decoder.expected)
            now_us = self._clock.monotonic_us()
            exchange.first_byte_us = now_us - exchange.started_us
            client.begin(200, audio_head(exchange, now_us, speech.content_type, cost_nano))

        speech = self._media.speech(request, client, begin)
        try:
            await speech.relay(response, decoder)
            client.cancellable = False
            exchange.end_attempt(len(exchange.attempts) - 1, self._clock.monotonic_us(), None)
            charge_nano = self._settlement.price(exchange, route, decoder.usage)
            tail = speech.tail(self._settlement.usage_json(exchange, charge_nano))
            await self._settle(exchange, charge_nano, claim, speech.content_type, tail)
            client.end(tail)
        finally:
            await speech.close()

    async def stream(
        self,
        adapter: Adapter | MediaAdapter,
        route: Route,
        request: Request,
        exchange: Exchange,
        client: Client,
        claim: Claim | None,
        response: Answer,
    ) -> None:
        """A stream: events pass as they come; the last ones wait for the settlement."""
        decoder = adapter.decoder(request, route, response.head)
        exchange.decoder = decoder
        # An event carries a token at least: more events than held tokens cannot be paid for.
        events_max = exchange.bound.output_tokens + EVENTS_SPARE
        monotonic_us, feed, write = self._clock.monotonic_us, decoder.feed, client.write
        unnoted_bytes, note_us = 0, monotonic_us() + PROGRESS_US

        def take(data: bytes) -> bool:
            """One read of the upstream goes straight on; True: the client reads slowly."""
            nonlocal unnoted_bytes, note_us
            events = feed(data)
            if not events:
                return False
            if not client.begun:
                self._begin(exchange, client)
            exchange.events_sent = sent = exchange.events_sent + events.count(b"\n\n")
            if sent > events_max:
                raise UpstreamError("upstream_error", "more output than was asked for")
            unnoted_bytes += len(data)
            now_us = monotonic_us()
            if now_us >= note_us or unnoted_bytes >= PROGRESS_BYTES:
                unnoted_bytes, note_us = 0, now_us + PROGRESS_US
                self._settlement.note_progress(exchange, route)
            return write(events)

        while await response.relay(take):
            await client.drained()
        rest = decoder.finish()
        client.cancellable = False
        exchange.end_attempt(len(exchange.attempts) - 1, self._clock.monotonic_us(), None)
        exchange.finish_reason = decoder.finish_reason
        charge_nano = self._settlement.price(exchange, route, decoder.usage)
        usage = (
            self._settlement.usage_json(exchange, charge_nano) if request.include_usage else None
        )
        tail = rest + decoder.tail(usage)
        await self._settle(exchange, charge_nano, claim, EVENT_STREAM, tail)
        if not client.begun:
            self._begin(exchange, client)
        client.end(tail)

    async def _settle(
        self,
        exchange: Exchange,
        charge_nano: int,
        claim: Claim | None,
        content_type: str,
        last: bytes,
    ) -> None:
        """The one end of an answer that went well; ``last`` may leave when this returns."""
        if claim is not None:
            claim.answered(200, content_type, last)
        offset = self._settlement.close(exchange, "succeeded", charge_nano, claim)
        await self._wallet.durable(offset)

    def _begin(self, exchange: Exchange, client: Client) -> None:
        now_us = self._clock.monotonic_us()
        exchange.first_byte_us = now_us - exchange.started_us
        client.begin(200, stream_head(exchange, now_us))
