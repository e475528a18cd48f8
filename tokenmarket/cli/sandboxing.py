"""``tokenmarket sandbox``: the sandbox provider as a server of its own, for load and tests."""

from __future__ import annotations

from argparse import Namespace

from tokenmarket.sandbox import server


def run(arguments: Namespace) -> int:
    """Runs until SIGTERM or SIGINT; needs no data directory."""
    server.run(arguments.host, arguments.port, key=arguments.api_key)
    return 0
