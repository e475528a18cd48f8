"""Answers every request below ``/api/manage/v1``: key, policy, rate, body, handler, envelope.

    find the row -> authenticate -> policy -> rate -> query and body -> (replay) -> handler

The policy is a property of the row, so there is no way to a handler without one. Nothing here is
on the path of inference; every request reads its key from SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tokenmarket.accounts import manage_keys
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.accounts.failures import Failures
from tokenmarket.accounts.manage_keys import ManageCaller
from tokenmarket.core import sealing
from tokenmarket.core.errors import ApiError
from tokenmarket.core.parse import check_duplicates, read_body
from tokenmarket.core.roles import may
from tokenmarket.core.wire import Client, Inbound, bearer_token, check_content_type
from tokenmarket.core.wording import said_by, say
from tokenmarket.limits import Rate
from tokenmarket.store import manage_keys as key_rows
from tokenmarket.web.manage.endpoint import (
    ANY,
    OPERATOR,
    PREFIX,
    Call,
    Endpoint,
    File,
    check_table,
)
from tokenmarket.web.manage.replays import Replay, key_of
from tokenmarket.web.reads import query_values

if TYPE_CHECKING:
    from tokenmarket.web.site.parts import Parts

BODY_BYTES_MAX = 1_000_000
RPM = 300  # of one key
RATES_MAX = 10_000
MARK_USED_US = 60 * 1_000_000
DOCUMENT_PATH = f"{PREFIX}/openapi.json"

RefusalTo = Callable[[Inbound, ApiError, int], tuple[bytes, bytes]]
_encode = msgspec.json.Encoder().encode
_JSON: Final = b"content-type: application/json\r\n"
_REST: Final = "{model}"  # at the end of a path: an id that may hold slashes
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Manage:
    """``handle`` raises nothing. ``refusal`` (request, error, ms) -> head block, body."""

    def __init__(
        self,
        parts: Parts,
        endpoints: Sequence[Endpoint],
        refusal: RefusalTo,
        document: Callable[[], bytes],
    ) -> None:
        check_table(endpoints)
        self._parts = parts
        self._refusal = refusal
        self._document = document
        self._failures = Failures()
        self._rates: dict[str, Rate] = {}
        # literal segments before parameters: /keys/current is not /keys/{id}
        self._rows = sorted(endpoints, key=lambda row: len(row.parameters))
        self._decoders = {
            row.body: msgspec.json.Decoder(row.body).decode for row in endpoints if row.body
        }

    async def handle(self, inbound: Inbound, client: Client) -> None:
        """Answer one request."""
        parts = self._parts
        started_us = parts.clock.monotonic_us()
        try:
            head, body = await self._answer(parts, inbound)
            status = 200
        except ApiError as error:
            status, (head, body) = error.status, self._refuse(parts, inbound, error, started_us)
        except Exception as error:
            parts.telemetry.crash(inbound.request_id, error)
            failure = ApiError("PLATFORM_002", "An internal error.")
            status, (head, body) = failure.status, self._refuse(parts, inbound, failure, started_us)
        client.respond(status, head, body)

    def _refuse(
        self, parts: Parts, inbound: Inbound, error: ApiError, started_us: int
    ) -> tuple[bytes, bytes]:
        ms = (parts.clock.monotonic_us() - started_us) // 1000
        return self._refusal(inbound, error, ms)

    async def _answer(self, parts: Parts, inbound: Inbound) -> tuple[bytes, bytes]:
        head = b"x-request-id: %b\r\n" % inbound.request_id.encode("ascii")
        if inbound.path == DOCUMENT_PATH:
            if inbound.method not in ("GET", "HEAD"):
                raise _wrong_method(inbound.method, ["GET", "HEAD"])
            return head + _JSON + b"cache-control: no-cache\r\n", self._document()
        row, params = self._find(inbound)
        caller = await self._authenticate(parts, inbound)
        check_policy(row, caller)
        rate_lines = self._take(caller.key.id, parts.clock.monotonic_us())
        query = query_values(inbound.query, row.query_names)
        call = Call(
            parts=parts,
            key=caller.key,
            org_id=caller.key.org_id,
            role=caller.role,
            actor=caller.actor,
            params=params,
            query=query,
            body=self._body(row, inbound),
            now_us=parts.clock.wall_us(),
            request_id=inbound.request_id,
            address=inbound.address,
        )
        head += b"cache-control: no-store\r\n" + rate_lines
        return await self._run(row, call, inbound, head)

    def _find(self, inbound: Inbound) -> tuple[Endpoint, dict[str, str]]:
        segments = inbound.path.removeprefix(PREFIX).split("/")
        method = "GET" if inbound.method == "HEAD" else inbound.method
        methods: list[str] = []
        for row in self._rows:
            params = _matched(row.path.split("/"), segments)
            if params is None:
                continue
            if row.method == method:
                return row, params
            methods.append(row.method)
        if methods:
            raise _wrong_method(inbound.method, methods)
        raise ApiError("REQUEST_004", say("There is nothing at {path!r}.", path=inbound.path[:200]))

    async def _authenticate(self, parts: Parts, inbound: Inbound) -> ManageCaller:
        token = bearer_token(inbound)
        monotonic_us, now_us = parts.clock.monotonic_us(), parts.clock.wall_us()
        self._failures.check(inbound.address, monotonic_us)
        pepper = parts.root.derive(sealing.PEPPER)
        try:
            caller = await manage_keys.authenticate(parts.database, token, pepper, now_us)
        except ApiError:
            self._failures.add(inbound.address, monotonic_us)
            raise
        used_us = caller.key.last_used_us
        if used_us is None or now_us - used_us > MARK_USED_US:
            async with parts.database.begin() as conn:
                await key_rows.mark_used(conn, caller.key.org_id, caller.key.id, now_us)
        return caller

    def _take(self, key_id: str, now_us: int) -> bytes:
        """One request of the key's rate; its header lines. Raises ApiError(QUOTA_001)."""
        rate = self._rates.get(key_id)
        if rate is None:
            if len(self._rates) >= RATES_MAX:
                del self._rates[next(iter(self._rates))]
            rate = self._rates[key_id] = Rate(RPM)
        if not rate.left(now_us):
            raise ApiError(
                "QUOTA_001",
                say("A management key has {rpm} requests per minute.", rpm=RPM),
                reason="requests_per_minute",
                retry_after_s=max(rate.wait_us(1, now_us), 1) / 1_000_000,
            )
        rate.take(1, now_us)
        return b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n" % (
            RPM,
            rate.left(now_us),
        )

    def _body(self, row: Endpoint, inbound: Inbound) -> Any:
        if inbound.spool is not None:
            raise ApiError("REQUEST_007", "Send JSON.", param="Content-Type")
        if row.body is None:
            if inbound.body:
                raise ApiError(
                    "REQUEST_001", say("{method} takes no body here.", method=row.method)
                )
            return None
        check_content_type(inbound)
        if len(inbound.body) > BODY_BYTES_MAX:
            raise ApiError(
                "REQUEST_006",
                say("A body has at most {body_bytes_max} bytes.", body_bytes_max=BODY_BYTES_MAX),
            )
        body = inbound.body or b"{}"
        typed = read_body(self._decoders[row.body], body)
        check_duplicates(body, _decode_members(body))
        return typed

    async def _run(
        self, row: Endpoint, call: Call, inbound: Inbound, head: bytes
    ) -> tuple[bytes, bytes]:
        if row.method == "GET" or not key_of(inbound):
            answer = await _handled(row, call)
            if isinstance(answer, File):
                return head + _file_lines(answer), answer.body
            return head + _JSON, _encode(answer)
        head += _JSON
        kek = call.parts.root.derive(sealing.KEY_ENCRYPTION)
        replay = Replay(call.parts.database, kek, call.key.id, inbound)
        kept = await replay.begin(call.now_us)
        if kept is not None:
            return head + b"idempotent-replayed: true\r\n", kept
        try:
            body = _encode(await _handled(row, call))
        except ApiError:
            await replay.forget()
            raise
        await replay.keep(body)
        return head, body


