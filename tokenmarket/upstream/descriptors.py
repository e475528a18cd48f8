"""How many files this process may have open: each connection, inbound or outbound, is one.

Many systems start programs with a soft limit of 1,024, which 500 streams exhaust, and a hard limit
far above it that the program may claim itself.
"""

from __future__ import annotations

import resource
from typing import Final

DESCRIPTORS_WANTED: Final = 65_536


def raise_descriptor_limit(wanted: int = DESCRIPTORS_WANTED) -> int:
    """Raise the soft limit to ``wanted`` or the hard limit, whichever is less; never lowers it.
    Returns the limit that is in force now. Call once, at start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    goal = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if goal <= soft:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
    except (ValueError, OSError):  # the kernel has a limit of its own that is not shown here
        return soft
    return goal
