"""The limit of open files is claimed, and never lowered. In a child: it is a process's for life."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource
from tokenmarket.upstream.descriptors import raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(raise_descriptor_limit({wanted}), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "limit"),
    [(100, 500, 300, 300), (100, 500, 900, 500), (400, 500, 300, 400), (500, 500, 900, 500)],
)
def test_the_limit_is_raised_as_far_as_it_goes(
    soft: int, hard: int, wanted: int, limit: int
) -> None:
    script = SCRIPT.format(soft=soft, hard=hard, wanted=wanted)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(limit), str(limit), str(hard)]
