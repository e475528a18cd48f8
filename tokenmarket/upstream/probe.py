"""One test call to a provider: does it answer, and does it take our key?

It asks for the list of models, which costs nothing anywhere. Nothing of the answer's body is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.core.catalog import Provider, Timeouts
from tokenmarket.core.errors import UpstreamError
from tokenmarket.upstream.client import UpstreamClient
from tokenmarket.upstream.credentials import CredentialPool, Secret
from tokenmarket.upstream.origin import Origin
from tokenmarket.upstream.outbound import LOCAL_URL

TIMEOUTS = Timeouts(connect=5, first_byte=20, idle=20, total=30)

Finding = Literal[
    "built_in", "unusable_key", "no_key", "unreachable", "refused_key", "no_list", "ok", "failed"
]


class Probe(msgspec.Struct, frozen=True):
    """``status`` is HTTP's, if it came so far; ``detail`` is for people, in English."""

    finding: Finding
    status: int | None = None
    latency_ms: int | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.finding in ("built_in", "no_list", "ok")


async def probe(
    provider: Provider,
    secrets: list[tuple[str, Secret]],
    client: UpstreamClient,
    clock_s: Callable[[], float],
) -> Probe:
    """``secrets`` are (id, key) of the provider, ``clock_s`` is monotonic. Raises nothing."""
    if provider.base_url == LOCAL_URL:
        return Probe("built_in", None, 0)
    try:
        credential = CredentialPool(provider, secrets, clock_s).acquire()
        origin = Origin.parse(provider.base_url)
    except ValueError as error:
        return Probe("unusable_key", None, None, str(error))
    if credential is None:
        return Probe("no_key", None, None)
    request = UpstreamRequest("/models", (("accept", "application/json"),), b"", method="GET")
    started_s = clock_s()

    def took_ms() -> int:
        return int((clock_s() - started_s) * 1000)

    try:
        authorization = await credential.authorize(origin, request, client)
        response = await client.send(origin, request, authorization, TIMEOUTS)
        response.abort()
    except UpstreamError as error:
        return Probe("unreachable", error.status, took_ms(), error.message)
    status = response.head.status
    finding: Finding = "ok" if 200 <= status < 300 else "failed"
    if status in (401, 403):
        finding = "refused_key"
    elif status in (404, 405):
        finding = "no_list"
    return Probe(finding, status, took_ms())
