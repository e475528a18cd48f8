"""The rooms of media requests: what stands between an adapter and the caller besides one answer.

    prepared   the caller's files in the form that the provider takes (fetched, or published)
    collect    the exchanges of one attempt: parts side by side, polls, second addresses
    rendered   the answer in the form the caller asked for: files as base64 or as addresses of
               ours, transcripts as subtitles, audio in its format

``gateway.py`` calls them in this order and keeps money, attempts and ends to itself.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from tokenmarket import transcode
from tokenmarket.adapters.protocol import (
    Again,
    Head,
    MediaAdapter,
    Produced,
    Reply,
    UpstreamRequest,
)
from tokenmarket.core.addresses import same_site
from tokenmarket.core.bodies import ImageBody, SpeechBody, TranscriptionBody
from tokenmarket.core.catalog import Route, Timeouts
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.media.sniff import sniff
from tokenmarket.core.media.speech import FORMATS, delta_event
from tokenmarket.core.media.transcript_events import events
from tokenmarket.core.media.transcript_formats import CONTENT_TYPES, render
from tokenmarket.core.media.transcripts import NotInTranscript
from tokenmarket.core.media_answers import Picture, image_events, images_members, speech_done_event
from tokenmarket.core.media_inputs import HEAD_BYTES, checked
from tokenmarket.core.requests import Request
from tokenmarket.core.uploads import Input, memory_upload
from tokenmarket.core.wire import Client
from tokenmarket.core.wording import say
from tokenmarket.exchange import Attempt
from tokenmarket.speech import EVENT_STREAM, Speech, asked_format, converted
from tokenmarket.upstream.fetch import TIMEOUTS, Fetcher, FetchRefused, origins_of
from tokenmarket.upstream.origin import Headers
from tokenmarket.upstream.outbound import Answer

RESPONSE_BYTES_MAX = 64 * 1024 * 1024
ERROR_BODY_BYTES_MAX = 256 * 1024
INPUT_BYTES_MAX = 50 * 1024 * 1024
FETCHED_BYTES_MAX = 64 * 1024 * 1024  # of all addresses in one request
FETCHED_S_MAX = 60.0
PARTS_AT_ONCE = 4
ASK_AGAIN_S = 1.0
_PASSING = frozenset({"rate_limited", "overloaded", "connect", "timeout", "upstream_error"})

Send = Callable[[UpstreamRequest], Awaitable[Answer]]


_decode = msgspec.json.Decoder(dict[str, object]).decode


class Shelf(Protocol):
    """Where files wait for the caller."""

    async def keep(self, org_id: str, request_id: str, data: bytes, content_type: str) -> str:
        """The address of ours under which the bytes can be had for a while."""
        ...


class Rendered(msgspec.Struct):
    """An answer that only lacks its usage object: ``payload(usage_json)`` is the body."""

    content_type: str
    payload: Callable[[bytes | None], bytes]


class MediaRooms:
    """Of one process. Owns nothing: fetch and shelf are handed in by app.py."""

    def __init__(self, fetcher: Fetcher, shelf: Shelf) -> None:
        self._fetcher = fetcher
        self._shelf = shelf

    # --- before sending -------------------------------------------------------------------------

    async def prepared(
        self, adapter: MediaAdapter, request: Request, route: Route, org_id: str
    ) -> Request:
        """The request as this provider can take it. ApiError(REQUEST_001) for an address that may
        not be fetched, or a format that cannot be had."""
        request = msgspec.structs.replace(request)  # each route gets one of its own
        if isinstance(request.typed, SpeechBody):
            request.audio_format = self._speech_format(adapter, route, request.typed)
        mode = adapter.input_mode(route)
        if mode == "bytes" and any(item.url is not None for item in request.inputs):
            request.inputs = await self._all_fetched(request.inputs)
        elif mode == "url":
            request.inputs = tuple(
                [await self._published(item, request, org_id) for item in request.inputs]
            )
        return request

    async def _all_fetched(self, inputs: Sequence[Input]) -> tuple[Input, ...]:
        """Every address made into an upload, within one limit of bytes and one of time."""
        left, fetched = FETCHED_BYTES_MAX, list(inputs)
        try:
            async with asyncio.timeout(FETCHED_S_MAX):
                for number, item in enumerate(inputs):
                    if item.url is not None:
                        fetched[number] = made = await self._fetched(item, item.url, left)
                        left -= made.upload.size if made.upload is not None else 0
        except TimeoutError:
            raise ApiError(
                "REQUEST_001",
                say(
                    "The addresses could not be fetched within {fetched_s_max:g} s.",
                    fetched_s_max=FETCHED_S_MAX,
                ),
                param=inputs[0].param,
                reason="timeout",
            ) from None
        return tuple(fetched)

    async def _fetched(self, item: Input, url: str, bytes_max: int) -> Input:
        try:
            _, data = await self._fetcher.read(url, bytes_max=min(bytes_max, INPUT_BYTES_MAX))
        except FetchRefused as refused:
            raise ApiError(
                "REQUEST_001",
                say("The address cannot be fetched: {message}.", message=refused.message),
                param=item.param,
                reason=refused.reason,
            ) from None
        upload = memory_upload(data, field=item.param, filename=item.role, content_type="")
        return checked(Input(item.role, item.param, upload=upload))

    async def _published(self, item: Input, request: Request, org_id: str) -> Input:
        upload = item.upload
        if upload is None:
            return item
        url = await self._shelf.keep(org_id, request.request_id, upload.data(), upload.content_type)
        return Input(item.role, item.param, url=url)

    def _speech_format(self, adapter: MediaAdapter, route: Route, typed: SpeechBody) -> str:
        asked = typed.response_format or "mp3"
        made = adapter.speech_formats(route)
        if asked in made or not made:
            return asked
        if transcode.available():
            return made[0]
        raise ApiError(
            "REQUEST_001",
            say(
                "{provider_name} does not make {asked} and there is no ffmpeg here; use one "
                "of: {made}.",
                provider_name=route.provider.name,
                asked=asked,
                made=", ".join(made),
            ),
            param="response_format",
            reason="unsupported_response_format",
            details={"legal": list(made)},
        )

    # --- sending --------------------------------------------------------------------------------

    async def collect(
        self,
        adapter: MediaAdapter,
        route: Route,
        request: Request,
        parts: Sequence[Request],
        calls: Sequence[UpstreamRequest],
        send: Send,
        attempt: Attempt,
        elapsed_us: Callable[[], int],
    ) -> Reply:
        """The reply of all parts. UpstreamError of the first that failed, if nothing was delivered
        or the adapter is atomic; otherwise what was delivered, with a warning."""
        slots = asyncio.Semaphore(PARTS_AT_ONCE)

        async def one(part: Request, call: UpstreamRequest) -> Reply:
            async with slots:
                return await self._converse(adapter, route, part, call, send, attempt, elapsed_us)

        if len(parts) == 1:
            return await one(parts[0], calls[0])
        tasks = [
            asyncio.ensure_future(one(part, call)) for part, call in zip(parts, calls, strict=True)
        ]
        try:
            results = await asyncio.gather(*tasks, return_exceptions=True)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        replies = [result for result in results if isinstance(result, Reply)]
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures and (adapter.atomic or not replies):
            raise failures[0]
        reply = adapter.merge(request, route, replies)
        if failures:
            note = f"{len(failures)} of {len(parts)} parts failed: {failures[0]}"
            reply.warnings = (*reply.warnings, note[:300])
        return reply

    async def _converse(
        self,
        adapter: MediaAdapter,
        route: Route,
        part: Request,
        call: UpstreamRequest,
        send: Send,
        attempt: Attempt,
        elapsed_us: Callable[[], int],
    ) -> Reply:
        def first(head: Head, body: bytes) -> Reply | Again:
            return adapter.read(part, route, head, body)

        read: Callable[[Head, bytes], Reply | Again] = first

        waited_s, job, elsewhere = 0.0, False, False
        wait_s_max = min(adapter.wait_s_max, route.provider.timeouts.total)
        while True:
            try:
                if elsewhere:
                    url = call.url or ""
                    _, body = await self._fetcher.read(url, bytes_max=RESPONSE_BYTES_MAX)
                    head = Head(200, {})
                else:
                    head, body = await _exchange(adapter, call, send, attempt, elapsed_us)
            except UpstreamError as error:
                # A question about a job that runs may be asked again; the job itself never.
                passing = error.kind in _PASSING and error.stage != "address"
                if not (job and call.method == "GET" and passing):
                    raise
                delay_s = error.retry_after_s or ASK_AGAIN_S
            except FetchRefused as refused:
                if not refused.may_pass:
                    message = f"its result cannot be fetched: {refused.message}"
                    raise UpstreamError("upstream_error", message) from None
                delay_s = ASK_AGAIN_S
            else:
                result = read(head, body)  # what a job says of itself is final
                if isinstance(result, Reply):
                    return result
                call, read, delay_s, job = result.request, result.read, result.delay_s, True
                elsewhere = result.elsewhere
            waited_s += delay_s
            if waited_s > wait_s_max:
                raise UpstreamError(
                    "timeout", "the upstream's job did not finish in time", stage="job"
                )
            if delay_s:
                await asyncio.sleep(delay_s)

    # --- after the answer -----------------------------------------------------------------------

    async def rendered(
        self, request: Request, route: Route, reply: Reply, org_id: str, key: Headers
    ) -> Rendered:
        """The answer in the form asked for. UpstreamError when a file of it cannot be had."""
        typed = request.typed
        if isinstance(typed, ImageBody):
            return await self._images(request, typed, route, reply, org_id, key)
        if isinstance(typed, TranscriptionBody):
            return _transcript(request, typed, reply)
        if isinstance(typed, SpeechBody):
            return await self._audio(request, route, reply, key)
        return Rendered("application/json", reply.payload)

    async def _images(
        self,
        request: Request,
        typed: ImageBody,
        route: Route,
        reply: Reply,
        org_id: str,
        key: Headers,
    ) -> Rendered:
        if not reply.produced:
            raise UpstreamError("upstream_error", "the upstream's answer has no picture")
        pictures = [
            await self._picture(item, request, typed, route, org_id, key) for item in reply.produced
        ]
        members = images_members(request, reply.members or {}, pictures)
        if reply.warnings:
            members["warnings"] = list(reply.warnings)
        if request.stream:
            return Rendered(
                EVENT_STREAM, lambda usage: image_events(request, members, pictures, usage)
            )
        return Rendered("application/json", Reply(members, None).payload)

    async def _picture(
        self,
        item: Produced,
        request: Request,
        typed: ImageBody,
        route: Route,
        org_id: str,
        key: Headers,
    ) -> Picture:
        """Kept as what it is where nothing was asked: bytes stay base64, addresses addresses of
        ours, because a provider's own die within the hour and may tell more than they should."""
        wanted = typed.response_format or ("url" if item.url is not None else "b64_json")
        if request.stream or wanted == "b64_json":
            if item.b64 is not None:
                _picture_type(_beginning(item.b64))
                return Picture(b64_json=item.b64, facts=item.facts)
            data = await self.bytes_of(item, route, key)
            _picture_type(data)
            return Picture(b64_json=base64.b64encode(data).decode("ascii"), facts=item.facts)
        data = await self.bytes_of(item, route, key)
        url = await self._shelf.keep(org_id, request.request_id, data, _picture_type(data))
        return Picture(url=url, facts=item.facts)

    async def _audio(self, request: Request, route: Route, reply: Reply, key: Headers) -> Rendered:
        """Speech of an upstream that gives it whole: as an address, or inside a document."""
        if len(reply.produced) != 1:
            raise UpstreamError("upstream_error", "the upstream's answer has no audio")
        asked = asked_format(request)
        audio = await converted(
            await self.bytes_of(reply.produced[0], route, key), request.audio_format, asked
        )
        if request.stream:
            return Rendered(
                EVENT_STREAM, lambda usage: delta_event(audio) + speech_done_event(usage)
            )
        return Rendered(FORMATS[asked], lambda _: audio)

    def speech(self, request: Request, client: Client, begin: Callable[[], None]) -> Speech:
        """The way of audio that streams."""
        return Speech(request, client, begin)

    async def bytes_of(self, item: Produced, route: Route, key: Headers) -> bytes:
        """The file itself, wherever the upstream put it. ``key``: our credential there."""
        if item.data is not None:
            return item.data
        if item.b64 is not None:
            try:
                return base64.b64decode(item.b64, validate=True)
            except ValueError:
                raise UpstreamError("upstream_error", "the upstream's file is malformed") from None
        if item.url is None:
            raise UpstreamError("upstream_error", "the upstream's answer has no file")
        base_url = route.provider.base_url
        with_key = item.credentialed and same_site(base_url, item.url)
        try:
            _, data = await self._fetcher.read(
                item.url,
                bytes_max=RESPONSE_BYTES_MAX,
                allowed_origins=origins_of(base_url),
                headers=key if with_key else (),
                timeouts=_sooner(TIMEOUTS, route.provider.timeouts),
            )
        except FetchRefused as refused:
            raise UpstreamError(
                "upstream_error", f"its result cannot be fetched: {refused.message}"
            ) from None
        return data


