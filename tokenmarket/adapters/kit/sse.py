"""Server-sent events: bytes in any cut -> the data of whole events.

Reads what the WHATWG standard allows and upstreams send: LF, CRLF or CR line ends, comments,
several data lines, a byte order mark, ``data:`` without a space. Names (``event:``), ids and retry
times are skipped: no OpenAI-like upstream needs them.
"""

from __future__ import annotations

from tokenmarket.core.errors import UpstreamError

EVENT_BYTES_MAX = 8 * 1024 * 1024
BOM = b"\xef\xbb\xbf"


class Events:
    """Incremental framing; any cut of the same bytes gives the same events.

    Raises UpstreamError("upstream_error") when one event grows beyond ``event_bytes_max``.
    """

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._pieces: list[bytes] = []  # an incomplete line, in the pieces it came in
        self._lines: list[bytes] = []  # data lines of an incomplete event
        self._pieces_bytes = 0
        self._lines_bytes = 0  # one more per line, so that empty ones are bounded too
        self._after_cr = False  # the last line ended in CR: a LF that follows belongs to it
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of every event that these bytes complete."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if not data:
            return []
        if not self._begun:
            data = b"".join((*self._pieces, data))
            self._pieces.clear()
            if len(data) < len(BOM) and BOM.startswith(data):
                self._pieces.append(data)
                return []
            self._begun = True
            data = data.removeprefix(BOM)
        if b"\n" not in data and b"\r" not in data:
            self._keep(data)
            return []
        return self._take_lines(data)

    def close(self) -> list[bytes]:
        """The end of the body: an event that lacks only its empty line is handed out too.

        The standard would discard it; several upstreams end without the last line end, and whoever
        reads the payload sees whether it is whole.
        """
        self._after_cr = False
        return self._take_lines(b"\n\n")

    def _keep(self, data: bytes) -> None:
        self._pieces.append(data)
        self._pieces_bytes += len(data)
        self._check_size()

    def _take_lines(self, data: bytes) -> list[bytes]:
        if self._pieces:
            data = b"".join((*self._pieces, data))
            self._pieces.clear()
            self._pieces_bytes = 0
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        events: list[bytes] = []
        for line in lines:
            if not line:
                if self._lines:
                    events.append(b"\n".join(self._lines))
                    self._lines.clear()
                    self._lines_bytes = 0
            elif line.startswith(b"data:") or line == b"data":
                self._lines.append(line[5:].removeprefix(b" "))
                self._lines_bytes += len(line) + 1
                self._check_size()
        if rest:
            self._pieces.append(rest)
        self._pieces_bytes = len(rest)
        self._check_size()
        return events

    def _check_size(self) -> None:
        if self._pieces_bytes + self._lines_bytes > self._event_bytes_max:
            raise UpstreamError(
                "upstream_error",
                f"one event of the stream is larger than {self._event_bytes_max} bytes",
            )


def payload(event: bytes) -> bytes | None:
    """The data of one whole event whose lines end in LF; None when it has none."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    events = Events().feed(event + b"\n\n")
    return events[0] if events else None
