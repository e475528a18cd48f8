"""The command line: ``tokenmarket serve | key | org | credit | provider | catalog | ledger | …``.

``grammar`` knows the words; each command is one function in a sibling module, imported only when it
runs, because ``--help`` must not load the server. Results go to stdout (with ``--json`` as one JSON
object), everything else to stderr. The exit codes are in ``grammar.EPILOG``.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from tokenmarket.cli.grammar import build_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parsed = build_parser().parse_args(arguments)
    # by name and late: what a command needs is loaded for that command only
    running = importlib.import_module("tokenmarket.cli.running")
    module, _, name = str(parsed.runs).partition(":")
    function = getattr(importlib.import_module(f"tokenmarket.cli.{module}"), name)
    return int(running.run(function, parsed))