def _sooner(one: Timeouts, other: Timeouts) -> Timeouts:
    """Whichever of the two ends sooner, at each stage."""
    return Timeouts(
        connect=min(one.connect, other.connect),
        first_byte=min(one.first_byte, other.first_byte),
        idle=min(one.idle, other.idle),
        total=min(one.total, other.total),
    )


def _beginning(b64: str) -> bytes:
    """Of a file in base64 that goes on as it came. Decoding all of it would hold up the others
    (15 ms a megabyte); a page or a text in its place shows at its beginning."""
    head = b64[: HEAD_BYTES // 3 * 4]
    try:
        if b64.isascii() and not len(b64) % 4:
            return base64.b64decode(head, validate=True)
    except ValueError:
        pass
    raise UpstreamError("upstream_error", "the upstream's file is malformed")


def _picture_type(data: bytes) -> str:
    """What a picture is by its bytes; what is none is not handed on, and so not paid for."""
    found = sniff(data[:HEAD_BYTES])
    if found is None or not found.startswith("image/"):
        raise UpstreamError("upstream_error", "the upstream's file is no picture")
    return found


async def _exchange(
    adapter: MediaAdapter,
    call: UpstreamRequest,
    send: Send,
    attempt: Attempt,
    elapsed_us: Callable[[], int],
) -> tuple[Head, bytes]:
    """One request and the whole of its answer. UpstreamError if that is not 2xx."""
    response = await send(call)
    try:
        head = response.head
        attempt.status = head.status
        if attempt.first_byte_us is None:
            attempt.first_byte_us = elapsed_us()
            attempt.upstream_request_id = head.headers.get("x-request-id")
        if not 200 <= head.status < 300:
            raise adapter.explain(head, await response.read(ERROR_BODY_BYTES_MAX))
        return head, await response.read(RESPONSE_BYTES_MAX)
    except BaseException:
        response.abort()
        raise


def _transcript(request: Request, typed: TranscriptionBody, reply: Reply) -> Rendered:
    """The format asked for, or events, made of the adapter's transcript."""
    transcript = reply.transcript
    if transcript is None:
        raise UpstreamError("upstream_error", "the upstream's answer has no transcript")
    kind = typed.response_format or "json"
    granularities = typed.timestamp_granularities or ("segment",)
    speakers = typed.known_speaker_names or ()
    try:
        render(transcript, kind, granularities=granularities, known_speakers=speakers)
    except NotInTranscript as lacking:
        raise ApiError(
            "REQUEST_001",
            say("{lacking} Use another response_format than {kind}.", lacking=lacking, kind=kind),
            param="response_format",
            reason="unsupported_response_format",
        ) from None

    def payload(usage: bytes | None) -> bytes:
        whole = msgspec.structs.replace(transcript, usage=_decode(usage) if usage else None)
        if request.stream:
            return b"".join(events(whole, kind, speakers))
        return render(whole, kind, granularities=granularities, known_speakers=speakers)

    return Rendered(EVENT_STREAM if request.stream else CONTENT_TYPES[kind], payload)
