"""The Chinese of error messages, for ``replies.ErrorBodies``.

It is read from the files of ``locale/zh/`` when the first error in Chinese is told, which takes
0.06 s once; a server that is never asked for it does not even import the reader.
"""

from __future__ import annotations

import importlib


def chinese(english: str) -> str | None:
    """The Chinese of a message or of its template; None if there is none."""
    i18n = importlib.import_module("tokenmarket.web.site.i18n")
    found: tuple[str, ...] | None = i18n.read_catalogue().get((None, english))
    return None if found is None else found[0]
