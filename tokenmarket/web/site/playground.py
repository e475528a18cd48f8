"""The playground's way to the gateway: ``/console-api/{org}/v1/…`` is ``/api/v1/…`` for somebody
who is signed in.

The session, the header ``x-csrf`` and the permission ``play`` are checked here; then the request
goes on under the person's own playground key, and from there on it is a request like any other:
same limits, same holds, same receipts. That key's text is derived, not stored: it is never shown
and exists in no database (``accounts/playground.py``).
"""

from __future__ import annotations

from starlette.requests import Request

from tokenmarket.accounts import members, playground
from tokenmarket.core.errors import ApiError
from tokenmarket.core.roles import may
from tokenmarket.core.wire import Client, Inbound
from tokenmarket.web.site.cookies import same
from tokenmarket.web.site.doors import PLAYGROUND
from tokenmarket.web.site.pages import same_origin
from tokenmarket.web.site.site import Site

_API = "/api"


class Playground:
    """Hands requests of the console to the gateway."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def handle(self, inbound: Inbound, client: Client) -> None:
        """Answer one request as ``/api/v1`` would."""
        api = self._site.parts.api
        try:
            token = await self._token(inbound)
        except ApiError as error:
            client.respond(error.status, *api.refusal_to(inbound, error))
            return
        headers = {
            name: value
            for name, value in inbound.headers.items()
            if name not in (b"cookie", b"x-csrf", b"x-api-key", b"origin", b"referer")
        }
        headers[b"authorization"] = f"Bearer {token}".encode("ascii")
        inbound.headers = headers
        inbound.path = _API + "/" + inbound.path[len(PLAYGROUND) :].partition("/")[2]
        await api.handle(inbound, client)

    async def admit(self, inbound: Inbound) -> None:
        """Raises ApiError for who may not upload."""
        await self._token(inbound)

    async def _token(self, inbound: Inbound) -> str:
        """The playground key of who asks. Raises ApiError."""
        parts = self._site.parts
        request = Request({"type": "http", "headers": list(inbound.headers.items())})
        cookie = self._site.cookies.session_token(request)
        session = await parts.sessions.find(cookie) if cookie else None
        if session is None:
            raise ApiError("AUTH_001", "Sign in again.", reason="no_session")
        given = request.headers.get("x-csrf", "")
        if not same(given, session.csrf) or not same_origin(request):
            raise ApiError("AUTH_002", "This request was not sent by our page.", reason="csrf")
        if session.impersonator is not None:
            raise ApiError("AUTH_002", "Nothing can be changed while looking as somebody else.")
        org_id, _, rest = inbound.path[len(PLAYGROUND) :].partition("/")
        membership = await members.membership(parts.database, org_id, session.user.id)
        if membership is None or not rest.startswith("v1/"):
            raise ApiError("REQUEST_004", "There is nothing here.")
        if not may(membership.role, "play"):
            raise ApiError("AUTH_002", "Your role may not use the playground.", reason="role")
        return await playground.token(
            parts.database, parts.root, org_id, session.user, now_us=parts.clock.wall_us()
        )
