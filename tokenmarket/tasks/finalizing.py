"""The files of a finished task into our store, then the charge.

Addresses of upstreams die within hours or days, so a task is only ``succeeded`` when its bytes are
ours. A file is received into a spool first: what it is and how long it runs is read from its own
headers before it gets a name. When copying fails again and again the task succeeds all the same,
with the upstream's address and the warning ``asset_not_archived``; an address that wants our key
is none, so then copying goes on until the deadline and the task fails for nothing.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import msgspec

from tokenmarket.adapters.protocol import UpstreamRequest
from tokenmarket.adapters.video_protocol import Output, Succeeded
from tokenmarket.billing.tasks import pinned_prices
from tokenmarket.core.catalog import Route
from tokenmarket.core.errors import ApiError, UpstreamError
from tokenmarket.core.media.images import image_size
from tokenmarket.core.media.reader import MediaError
from tokenmarket.core.media.sniff import SNIFF_BYTES, sniff
from tokenmarket.core.media.video import video_info
from tokenmarket.core.usage import Usage
from tokenmarket.core.video.bounds import settled_usage
from tokenmarket.core.video.projection import TaskError
from tokenmarket.core.video.request import load
from tokenmarket.files.spool import FileSpool
from tokenmarket.files.store import CHUNK_BYTES, Stored, StoreFailed
from tokenmarket.store import assets
from tokenmarket.store import tasks as rows
from tokenmarket.store.assets import Asset
from tokenmarket.store.tasks import TaskChanges, TaskRow
from tokenmarket.tasks.documents import (
    Delivered,
    KeptOutput,
    read_delivered,
    with_warnings,
    write,
)
from tokenmarket.tasks.ending import fail, succeed
from tokenmarket.tasks.engine import SECOND_US, Engine, poll_timeouts
from tokenmarket.upstream.credentials import Credential
from tokenmarket.upstream.fetch import FetchRefused, origins_of
from tokenmarket.upstream.outbound import LOCAL_URL

VIDEO_BYTES_MAX = 2 * 1024 * 1024 * 1024
PICTURE_BYTES_MAX = 32 * 1024 * 1024
RETRY_S = (5, 20, 60, 180)  # pauses between the tries of copying; then it is given up
COPIES_AT_ONCE = 4
NOT_ARCHIVED = "asset_not_archived"
NO_FILE = TaskError("upstream_error", "The provider's file could not be had.", None, True)


class CopyFailed(Exception):
    """Why a file is not in our store. It may work later."""


class Finalizer:
    """Copies and settles."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._slots = asyncio.Semaphore(COPIES_AT_ONCE)

    async def finalize(self, row: TaskRow, seen: Succeeded | None) -> TaskRow | None:
        """Copy what is not copied yet, then settle; or wait for the next try. ``seen`` is what the
        upstream just said, None if it would not say it again. None: somebody was faster."""
        kept = read_delivered(row.outputs_json)
        fresh = {} if seen is None else {(o.kind, o.number): o for o in seen.outputs}
        problem = ""
        done: list[KeptOutput] = []
        async with self._slots:
            for item in kept.outputs:
                if not item.key:
                    try:
                        item = await self._copied(row, item, fresh.get((item.kind, item.number)))
                    except CopyFailed as failed:
                        if item.kind == "video":
                            problem = problem or str(failed)
                done.append(item)
        kept = msgspec.structs.replace(kept, outputs=tuple(done), tries=kept.tries + 1)
        if not problem:
            return await self._settle(row, kept, ())
        self._engine.drop("copy_failed", row, tries=kept.tries, why=problem[:300])
        if kept.tries <= len(RETRY_S):
            return await self._later(row, kept)
        if all(_reachable(item) for item in kept.outputs if item.kind == "video"):
            return await self._settle(row, kept, (NOT_ARCHIVED,))
        if self._engine.now_us() < row.deadline_us:  # nobody but us could fetch it
            return await self._later(row, kept)
        return await fail(self._engine, row, "failed", NO_FILE)

    async def _later(self, row: TaskRow, kept: Delivered) -> TaskRow | None:
        engine = self._engine
        pause_us = engine.jittered_us(RETRY_S[min(kept.tries, len(RETRY_S)) - 1])
        return await rows.transition(
            engine.database,
            row,
            "finalizing",
            outputs_json=write(kept),
            next_poll_us=engine.now_us() + pause_us,
            lease_owner="",
            lease_until_us=0,
        )

    # --- money ------------------------------------------------------------------------------------

    async def _settle(
        self, row: TaskRow, kept: Delivered, warnings: tuple[str, ...]
    ) -> TaskRow | None:
        """What the upstream reports comes first, unit by unit; what was delivered otherwise."""
        engine = self._engine
        films = [item for item in kept.outputs if item.kind == "video"]
        lengths = [item.duration_ms for item in films if item.duration_ms is not None]
        video = load(row.request_json.encode())
        used = settled_usage(
            video,
            engine.capabilities_of(row),
            pinned_prices(row),
            reported=kept.usage,
            delivered_ms=sum(lengths) if len(lengths) == len(films) else None,
            count=len(films),
        )
        basis = "delivered" if kept.usage is None or kept.usage == Usage() else "upstream"
        outputs = tuple(item for item in kept.outputs if item.key or item.kind == "video")
        stored = [item for item in outputs if item.key]
        now_us = engine.now_us()
        expires_us = now_us + engine.video_ttl_s * SECOND_US if stored else 0
        changes: TaskChanges = {
            "outputs_json": write(msgspec.structs.replace(kept, outputs=outputs)),
            "warnings_json": with_warnings(row.warnings_json, warnings),
            "expires_us": expires_us,
        }
        await assets.add(
            engine.database, [_asset(row, item, now_us, expires_us) for item in stored]
        )
        return await succeed(engine, row, used, basis, changes)

    # --- one file ---------------------------------------------------------------------------------

    async def _copied(self, row: TaskRow, item: KeptOutput, fresh: Output | None) -> KeptOutput:
        """The output with its key in our store and its true measures. Raises CopyFailed."""
        engine = self._engine
        spool = engine.spools.open()
        try:
            await self._received(row, item, fresh, spool)
            measured = await asyncio.to_thread(_measured, item, spool)
            # A little longer than it is shown: nobody should see an address that is dead.
            key, stored = await self._stored(row, measured.content_type, spool)
        except (UpstreamError, FetchRefused, ApiError, StoreFailed, MediaError) as error:
            raise CopyFailed(str(error) or type(error).__name__) from error
        finally:
            spool.close()
        return msgspec.structs.replace(
            measured, key=key, size_bytes=stored.size_bytes, sha256=stored.sha256
        )

    async def _received(
        self, row: TaskRow, item: KeptOutput, fresh: Output | None, spool: FileSpool
    ) -> None:
        limit = VIDEO_BYTES_MAX if item.kind == "video" else PICTURE_BYTES_MAX
        file = None if fresh is None else fresh.file
        if file is not None and file.url is None:
            spool.write(_inline(file.data, file.b64))
            return
        url = item.url if file is None else file.url
        credentialed = item.credentialed if file is None else file.credentialed
        if url is None:
            raise CopyFailed("the bytes came with an answer that is gone")
        route = self._engine.route_of(row)
        if route is None:
            raise CopyFailed("the provider has left the catalog")
        credential = self._engine.upstreams.keyed(route, row.credential_id)
        if credentialed and credential is None:
            raise CopyFailed("there is no key for the provider")
        await self._download(url, route, credential if credentialed else None, spool.write, limit)

    async def _download(
        self,
        url: str,
        route: Route,
        credential: Credential | None,
        sink: Callable[[bytes], object],
        bytes_max: int,
    ) -> None:
        engine = self._engine
        base_url = route.provider.base_url
        if url.startswith(LOCAL_URL):
            if credential is None or base_url != LOCAL_URL:
                raise CopyFailed("only the sandbox has files inside this process")
            call = UpstreamRequest(url.removeprefix(LOCAL_URL), (), b"", method="GET")
            answer = await engine.upstreams.send(
                route, credential, call, poll_timeouts(route.provider.timeouts)
            )
            if answer.head.status != 200:
                answer.abort()
                raise CopyFailed(f"the file was answered with HTTP {answer.head.status}")
            await answer.save(sink, bytes_max)
            return
        headers = ()
        if credential is not None:
            headers = await engine.upstreams.authorization(route, credential, url)
        await engine.fetcher.download(
            url,
            sink,
            bytes_max=bytes_max,
            allowed_origins=origins_of(base_url),
            headers=headers,
        )

    async def _stored(
        self, row: TaskRow, content_type: str, spool: FileSpool
    ) -> tuple[str, Stored]:
        ttl_s = self._engine.video_ttl_s + 3600
        key, writer = await self._engine.shelf.open(row.org_id, content_type, ttl_s)
        try:
            offset = 0
            while piece := spool.read_at(offset, CHUNK_BYTES):
                await writer.write(piece)
                offset += len(piece)
                await asyncio.sleep(0)  # a film is many pieces; others are served in between
            return key, await writer.commit()
        finally:
            await writer.abort()


