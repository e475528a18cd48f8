"""The way into the management API: its table is built when the first request comes.

A gateway whose management API is not used never imports what it reaches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenmarket.core.wire import Client, Inbound

if TYPE_CHECKING:
    from tokenmarket.web.manage.frame import Manage, RefusalTo
    from tokenmarket.web.site.parts import Parts

MANAGE = "/api/manage/"


class ManageDoor:
    """``handle`` raises nothing; ``refusal`` as in ``frame.py``."""

    def __init__(self, parts: Callable[[], Parts], refusal: RefusalTo) -> None:
        self._parts = parts
        self._refusal = refusal
        self._manage: Manage | None = None

    async def handle(self, inbound: Inbound, client: Client) -> None:
        """Answer one request."""
        manage = self._manage
        if manage is None:
            manage = self._manage = self._built()
        await manage.handle(inbound, client)

    def _built(self) -> Manage:
        from tokenmarket.web.manage.frame import Manage  # noqa: PLC0415 (see above)
        from tokenmarket.web.manage.table import ENDPOINTS  # noqa: PLC0415
        from tokenmarket.web.openapi import document  # noqa: PLC0415

        described = document.encoded(document.manage_document(ENDPOINTS))
        return Manage(self._parts(), ENDPOINTS, self._refusal, lambda: described)
