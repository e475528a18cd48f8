"""Audio from one format into another, through ffmpeg where the machine has it.

Fixed arguments and pipes only: nothing that a caller writes reaches the command line, and ffmpeg
may open nothing but its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable

from tokenmarket.core.errors import UpstreamError

CHUNK_BYTES = 32 * 1024
_INPUT: dict[str, tuple[str, ...]] = {
    "mp3": ("-f", "mp3"),
    "wav": ("-f", "wav"),
    "flac": ("-f", "flac"),
    "opus": ("-f", "ogg"),
    "aac": ("-f", "aac"),
    "pcm": ("-f", "s16le", "-ar", "24000", "-ac", "1"),
}
_OUTPUT: dict[str, tuple[str, ...]] = {
    "mp3": ("-f", "mp3"),
    "wav": ("-f", "wav"),
    "flac": ("-f", "flac"),
    "opus": ("-c:a", "libopus", "-f", "ogg"),
    "aac": ("-f", "adts"),
    "pcm": ("-f", "s16le", "-ar", "24000", "-ac", "1"),
}


def available() -> bool:
    """Whether ffmpeg is on this machine."""
    return shutil.which("ffmpeg") is not None


class Transcoder:
    """One running conversion: ``write`` audio, ``deliver`` gets it converted, then ``finish``."""

    def __init__(self, process: Process, deliver: Callable[[bytes], Awaitable[None]]) -> None:
        self._process = process
        self._reader = asyncio.ensure_future(self._read(deliver))

    @classmethod
    async def start(
        cls, source: str, target: str, deliver: Callable[[bytes], Awaitable[None]]
    ) -> Transcoder:
        """Formats are OpenAI's names. ``deliver`` is awaited chunk by chunk: it may be slow."""
        process = await asyncio.create_subprocess_exec(
            "ffmpeg",
            *("-v", "error", "-nostdin", "-protocol_whitelist", "pipe"),
            *(*_INPUT[source], "-i", "pipe:0", "-vn", *_OUTPUT[target], "pipe:1"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
        )
        return cls(process, deliver)

    async def write(self, audio: bytes) -> None:
        """Waits while ffmpeg, or who takes what it makes, is behind. Raises what ``deliver`` did,
        and UpstreamError when ffmpeg gave up: the audio was not what it should be."""
        stdin = self._process.stdin
        if stdin is None or self._reader.done():
            await self._reader
            raise _broken()
        stdin.write(audio)
        try:
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            await self._reader
            raise _broken() from None

    async def finish(self) -> None:
        """No more audio: returns when everything is delivered."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._reader
        if await self._process.wait() != 0:
            raise _broken()

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.returncode is not None

    async def close(self) -> None:
        """Ends it in any case; in a finally."""
        self._reader.cancel()
        if self._process.returncode is None:
            self._process.kill()
        await asyncio.gather(self._reader, return_exceptions=True)
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is not None:
            stdin.close()
        # What is left in the pipe would keep it open, and the end of the process from being seen.
        while stdout is not None and await stdout.read(CHUNK_BYTES):
            pass
        await self._process.wait()
        if stdin is not None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await stdin.wait_closed()

    async def _read(self, deliver: Callable[[bytes], Awaitable[None]]) -> None:
        stdout = self._process.stdout
        try:
            while stdout is not None and (chunk := await stdout.read(CHUNK_BYTES)):
                await deliver(chunk)
        except BaseException:
            # Nobody reads any more: ffmpeg would stop reading, too, and ``write`` wait for ever.
            if self._process.returncode is None:
                self._process.kill()
            raise


def _broken() -> UpstreamError:
    return UpstreamError("upstream_error", "the upstream's audio cannot be converted")
