"""Tells real data from what an upstream sends to keep a connection open while it queues.

Under load some hold the connection for minutes and send blank lines (JSON) or comment lines
(``: keep-alive``, SSE). Those bytes are relayed like all others, but they must not stop the
first-byte timer.
"""

from __future__ import annotations

import re

SUSPECT = frozenset(b" \t\r\n:")  # keep-alive begins with one of these
_BLANK = re.compile(rb"[ \t\r\n]*")
_LINE_END = re.compile(rb"[\r\n]")


class Waiting:
    """``real(data)`` is False as long as only keep-alive came, for any cut of the bytes."""

    __slots__ = ("_comments", "_in_comment")

    def __init__(self, content_type: str) -> None:
        self._comments = content_type.startswith("text/event-stream")
        self._in_comment = False

    @staticmethod
    def possible(content_type: str) -> bool:
        """Whether this kind of body can begin with keep-alive; audio and images cannot."""
        return content_type.startswith(("text/", "application/json", "application/x-ndjson"))

    def real(self, data: bytes) -> bool:
        at = 0
        while True:
            if self._in_comment:
                line_end = _LINE_END.search(data, at)
                if line_end is None:
                    return False
                at = line_end.end()
                self._in_comment = False
            blank = _BLANK.match(data, at)
            at = at if blank is None else blank.end()
            if at >= len(data):
                return False
            if not self._comments or data[at] != 0x3A:  # ":" begins a comment line
                return True
            self._in_comment = True
