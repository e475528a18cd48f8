"""``tokenmarket serve``."""

from __future__ import annotations

from argparse import Namespace

from tokenmarket import config as configuration
from tokenmarket import process


def serve(arguments: Namespace) -> int:
    """Runs until SIGTERM or SIGINT; the server itself is ``tokenmarket.app``."""
    return process.serve(configuration.load(vars(arguments)))
