"""Splits ``<think>…</think>`` at the beginning of an answer from the text after it.

Some reasoning models have no field of their own for their thoughts. Tags may be cut anywhere; what
could still become a tag is held back until the next piece decides. Only an opening tag that is the
first thing in the answer counts: later ones are content (somebody may well ask about the tag).
"""

from __future__ import annotations

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkSplitter:
    """State of one choice. ``settled`` is True once no later piece can be held back."""

    def __init__(self) -> None:
        self._state = "start"  # start -> thinking -> after -> text, or start -> text
        self._held = ""

    @property
    def settled(self) -> bool:
        return self._state == "text"

    def feed(self, piece: str) -> tuple[str, str]:
        """(reasoning, content) that this piece settles."""
        if self._state == "text":
            return "", piece
        data = self._held + piece
        self._held = ""
        if self._state == "start":
            begin = data.lstrip()
            if _OPEN.startswith(begin[: len(_OPEN)]) and len(begin) < len(_OPEN):
                self._held = data  # also while only white space has come
                return "", ""
            if not begin.startswith(_OPEN):
                self._state = "text"
                return "", data
            self._state = "thinking"
            data = begin[len(_OPEN) :]
        if self._state == "thinking":
            thought, found, data = data.partition(_CLOSE)
            if not found:
                return self._hold_back(thought), ""
            self._state = "after"
            return thought, self._after(data)
        return "", self._after(data)

    def flush(self) -> tuple[str, str]:
        """(reasoning, content) still held when the choice ends."""
        held, self._held = self._held, ""
        return (held, "") if self._state == "thinking" else ("", held)

    def _hold_back(self, thought: str) -> str:
        for length in range(min(len(_CLOSE) - 1, len(thought)), 0, -1):
            if _CLOSE.startswith(thought[-length:]):
                self._held = thought[-length:]
                return thought[:-length]
        return thought

    def _after(self, data: str) -> str:
        """The line ends between the closing tag and the text belong to neither."""
        data = data.lstrip("\r\n")
        if data:
            self._state = "text"
        return data


def split(content: str) -> tuple[str, str]:
    """(reasoning, content) of a whole answer."""
    splitter = ThinkSplitter()
    reasoning, rest = splitter.feed(content)
    more_reasoning, more = splitter.flush()
    return reasoning + more_reasoning, rest + more