def check_policy(row: Endpoint, caller: ManageCaller) -> None:
    """Raises ApiError(AUTH_002) unless the key's role may do this."""
    if row.policy == ANY:
        return
    if row.policy == OPERATOR:
        if caller.role != OPERATOR:
            raise ApiError("AUTH_002", "This needs an operator's key.", reason="not_an_operator")
        return
    if caller.role == OPERATOR:
        raise ApiError(
            "AUTH_002",
            "This needs a key of an organization, not an operator's.",
            reason="no_organization",
        )
    if not may(caller.role, row.policy):
        raise ApiError(
            "AUTH_002",
            say("The role {role} may not do this.", role=caller.role),
            reason="role_too_low",
            details={"permission": row.policy},
        )


async def _handled(row: Endpoint, call: Call) -> Any:
    """The handler's answer; what the domain raises becomes an error of the envelope."""
    try:
        return await row.handler(call)
    except Refused as error:
        raise ApiError(
            "REQUEST_001", said_by(error), param=getattr(error, "param", None)
        ) from error
    except NotThere as error:
        raise ApiError("REQUEST_004", said_by(error)) from error
    except Taken as error:
        raise ApiError("REQUEST_008", said_by(error)) from error


def _file_lines(file: File) -> bytes:
    lines = f"content-type: {file.content_type}\r\n"
    lines += f'content-disposition: attachment; filename="{file.name}"\r\n'
    return lines.encode("ascii")


def _matched(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    if pattern[-1] == _REST and len(segments) > len(pattern):
        first = len(pattern) - 1
        segments = [*segments[:first], "/".join(segments[first:])]
    if len(pattern) != len(segments):
        return None
    params: dict[str, str] = {}
    for part, segment in zip(pattern, segments, strict=True):
        if part.startswith("{"):
            if not segment:
                return None
            params[part[1:-1]] = segment
        elif part != segment:
            return None
    return params


def _wrong_method(method: str, methods: Sequence[str]) -> ApiError:
    allow = ", ".join(dict.fromkeys([*(["HEAD"] if "GET" in methods else []), *methods]))
    return ApiError(
        "REQUEST_005",
        say("{method} is not answered here; use {allow}.", method=method, allow=allow),
        allow=allow,
    )
