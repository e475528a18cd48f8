"""``POST /notices/{task}``: a provider says that a task has changed; we ask it, and believe that.

The body is not read but for one thing: MiniMax asks a new address to repeat its ``challenge``
within three seconds (``reference/media/video_providers.md`` section 1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from tokenmarket.core.errors import ApiError
from tokenmarket.core.notice_urls import PATH, NoticeUrls
from tokenmarket.core.wire import Client, Inbound
from tokenmarket.core.wording import say

BODY_BYTES_MAX = 1024 * 1024
CHALLENGE_CHARS_MAX = 1024


class _Challenge(msgspec.Struct):
    challenge: str | int


_decode = msgspec.json.Decoder(_Challenge).decode
_encode = msgspec.json.Encoder().encode
# request id, error -> head block, body
RefusalTo = Callable[[Inbound, ApiError], tuple[bytes, bytes]]


class Notices:
    """``hint`` makes the poller ask about a task now."""

    def __init__(
        self, urls: NoticeUrls, hint: Callable[[str], Awaitable[object]], refusal: RefusalTo
    ) -> None:
        self._urls = urls
        self._hint = hint
        self._refusal = refusal

    @staticmethod
    def owns(path: str) -> bool:
        return path.startswith(PATH)

    async def handle(self, inbound: Inbound, client: Client) -> None:
        """Answer one request; raises nothing."""
        try:
            if inbound.method != "POST":
                message = say("{method} is not answered here; use POST.", method=inbound.method)
                raise ApiError("REQUEST_005", message, allow="POST")
            if len(inbound.body) > BODY_BYTES_MAX:
                raise ApiError("REQUEST_006", "A notice is small.")
            task_id = self._urls.check(inbound.path, inbound.query)
            await self._hint(task_id)
        except ApiError as error:
            client.respond(error.status, *self._refusal(inbound, error))
            return
        head = b"x-request-id: %b\r\ncontent-type: application/json\r\n" % (
            inbound.request_id.encode("ascii")
        )
        client.respond(200, head, _answer(inbound.body))


def _answer(body: bytes) -> bytes:
    try:
        challenge = _decode(body).challenge
    except msgspec.DecodeError:
        return b"{}"
    if isinstance(challenge, str) and len(challenge) > CHALLENGE_CHARS_MAX:
        return b"{}"
    return _encode({"challenge": challenge})
