"""``POST /webhooks/payments/{provider}``: a payment provider says that something changed.

The body is taken as it came, byte for byte, because it is signed. 200 means that the news need not
be told again, also those that are none of ours; 503 asks for another try. Providers that are not
configured have no address here.
"""

from __future__ import annotations

from collections.abc import Callable

from tokenmarket.core.errors import ApiError
from tokenmarket.core.wire import Client, Inbound
from tokenmarket.core.wording import say
from tokenmarket.payments.gateway import BODY_BYTES_MAX, Forged, Unreachable
from tokenmarket.payments.service import Payments
from tokenmarket.store.money_moves import Unavailable

PATH = "/webhooks/payments/"
RefusalTo = Callable[[Inbound, ApiError], tuple[bytes, bytes]]


class PaymentHooks:
    """``crash`` is told of what should not happen: (request id, error)."""

    def __init__(
        self, payments: Payments, refusal: RefusalTo, crash: Callable[[str, Exception], object]
    ) -> None:
        self._payments = payments
        self._refusal = refusal
        self._crash = crash

    @staticmethod
    def owns(path: str) -> bool:
        return path.startswith(PATH)

    async def handle(self, inbound: Inbound, client: Client) -> None:
        """Answer one request; raises nothing."""
        try:
            outcome = await self._received(inbound)
        except ApiError as error:
            client.respond(error.status, *self._refusal(inbound, error))
            return
        head = b"x-request-id: %b\r\ncontent-type: text/plain\r\n" % inbound.request_id.encode()
        client.respond(200, head, outcome.partition(":")[0].encode())

    async def _received(self, inbound: Inbound) -> str:
        psp = inbound.path[len(PATH) :]
        if psp not in self._payments.gateways:
            raise ApiError("REQUEST_004", "There is no such payment provider here.")
        if inbound.method != "POST":
            raise ApiError("REQUEST_005", "Use POST here.", allow="POST")
        if len(inbound.body) > BODY_BYTES_MAX:
            raise ApiError("REQUEST_006", "News of a payment are small.")
        try:
            return await self._payments.receive(psp, inbound.body, inbound.headers)
        except Forged as error:
            raise ApiError(
                "REQUEST_001", say("This is not signed as it should be: {error}.", error=error)
            ) from error
        except (Unreachable, Unavailable) as error:
            self._crash(inbound.request_id, error)
            raise ApiError("PLATFORM_001", "Not now; tell it again.") from error
        except Exception as error:
            self._crash(inbound.request_id, error)
            raise ApiError("PLATFORM_002", "An internal error; nothing was changed.") from error
