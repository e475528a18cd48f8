"""The service: recording beside requests, and what people do with what was kept: switch it on and
off, read one, delete one; all audited.

Whether a request was ever kept is not written down anywhere but in its file. What is missing was
not kept: recording was off, the queue or the disk was full, or the request still runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from tokenmarket.accounts.admin import NotThere, Refused
from tokenmarket.billing.clock import Clock
from tokenmarket.config import Config
from tokenmarket.contents.recorder import Recorder
from tokenmarket.core import ids, sealing
from tokenmarket.core.contents import Content
from tokenmarket.core.texts import N_
from tokenmarket.files.contents import DELETED, ContentFiles, Unreadable
from tokenmarket.store import accounts as rows
from tokenmarket.store import content_keys, org_desk
from tokenmarket.store.accounts import OrgRow
from tokenmarket.store.database import Database

SWEEP_S = 3600.0
_DAY_US = 86_400_000_000
_decode = msgspec.json.Decoder(Content).decode

State = Literal["kept", "off", "expired", "deleted", "missing", "unreadable"]


class Found(NamedTuple):
    """``content`` is there if ``state`` is kept."""

    state: State
    content: Content | None = None


def opened(
    config: Config, database: Database, clock: Clock, failed: Callable[[str, Exception], object]
) -> Contents:
    """As the settings say."""
    return Contents(
        database,
        ContentFiles(config.data_dir / "contents"),
        config.root.derive(sealing.CONTENTS),
        clock,
        days_max=config.contents_days_max,
        failed=failed,
    )


class Contents:
    """Of one server. ``kek`` = root.derive(CONTENTS); ``days_max`` 0: nobody may keep anything.
    ``failed`` is told what could not be written or deleted: (what, why)."""

    def __init__(
        self,
        database: Database,
        files: ContentFiles,
        kek: bytes,
        clock: Clock,
        *,
        days_max: int,
        failed: Callable[[str, Exception], object],
    ) -> None:
        self.days_max = days_max
        self.recorder = Recorder(files, failed)
        self._database = database
        self._files = files
        self._kek = kek
        self._clock = clock
        self._failed = failed
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.recorder.start()
        self._sweeping = asyncio.create_task(self._sweep_forever(), name="contents-sweep")

    async def stop(self) -> None:
        """Everything that waits is written."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        await self.recorder.stop()

    async def _sweep_forever(self) -> None:
        while True:
            try:
                await self.sweep()
            except Exception as error:
                self._failed("contents_sweep", error)
            await asyncio.sleep(SWEEP_S)

    async def refresh(self) -> None:
        """Who records may have changed."""
        if self.days_max:
            async with self._database.read() as conn:
                self.recorder.take_over(await content_keys.open_all(conn, self._kek))

    def days_of(self, org: OrgRow) -> int:
        """So long this organisation's contents are kept; 0: they are not."""
        return min(org.content_days or 0, self.days_max)

    async def switch(self, org_id: str, days: int | None, *, now_us: int, actor: str) -> OrgRow:
        """Keep contents for ``days``; None: keep none, and destroy what was kept. Raises Refused,
        NotThere."""
        if days is not None and not self.days_max:
            raise Refused(N_("The operator of this installation does not allow to store content."))
        if days is not None and not 1 <= days <= self.days_max:
            raise Refused(N_("That is more days than this installation allows, or less than one."))
        async with self._database.begin() as conn:
            old = await rows.org_by_id(conn, org_id)
            if old is None:
                raise NotThere(N_("There is no such organization."))
            if old.content_days == days:
                return old
            key = await content_keys.find(conn, self._kek, org_id)
            if days is None:
                await content_keys.destroy(conn, org_id)
            elif key is None:
                await content_keys.add(conn, self._kek, org_id, now_us=now_us)
            await org_desk.change(conn, org_id, content_days=days)
            detail: dict[str, object] = {"days": [old.content_days, days]}
            await rows.append_audit(
                conn, now_us, actor, "content.switch", org_id, detail, org_id=org_id
            )
        await self.refresh()
        if days is None and key is not None:  # it opens nothing any more; now the files
            await self.recorder.flush()  # or a batch that is being written makes them anew
            await asyncio.to_thread(self._files.destroy, key)
        return msgspec.structs.replace(old, content_days=days)

    async def read(self, org_id: str, request_id: str, *, now_us: int, actor: str) -> Found:
        """The content of one request of this organisation; who saw one is written down."""
        await self.recorder.flush()
        async with self._database.read() as conn:
            org = await rows.org_by_id(conn, org_id)
            key = await content_keys.find(conn, self._kek, org_id)
        days = 0 if org is None else self.days_of(org)
        if key is None or not days:
            return Found("off")
        if now_us - ids.id_time_us(request_id) > days * _DAY_US:
            return Found("expired")
        try:
            data = await asyncio.to_thread(self._files.read, key, request_id)
            if data is None:
                return Found("missing")
            if data == DELETED:
                return Found("deleted")
            content = _decode(data)
        except (Unreadable, msgspec.MsgspecError):
            return Found("unreadable")
        await self._audit("content.read", org_id, request_id, now_us=now_us, actor=actor)
        return Found("kept", content)

    async def delete(self, org_id: str, request_id: str, *, now_us: int, actor: str) -> bool:
        """Whether there was anything to delete."""
        await self.recorder.flush()
        async with self._database.read() as conn:
            key = await content_keys.find(conn, self._kek, org_id)
        if key is None or not await asyncio.to_thread(self._files.delete, key, request_id):
            return False
        await self._audit("content.delete", org_id, request_id, now_us=now_us, actor=actor)
        return True

    async def sweep(self) -> int:
        """Delete what is older than its organisation wants, and what no key opens any more. How
        many directories."""
        folders = await asyncio.to_thread(self._files.folders)  # first: keys only come to be
        today = datetime.fromtimestamp(self._clock.wall_us() // 1_000_000, UTC).date()
        async with self._database.read() as conn:
            keys = await content_keys.open_all(conn, self._kek)
            orgs = {org.id: org for org in await rows.orgs(conn)}
        oldest = {key.folder: self._oldest(orgs.get(key.org_id), today) for key in keys}
        return await asyncio.to_thread(self._files.sweep, folders, oldest)

    def _oldest(self, org: OrgRow | None, today: date) -> date:
        """The first day of which something may still be read."""
        days = 0 if org is None else self.days_of(org)
        return today - timedelta(days=days) if days else date.max

    async def _audit(
        self, action: str, org_id: str, request_id: str, *, now_us: int, actor: str
    ) -> None:
        async with self._database.begin() as conn:
            await rows.append_audit(conn, now_us, actor, action, request_id, {}, org_id=org_id)
