"""Pages of prose as tests read them: their fenced blocks, and what a block prints, made comparable.

A fenced block says what it is behind its language: ``sh run``, ``python run`` and ``js run`` are
executed, ``sh serve`` is a program that runs beside them, ``toml NAME`` is a file, ``output`` is
what the blocks before it print (compared after ids, times and addresses are masked).
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = {
    "sh": ("sh", "-eu"),
    "python": (sys.executable, "-"),
    "js": ("node", "--input-type=module", "-"),
}
MASKS = (
    (r"\b(req|key|org|grant|chatcmpl|video)([_-])[0-9a-f]{34}\b", r"\1\2ID"),
    (r"tm_live_\w*(…\w*)?", "TOKEN"),
    (r'("\w+_ms": )[0-9.]+', r"\1MS"),
    (r'("created(?:_at)?": )\d+', r"\1TIME"),
    (r'("price_version": )"[0-9a-f]{16}"', r"\1VERSION"),
    (r'("upstream_request_id": )"\w+"', r"\1ID"),
    (r"https://HOST\b|http://127\.0\.0\.1:\d+", "ORIGIN"),
    (r"\d{4}-\d\d-\d\d", "DAY"),
    (r"[ \t\r]+$", ""),
)


class Block(NamedTuple):
    """One fenced block; ``kind`` is the word behind the language, or empty."""

    language: str
    kind: str
    text: str
    line: int
    starts: int  # in the source
    ends: int


def blocks(source: str) -> list[Block]:
    return [
        Block(
            match[1],
            match[2] or "",
            match[3],
            source.count("\n", 0, match.start()) + 1,
            match.start(),
            match.end(),
        )
        for match in FENCE.finditer(source)
    ]


def without_comments(text: str) -> str:
    """Code of one language's page as that of the other: comments are translated."""
    return re.sub(r"(?m)\s*(?<!\S)#.*$", "", text)


def masked(text: str) -> str:
    for pattern, replacement in MASKS:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text.strip()


def run_block(block: Block, folder: Path, environment: dict[str, str]) -> str:
    """What the block prints; it must succeed."""
    done = subprocess.run(
        COMMANDS[block.language],
        input=block.text,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"line {block.line}: {done.stdout}{done.stderr}"
    return done.stdout


def search_path(*folders: Path) -> str:
    """PATH with these folders first."""
    return os.pathsep.join([*map(str, folders), os.environ["PATH"]])
