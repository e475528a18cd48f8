"""The public API's table of paths: which handler answers, with which methods.

Every row is authenticated (``design/security.md`` A9): operations in ``gateway.py``, reads below in
``_page``. What is not in the table is 404, a wrong method is 405.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache

from tokenmarket.accounts import Accounts, Caller
from tokenmarket.billing.clock import Clock
from tokenmarket.contents import Copy
from tokenmarket.core.errors import ApiError
from tokenmarket.core.wire import Client, ClientGone, Inbound, bearer_token
from tokenmarket.core.wording import Language, say
from tokenmarket.gateway import Gateway
from tokenmarket.replies import ErrorBodies, error_lines, language_of
from tokenmarket.telemetry import Telemetry
from tokenmarket.web import cohere
from tokenmarket.web.files import Files
from tokenmarket.web.health import Health
from tokenmarket.web.manage.door import MANAGE, ManageDoor
from tokenmarket.web.notices import Notices
from tokenmarket.web.openapi import document
from tokenmarket.web.payment_hooks import PaymentHooks
from tokenmarket.web.reads import Reads
from tokenmarket.web.site.doors import PLAYGROUND, Doors, is_page
from tokenmarket.web.videos import Videos

PREFIX = "/api/v1"
CHAT_PATH = f"{PREFIX}/chat/completions"
# Operations of design/api.md section 1; those that do not exist yet answer 404. Cohere's v2 client
# puts its version before ours.
OPERATIONS = {
    CHAT_PATH: "chat",
    f"{PREFIX}/completions": "completions",
    f"{PREFIX}/embeddings": "embeddings",
    f"{PREFIX}/images/generations": "images",
    f"{PREFIX}/images/edits": "images",
    f"{PREFIX}/images/variations": "images",
    f"{PREFIX}/audio/speech": "speech",
    f"{PREFIX}/audio/transcriptions": "transcription",
    f"{PREFIX}/audio/translations": "translation",
    f"{PREFIX}/rerank": "rerank",
    f"{PREFIX}/reranks": "rerank",
    "/api/v2/rerank": "rerank",
    "/api/v1/v1/rerank": "rerank",  # Cohere's v1 client on our base URL
    "/api/v1/v2/rerank": "rerank",  # and its v2 client there
    f"{PREFIX}/moderations": "moderation",
}
# Cohere's embed is translated to embeddings at the door (``web/cohere.py``).
COHERE_EMBED = frozenset(
    {"/api/v2/embed", f"{PREFIX}/embed", f"{PREFIX}/v1/embed", f"{PREFIX}/v2/embed"}
)

Page = Callable[[Inbound], Awaitable[tuple[int, bytes, bytes]]]


class Api:
    """``handle`` is what a front calls for every request; it raises nothing."""

    def __init__(
        self,
        gateway: Gateway,
        reads: Reads,
        health: Health,
        accounts: Accounts,
        telemetry: Telemetry,
        clock: Clock,
        errors: ErrorBodies,
    ) -> None:
        self._gateway = gateway
        self._accounts = accounts
        self._telemetry = telemetry
        self._clock = clock
        self.errors = errors
        self._exact = reads.exact(PREFIX)
        self._prefixes = reads.prefixes(PREFIX)
        self._public = {**health.pages(), f"{PREFIX}/openapi.json": _description}
        self.files: Files | None = None  # stored results
        self.videos: Videos | None = None  # tasks of their own, over ``tasks/``
        self.notices: Notices | None = None  # what providers tell of them
        self.payments: PaymentHooks | None = None  # what payment providers tell
        self.doors: Doors | None = None  # pages for people
        self.manage: ManageDoor | None = None  # what pages do, for programs

    def move_docs(self, docs_url: str) -> None:
        """Errors refer to this address from now on."""
        self.errors.docs_url = docs_url

    def handle(self, inbound: Inbound, client: Client) -> Awaitable[None]:
        """Answer one request."""
        operation = OPERATIONS.get(inbound.path)
        if operation is None and self.files is not None and Files.owns(inbound.path):
            return self.files.handle(inbound, client)
        if operation is not None and inbound.method == "POST":
            return self._gateway.run(operation, inbound, client)
        if inbound.path in COHERE_EMBED:
            return self._cohere_embed(inbound, client)
        if operation is None and self.notices is not None and Notices.owns(inbound.path):
            return self.notices.handle(inbound, client)
        if operation is None and self.payments is not None and PaymentHooks.owns(inbound.path):
            return self.payments.handle(inbound, client)
        if operation is None and self.videos is not None and Videos.owns(inbound.path):
            return self.videos.handle(inbound, client)
        if operation is None and self.manage is not None and inbound.path.startswith(MANAGE):
            return self.manage.handle(inbound, client)
        if operation is None and self.doors is not None:
            if inbound.path.startswith(PLAYGROUND):
                return self._at_door(self.doors.playground, inbound, client)
            if is_page(inbound):
                return self._at_door(self.doors.page, inbound, client)
        return self._read(inbound, client, operation)

    async def _at_door(
        self, door: Callable[[Inbound, Client], Awaitable[None]], inbound: Inbound, client: Client
    ) -> None:
        """A person's request; what breaks before a page can tell it is told here."""
        try:
            await door(inbound, client)
        except ClientGone:
            return
        except Exception as error:
            self._telemetry.crash(inbound.request_id, error)
            if not client.begun:
                failure = ApiError("PLATFORM_002", "An internal error; nothing was charged.")
                client.respond(failure.status, *self.refusal_to(inbound, failure))

    async def _cohere_embed(self, inbound: Inbound, client: Client) -> None:
        if inbound.method != "POST":
            await self._read(inbound, client, "embeddings")
            return
        gateway = self._gateway
        refused: ApiError | None = None
        copy: Copy | None = None
        try:
            caller = await self.authenticate(inbound)
            if caller.keeps_content:  # what was sent and answered, not what it is translated to
                copy = gateway.contents.copy(caller.org_id, inbound, client)
            inbound, client = cohere.translated(inbound, copy or client)
        except ApiError as error:  # the gateway tells it, and writes the receipt
            refused, client = error, cohere.refusing(inbound, copy or client)
        try:
            await gateway.run("embeddings", inbound, client, refused, copied=copy is not None)
        finally:
            if copy is not None:
                gateway.contents.keep(copy)

    async def admit(self, inbound: Inbound) -> None:
        """Whether the sender of this head may upload (``receiving.py``). Raises ApiError."""
        try:
            if self.doors is not None and inbound.path.startswith(PLAYGROUND):
                await self.doors.admit(inbound)
            else:
                await self.authenticate(inbound)
        except ApiError:
            raise
        except Exception as error:
            self._telemetry.crash(inbound.request_id, error)
            raise ApiError("PLATFORM_002", "An internal error; nothing was charged.") from error

    async def _read(self, inbound: Inbound, client: Client, operation: str | None) -> None:
        try:
            status, head, body = await self._page(inbound, operation)
        except ApiError as error:
            status = error.status
            head, body = self.refusal_to(inbound, error, self._ms_since(inbound))
        except Exception as error:
            self._telemetry.crash(inbound.request_id, error)
            failure = ApiError("PLATFORM_002", "An internal error; nothing was charged.")
            status = failure.status
            head, body = self.refusal_to(inbound, failure, self._ms_since(inbound))
        client.respond(status, head, body)

    async def authenticate(self, inbound: Inbound) -> Caller:
        """Whose key it is. Raises ApiError(AUTH_001, AUTH_002)."""
        token = bearer_token(inbound)
        caller = self._accounts.lookup(token)
        if caller is None:
            caller = await self._accounts.authenticate(token, inbound.address)
        return caller

    def limits_head(self, caller: Caller) -> bytes:
        """The caller's rate-limit header lines."""
        return self._gateway.admission.limits_of(caller).headers(self._clock.monotonic_us())

    def _ms_since(self, inbound: Inbound) -> int:
        return (self._clock.monotonic_us() - inbound.started_us) // 1000

    def message_to(self, inbound: Inbound, error: ApiError) -> str:
        """What the error says, in the language of who asked."""
        return self.errors.message(error, language_of(inbound))

    def refusal_to(self, inbound: Inbound, error: ApiError, ms: int = 0) -> tuple[bytes, bytes]:
        """``refusal`` in the language of who asked."""
        return self.refusal(inbound.request_id, error, ms, language_of(inbound))

    def refusal(
        self, request_id: str, error: ApiError, ms: int = 0, language: Language = "en"
    ) -> tuple[bytes, bytes]:
        """Head block and body of an error that no exchange stands behind. ``ms`` is what it took;
        what a front refuses on sight, in English, took nothing."""
        head = b"x-request-id: %b\r\nopenai-processing-ms: %d\r\n" % (
            request_id.encode("ascii"),
            ms,
        )
        body = self.errors.body(error, request_id, language)
        return head + error_lines(error, language), body

    async def _page(self, inbound: Inbound, operation: str | None) -> tuple[int, bytes, bytes]:
        path, method = inbound.path, inbound.method
        if operation is not None:
            _wrong_method(method, "POST")
        public = self._public.get(path)
        if public is not None:
            _only_get(method)
            return public()
        read = self._exact.get(path)
        rest = ""
        if read is None:
            for prefix, handler in self._prefixes:
                if path.startswith(prefix) and len(path) > len(prefix):
                    read, rest = handler, path[len(prefix) :]
                    break
        if read is None:
            raise ApiError("REQUEST_004", say("There is nothing at {path!r}.", path=path[:200]))
        _only_get(method)
        started_us = self._clock.monotonic_us()
        caller = await self.authenticate(inbound)
        body = await read(caller, rest, inbound.query)
        ms = (self._clock.monotonic_us() - started_us) // 1000
        head = (
            b"x-request-id: %b\r\nopenai-processing-ms: %d\r\ncontent-type: application/json\r\n"
            b"cache-control: no-store\r\n" % (inbound.request_id.encode("ascii"), ms)
        )
        return 200, head + self.limits_head(caller), body


@cache
def _description() -> tuple[int, bytes, bytes]:
    """This API as OpenAPI, for anybody; made when it is first asked for."""
    head = b"content-type: application/json\r\ncache-control: public, max-age=300\r\n"
    head += b"access-control-allow-origin: *\r\n"  # so that any viewer in a browser can read it
    return 200, head, document.encoded(document.public_document())


def _only_get(method: str) -> None:
    if method not in ("GET", "HEAD"):
        _wrong_method(method, "GET, HEAD")


def _wrong_method(method: str, allow: str) -> None:
    raise ApiError(
        "REQUEST_005",
        say("{method} is not answered here; use {allow}.", method=method, allow=allow),
        allow=allow,
    )
