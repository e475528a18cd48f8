"""``tokenmarket ledger verify``."""

from __future__ import annotations

from argparse import Namespace

from tokenmarket.billing.verify import verify
from tokenmarket.cli.running import FAILED, OK, Answer, desk


async def ledger(arguments: Namespace) -> Answer:
    """Exit 1 and a list on any difference."""
    async with desk(arguments) as at:
        differences = await verify(at.database, at.config.data_dir / "journal")
    lines = [str(difference) for difference in differences]
    text = "\n".join(lines) if lines else "the books are exact: no differences"
    document = {
        "object": "ledger.verification",
        "ok": not differences,
        "differences": differences,
    }
    return Answer(document, text, FAILED if differences else OK)