def _reachable(item: KeptOutput) -> bool:
    """Whether the caller can have the file: from us, or without our key from the upstream."""
    return bool(item.key) or (item.url is not None and not item.credentialed)


def _inline(data: bytes | None, b64: str | None) -> bytes:
    if data is not None:
        return data
    try:
        return base64.b64decode(b64 or "", validate=True)
    except ValueError:  # binascii's own among them
        raise CopyFailed("the file inside the answer is malformed") from None


def _measured(item: KeptOutput, spool: FileSpool) -> KeptOutput:
    """With what the bytes say of themselves. MediaError: they are not what they should be."""
    if item.kind == "video":
        film = video_info(spool)
        return msgspec.structs.replace(
            item,
            content_type=film.content_type,
            width=film.width,
            height=film.height,
            duration_ms=film.duration_ms if film.duration_ms is not None else item.duration_ms,
            fps_milli=film.fps_milli or item.fps_milli,
            has_audio=film.has_audio,
        )
    found = sniff(spool.read_at(0, SNIFF_BYTES))
    if found is None or not found.startswith("image/"):
        raise MediaError(f"not a picture but {found or 'something else'}")
    size = image_size(spool.read_at(0, spool.size))
    return msgspec.structs.replace(item, content_type=found, width=size.width, height=size.height)


def _asset(row: TaskRow, item: KeptOutput, now_us: int, expires_us: int) -> Asset:
    return Asset(
        id=f"asset:{row.id}:{item.kind}:{item.number}",
        org_id=row.org_id,
        task_id=row.id,
        request_id=row.request_id,
        kind=item.kind,
        number=item.number,
        store_key=item.key,
        content_type=item.content_type,
        size_bytes=item.size_bytes or 0,
        sha256=item.sha256,
        width=item.width,
        height=item.height,
        duration_ms=item.duration_ms,
        created_us=now_us,
        expires_us=expires_us,
    )
