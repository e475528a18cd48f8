"""One server process from its start to its end: signals, the log, what is printed for people.

SIGTERM and SIGINT drain and settle (``app.Server.close``); a second signal ends at once, and the
next start adopts what was left.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys

import uvloop

from tokenmarket import __version__
from tokenmarket.accounts import demo, operators
from tokenmarket.accounts.links import Links
from tokenmarket.app import Server
from tokenmarket.billing.clock import SystemClock
from tokenmarket.billing.wallet import AlreadyRunning
from tokenmarket.config import Config
from tokenmarket.core import sealing
from tokenmarket.ledger.grants import grant
from tokenmarket.store.database import StoreError
from tokenmarket.telemetry import Log
from tokenmarket.upstream.descriptors import raise_descriptor_limit


def serve(config: Config) -> int:
    """Run until a signal; the exit code. What cannot start says why in one line on stderr."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config))


async def _serve(config: Config) -> int:
    raise_descriptor_limit()  # a relayed stream takes two
    clock = SystemClock()
    log = Log(_stderr, clock, config.log_level)
    _forward_logging(log)
    server = Server(config, log, clock)
    try:
        await server.open()
        # listening first: a port that is taken must not use up the only showing of the demo key
        port = await server.listen()
        token = await _first_start(server) if config.demo else None
        welcome = await _welcome(server)
    except (StoreError, AlreadyRunning, OSError, sealing.SealBroken, ValueError) as error:
        log.flush()
        sys.stderr.write(f"tokenmarket: cannot start: {error}\n")
        return 2
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked_to_stop(number: int) -> None:
        if stop.is_set():
            log.write("warning", "second_signal", signal=number)
            log.flush()
            os._exit(130)  # the next start adopts the journal
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop, number)
    base_url = config.base_url.replace(f":{config.port}/", f":{port}/")
    text = demo.welcome_text(base_url, token) if token else demo.later_text(base_url)
    sys.stdout.write(text + welcome)
    sys.stdout.flush()
    log.write("info", "listening", url=base_url, version=__version__, pid=os.getpid())
    log.flush()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    await stop.wait()
    log.write("info", "stopping", drain_s=config.drain_s)
    log.flush()
    await server.close()
    log.write("info", "stopped")
    log.flush()
    return 0


async def _first_start(server: Server) -> str | None:
    """The demo key if this data directory was empty."""
    database, clock = server.database, server.clock

    async def give(org_id: str, grant_id: str, amount_nano: int, reason: str) -> object:
        return await grant(
            database,
            org_id=org_id,
            grant_id=grant_id,
            amount_nano=amount_nano,
            reason=reason,
            now_us=clock.wall_us(),
        )

    pepper = server.config.root.derive(sealing.PEPPER)
    return await demo.first_start(database, pepper, give, now_us=clock.wall_us())


async def _welcome(server: Server) -> str:
    """How the first operator comes in, as long as there is none."""
    if server.config.role == "gateway" or await operators.has_operator(server.database):
        return ""
    secret = server.config.root.derive(sealing.LINKS)
    links = Links(server.database, server.clock, secret)
    return operators.welcome_text(await operators.welcome_link(links, server.shelf.urls.base_url))


def _stderr(block: bytes) -> object:
    return os.write(2, block)


class _Forward(logging.Handler):
    """What libraries and background parts log becomes a line like all others."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        level = {"critical": "error", "notset": "info"}.get(level, level)
        self._log.write(level, "log", logger=record.name, message=record.getMessage()[:2000])


def _forward_logging(log: Log) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Forward(log)]
    root.setLevel(logging.INFO)
    # It warns of every malformed form; the caller is told, and the log is not theirs to fill.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
