"""The path of one request, room by room. Read this file to know what TokenMarket does.

    authenticate -> parse -> plan -> admit -> [ translate -> send -> relay ] -> settle -> record

What a reader must know:

* Bytes are pushed: ``client.write`` is called from here, inside the hold; nothing is a generator.
* A request ends in exactly one outcome: ``settlement.close`` is the only place that ends a hold,
  and it does so once; its journal record is written before the last byte leaves.
* The next route is tried only while no byte has reached the client, and only after the failed
  attempt's connection is closed or back in its pool.
* Plain chats, most of the traffic, take the same steps in one pass (``lane``); what turns out not
  to be plain comes back here, at ``go_on``.
* Between admission and the last byte there is no SQL and no lock; every await is the network
  (but for the first request of an organisation, whose lease is taken then).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from tokenmarket.accounts import Accounts, Caller
from tokenmarket.adapters.protocol import Adapter, MediaAdapter, UpstreamRequest
from tokenmarket.admission import Admission
from tokenmarket.billing.clock import Clock
from tokenmarket.billing.records import StoredAnswer
from tokenmarket.billing.wallet import Wallet
from tokenmarket.catalog import CatalogSource
from tokenmarket.contents import Recorder
from tokenmarket.core.catalog import OPERATIONS, Route
from tokenmarket.core.errors import CREDENTIAL, ApiError, UpstreamError
from tokenmarket.core.intake import intake
from tokenmarket.core.media_rules import resolve
from tokenmarket.core.parse import parse
from tokenmarket.core.requests import Request
from tokenmarket.core.routing import Plan, RouteState, output_tokens_max, plan, route_bound
from tokenmarket.core.trace import continued, trace_id
from tokenmarket.core.uploads import THREAD_BYTES
from tokenmarket.core.wire import Client, ClientGone, Inbound, bearer_token, check_content_type
from tokenmarket.core.wording import say
from tokenmarket.exchange import Exchange
from tokenmarket.idempotency import Claim, Idempotency
from tokenmarket.lane import Call
from tokenmarket.media import MediaRooms
from tokenmarket.relay import Relay
from tokenmarket.replies import (
    ErrorBodies,
    caller_error,
    error_head,
    language_of,
    reply_head,
)
from tokenmarket.settlement import Settlement
from tokenmarket.telemetry import Telemetry
from tokenmarket.upstream.credentials import Credential
from tokenmarket.upstream.outbound import Answer, Outbound

ERROR_BODY_BYTES_MAX = 256 * 1024
ATTEMPTS_PER_ROUTE_MAX = 4  # keys of a pool that may be refused one after the other
_TEXT = frozenset({"chat", "completions", "embeddings"})  # JSON in, no files, no media rooms


class Gateway:
    """All inference requests of this process. Owns nothing: the parts are handed in by app.py."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        admission: Admission,
        catalog: CatalogSource,
        wallet: Wallet,
        idempotency: Idempotency,
        upstreams: Outbound,
        adapters: Mapping[str, Mapping[str, Adapter | MediaAdapter]],
        media: MediaRooms,
        contents: Recorder,
        telemetry: Telemetry,
        clock: Clock,
        draw: Callable[[], int],
        errors: ErrorBodies,
    ) -> None:
        self.accounts = accounts
        self.admission = admission
        self.catalog = catalog
        self.wallet = wallet
        self.settlement = Settlement(wallet, telemetry, clock)
        self.relay = Relay(self.settlement, wallet, media, upstreams, clock)
        self.idempotency = idempotency
        self.upstreams = upstreams
        self.adapters = adapters
        self.media = media
        self.contents = contents
        self.telemetry = telemetry
        self.clock = clock
        self.draw = draw
        self.errors = errors
        self.running: dict[str, Exchange] = {}
        self._states = {operation: self._state_for(operation) for operation in OPERATIONS}

    def _state_for(self, operation: str) -> Callable[[Route], RouteState]:
        """Route state for one operation: an adapter that lacks it cannot be chosen."""
        offering = frozenset(name for name, table in self.adapters.items() if operation in table)
        state = self.upstreams.state

        def route_state(route: Route) -> RouteState:
            if route.provider.adapter in offering:
                return state(route)
            return RouteState(
                available=False,
                kind="unpriced",
                reason=f"{route.provider.name} does not offer {operation}",
            )

        return route_state

    # --- the rooms --------------------------------------------------------------------------------

    async def run(
        self,
        operation: str,
        inbound: Inbound,
        client: Client,
        refused: ApiError | None = None,
        *,
        copied: bool = False,
    ) -> None:
        """One request from its first room to its one outcome. Raises nothing but cancellation.
        ``refused``: what was found wrong before it came here; it goes no further than its key.
        ``copied``: if its content is to be kept, somebody else sees to it."""
        exchange = Exchange(operation, inbound)
        rooms = self._rooms(exchange, client, refused, copied=copied)
        await self._to_outcome(exchange, client, rooms)

    async def go_on(self, exchange: Exchange, client: Client, sent: Call) -> None:
        """A plain chat that the lane has sent and that turned out not to be plain."""
        request, plan = exchange.request, exchange.plan
        if request is not None and plan is not None:
            rest = self._try_routes(request, plan, exchange, client, None, sent)
            await self._to_outcome(exchange, client, rest)

    async def _to_outcome(
        self, exchange: Exchange, client: Client, rooms: Coroutine[Any, Any, None]
    ) -> None:
        inbound = exchange.inbound
        self.running[inbound.request_id] = exchange
        try:
            await rooms
        except ApiError as error:
            self._fail(exchange, exchange.copy or client, error)
        except (ClientGone, asyncio.CancelledError):
            self._abandon(exchange)
        except Exception as error:
            self.telemetry.crash(inbound.request_id, error)
            self._fail(
                exchange,
                exchange.copy or client,
                ApiError("PLATFORM_002", "An internal error; nothing was charged."),
            )
        finally:
            client.cancellable = False
            del self.running[inbound.request_id]
            if exchange.copy is not None:
                self.contents.keep(exchange.copy)

    async def _rooms(
        self, exchange: Exchange, client: Client, refused: ApiError | None, *, copied: bool
    ) -> None:
        inbound = exchange.inbound
        exchange.caller = caller = await self._authenticate(inbound)
        if caller.keeps_content and not copied:
            exchange.copy = self.contents.copy(caller.org_id, inbound, client)
            client = exchange.copy or client
        self.admission.limits_of(caller)  # every answer from here on tells the limits
        if refused is not None:
            raise refused
        claim = await self.idempotency.claim(caller.org_id, inbound)
        try:
            if claim is not None:
                exchange.idempotency_key = claim.key
                if claim.answer is not None:
                    self._replay(exchange, client, claim.answer)
                    return
                client = claim.recording(client)
            if exchange.operation in _TEXT:
                check_content_type(inbound)
                request = parse(exchange.operation, inbound.body)
            else:
                request = await self._taken_in(exchange.operation, inbound)
                if exchange.copy is not None and inbound.spool is not None:
                    exchange.copy.read_form(request.body, [file.upload for file in request.inputs])
            exchange.request = request
            request.request_id = exchange.request_id
            request.created_s = inbound.accepted_us // 1_000_000
            offer = self.catalog.for_group(caller.group_id)
            exchange.plan = chosen = plan(
                request,
                caller.allowed,
                offer.current,
                self._states[exchange.operation],
                draw=self.draw(),
                near_names=offer.near_names,
            )
            if exchange.operation not in _TEXT:
                resolve(request, chosen.routes[0].model)
            await self.admission.admit(request, chosen, exchange, caller)
            await self._try_routes(request, chosen, exchange, client, claim)
        finally:
            if claim is not None:
                claim.release()

    async def _taken_in(self, operation: str, inbound: Inbound) -> Request:
        """A form is read from its spool: what takes long does so beside the event loop."""
        if inbound.spool is not None and inbound.spool.size > THREAD_BYTES:
            return await asyncio.to_thread(intake, operation, inbound)
        return intake(operation, inbound)

    async def _authenticate(self, inbound: Inbound) -> Caller:
        token = bearer_token(inbound)
        caller = self.accounts.lookup(token)
        if caller is None:
            caller = await self.accounts.authenticate(token, inbound.address)
        return caller

    async def _try_routes(
        self,
        request: Request,
        plan: Plan,
        exchange: Exchange,
        client: Client,
        claim: Claim | None,
        sent: Call | None = None,
    ) -> None:
        """Route after route until one answers. Raises the last failure as the caller's error."""
        failure: UpstreamError | None = None
        refusal = ApiError("REQUEST_002", "no route was tried")
        for index, route in enumerate(plan.routes):
            for _ in range(ATTEMPTS_PER_ROUTE_MAX):
                try:
                    first, sent = sent, None
                    await self._attempt(index, route, request, exchange, client, claim, first)
                    return
                except UpstreamError as error:
                    failure = error
                except ApiError as error:
                    # This route cannot express it, or its model (``models``) lacks what the first
                    # one has: the next may, and the failure of the first is what is told.
                    if error.code != "REQUEST_002" and not (index and error.code == "REQUEST_001"):
                        raise
                    refusal = error
                    exchange.skip(index, error.message)
                    break
                if client.begun or not failure.failover:
                    raise caller_error(failure, exchange, stream=client.begun)
                # A key of ours was refused and rests now: is there another one for this route?
                if (
                    failure.kind not in CREDENTIAL
                    or failure.status is None
                    or not self.upstreams.state(route).available
                ):
                    break
        if failure is None:
            raise refusal
        raise caller_error(failure, exchange, stream=False)

    async def _attempt(
        self,
        index: int,
        route: Route,
        request: Request,
        exchange: Exchange,
        client: Client,
        claim: Claim | None,
        sent: Call | None,
    ) -> None:
        """Translate, send, relay and settle at one route; UpstreamError if it did not work."""
        adapter = self.adapters[route.provider.adapter][exchange.operation]
        # With an idempotency key the answer is finished and kept even if the client leaves.
        client.cancellable = claim is None
        media = adapter if isinstance(adapter, MediaAdapter) else None
        parts: tuple[Request, ...] = ()
        if media is not None:
            if index:
                resolve(request, route.model)
            request = await self.media.prepared(media, request, route, exchange.org_id)
            parts = media.split(request, route)
        call = self._call(adapter, parts[0] if parts else request, route, exchange)
        if index:  # admission bounded the first route
            exchange.bound = route_bound(route, request, output_tokens_max(route, request))
        credential: Credential | None = None
        response: Answer | None = None
        if sent is None:
            attempt = exchange.begin_attempt(index, route, self.clock.monotonic_us())
        else:
            attempt, credential, response = exchange.attempts[0], sent.frame.credential, sent
        failure: UpstreamError | None = None
        try:
            if sent is not None:
                if client.gone:
                    raise ClientGone
                await sent.headed()
            if credential is None or response is None:
                credential = self.upstreams.acquire(route)
                attempt.credential_id = credential.id
                if media is not None and not media.streams(request, route):
                    calls = [call, *(self._call(media, p, route, exchange) for p in parts[1:])]
                    await self.relay.collect(
                        media, route, request, parts, calls, exchange, client, claim, credential
                    )
                    return
                timeouts = route.provider.timeouts
                response = await self.upstreams.send(route, credential, call, timeouts)
            head = response.head
            attempt.status = head.status
            attempt.first_byte_us = self.clock.monotonic_us() - exchange.started_us
            attempt.upstream_request_id = head.headers.get("x-request-id")
            if not 200 <= head.status < 300:
                raise adapter.explain(head, await response.read(ERROR_BODY_BYTES_MAX))
            if media is not None and exchange.operation == "speech":
                await self.relay.speak(media, route, request, exchange, client, claim, response)
            elif request.stream:
                await self.relay.stream(adapter, route, request, exchange, client, claim, response)
            else:
                await self.relay.answer(adapter, route, request, exchange, client, claim, response)
        except UpstreamError as error:
            failure = error
            raise
        except RecursionError:
            failure = UpstreamError("upstream_error", "the answer is nested too deeply")
            raise failure from None
        except BaseException:
            if response is not None:
                response.abort()
            raise
        finally:
            client.cancellable = False
            if failure is not None and response is not None:
                response.abort()
            if attempt.finished_us is None:
                exchange.end_attempt(index, self.clock.monotonic_us(), failure)
            if credential is not None:
                self._release(route, credential, failure, exchange)

    def _call(
        self, adapter: Adapter | MediaAdapter, request: Request, route: Route, exchange: Exchange
    ) -> UpstreamRequest:
        """The translated request, with the trace continued. ApiError(REQUEST_002) if something
        would be dropped that the caller requires."""
        try:
            call = adapter.build(request, route, now_s=request.created_s)
        except msgspec.DecodeError as error:  # of a member that nothing had read before (1e999)
            raise ApiError(
                "REQUEST_001", say("The body cannot be passed on: {error}.", error=error)
            ) from None
        traceparent = exchange.inbound.headers.get(b"traceparent")
        if traceparent is not None and trace_id(traceparent) is not None:
            header = ("traceparent", continued(traceparent, exchange.request_id))
            call = msgspec.structs.replace(call, headers=(*call.headers, header))
        exchange.dropped_params = call.dropped
        if call.dropped and request.choice and request.choice.require_parameters:
            raise ApiError(
                "REQUEST_002",
                say(
                    "{provider_name} does not take {dropped}.",
                    provider_name=route.provider.name,
                    dropped=", ".join(call.dropped),
                ),
                param=call.dropped[0],
            )
        return call

    def _release(
        self,
        route: Route,
        credential: Credential,
        failure: UpstreamError | None,
        exchange: Exchange,
    ) -> None:
        """What this attempt says about the key and the route."""
        attempt = exchange.attempts[-1]
        usage = exchange.usage
        first_byte_us = tokens_per_s = None
        if attempt.first_byte_us is not None:
            first_byte_us = attempt.first_byte_us - attempt.started_us
            span_us = (attempt.finished_us or 0) - attempt.first_byte_us
            if usage is not None and exchange.events_sent > 1 and span_us > 0:
                tokens_per_s = exchange.completion_tokens * 1_000_000 / span_us
        self.upstreams.release(
            route,
            credential,
            failure,
            first_byte_us=first_byte_us,
            tokens=exchange.prompt_tokens + exchange.completion_tokens,
            tokens_per_s=tokens_per_s,
        )

    # --- other ends -----------------------------------------------------------------------------

    def _fail(self, exchange: Exchange, client: Client, error: ApiError) -> None:
        """The error reaches the caller once; what the upstream did report is charged."""
        if exchange.status == "running" and exchange.caller is not None:
            exchange.error = error
            charge_nano = 0
            decoder = exchange.decoder
            if client.begun and decoder is not None and exchange.route is not None:
                exchange.finish_reason = decoder.finish_reason
                exchange.usage, exchange.items = None, []  # what a whole answer would have been
                if decoder.usage is not None:
                    charge_nano = self.settlement.price(exchange, exchange.route, decoder.usage)
            rejected = not exchange.attempts
            try:
                self.settlement.close(exchange, "rejected" if rejected else "failed", charge_nano)
            except Exception as crash:
                self.telemetry.crash(exchange.request_id, crash)
        elif exchange.caller is None:
            exchange.error = error
            self.telemetry.unauthenticated(exchange, error)
        if client.gone:
            return
        language = language_of(exchange.inbound)
        if client.begun:
            if _is_bare_audio(exchange):
                return  # an unfinished answer is closed: nothing else tells a player it was cut
            client.end(self.errors.event(error, exchange.request_id, language))
        else:
            client.respond(
                error.status,
                error_head(exchange, error, self.clock.monotonic_us()),
                self.errors.body(error, exchange.request_id, language, exchange.operation),
            )

    def _abandon(self, exchange: Exchange) -> None:
        """The client left. Before its first byte nothing is due; after it, what was delivered."""
        if exchange.status != "running" or exchange.caller is None:
            return
        exchange.error = ApiError("CLIENT_001", "The client closed the connection.")
        charge_nano = 0
        decoder = exchange.decoder
        route = exchange.route
        if exchange.first_byte_us is not None and decoder is not None and route is not None:
            exchange.finish_reason = decoder.finish_reason
            usage = decoder.usage or exchange.expected
            if usage is None and exchange.operation in _TEXT:
                usage = exchange.delivered_usage()
            charge_nano = self.settlement.price(exchange, route, usage)
        try:
            self.settlement.close(exchange, "cancelled", charge_nano)
        except Exception as crash:
            self.telemetry.crash(exchange.request_id, crash)

    def _replay(self, exchange: Exchange, client: Client, answer: StoredAnswer) -> None:
        """The stored answer of the same key and body, free of charge."""
        self.settlement.close(exchange, "succeeded", 0)
        head = reply_head(
            exchange,
            self.clock.monotonic_us(),
            content_type=answer.content_type.encode("ascii"),
            replayed=True,
        )
        client.respond(answer.status, head, answer.body)


def _is_bare_audio(exchange: Exchange) -> bool:
    request = exchange.request
    return exchange.operation == "speech" and request is not None and not request.stream
