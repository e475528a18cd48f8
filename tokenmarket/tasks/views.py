"""A task row as callers see it (``core/video/projection.py`` makes the JSON)."""

from __future__ import annotations

from tokenmarket.core.tasks import TERMINAL
from tokenmarket.core.video.projection import OutputView, VideoView, usage_block
from tokenmarket.core.video.request import load
from tokenmarket.store.tasks import TaskRow
from tokenmarket.tasks.documents import (
    Delivered,
    KeptOutput,
    read_delivered,
    read_error,
    read_settled,
    read_warnings,
)
from tokenmarket.tasks.engine import SECOND_US, Engine

URL_S = 24 * 3600  # so long an address of ours is good; asking for the task gives a new one


def view(engine: Engine, row: TaskRow, *, refunded_nano: int = 0) -> VideoView:
    """Everything about the task. Pure but for the clock and the signing of addresses."""
    video = load(row.request_json.encode())
    settled = read_settled(row.usage_json) if row.usage_json else None
    kept = read_delivered(row.outputs_json) if row.outputs_json else Delivered()
    return VideoView(
        id=row.id,
        provider=row.provider,
        state=row.state,
        video=video,
        created_s=row.created_us // SECOND_US,
        now_s=engine.now_us() // SECOND_US,
        expected_s=engine.expected_s(row, video) if row.state not in TERMINAL else 0,
        progress=row.progress,
        started_s=_second(row.started_us),
        completed_s=_second(row.completed_us),
        expires_s=_second(row.expires_us),
        error=read_error(row.error_json) if row.error_json else None,
        outputs=outputs(engine, row, kept) if row.state == "succeeded" else (),
        usage=None if settled is None else usage_block(settled.usage),
        held_nano=row.held_nano,
        charged_nano=row.charged_nano,
        refunded_nano=refunded_nano,
        basis="estimate" if settled is None else settled.basis,
        warnings=read_warnings(row.warnings_json),
        facts=kept.facts if row.state == "succeeded" else {},
    )


def outputs(engine: Engine, row: TaskRow, kept: Delivered) -> tuple[OutputView, ...]:
    """The finished videos with addresses that can be had now."""
    beside = {
        (item.kind, item.number): _url(engine, row, item)
        for item in kept.outputs
        if item.kind != "video"
    }
    return tuple(
        OutputView(
            index=index,
            url=_url(engine, row, item) or "",
            content_type=item.content_type or "video/mp4",
            bytes=item.size_bytes,
            width=item.width,
            height=item.height,
            duration=None if item.duration_ms is None else item.duration_ms / 1000,
            fps=None if item.fps_milli is None else item.fps_milli / 1000,
            has_audio=item.has_audio,
            sha256=item.sha256 or None,
            thumbnail_url=beside.get(("thumbnail", item.number)),
            last_frame_url=beside.get(("last_frame", item.number)),
            upstream_url_expires_at=item.upstream_expires_s,
        )
        for index, item in enumerate(item for item in kept.outputs if item.kind == "video")
    )


def _url(engine: Engine, row: TaskRow, item: KeptOutput) -> str | None:
    if item.key:
        if row.expires_us and engine.now_us() >= row.expires_us:
            return None
        return engine.shelf.address(item.key, URL_S)[0]
    return None if item.credentialed else item.url


def _second(us: int) -> int | None:
    return us // SECOND_US if us else None
