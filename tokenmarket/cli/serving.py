"""``tokenmarket serve``."""

from __future__ import annotations

from argparse import Namespace

from tokenmarket import app
from tokenmarket import config as configuration


def serve(arguments: Namespace) -> int:
    """Runs until SIGTERM or SIGINT; the server itself is ``tokenmarket.app``."""
    return app.serve(configuration.load(vars(arguments)))
