"""Bodies of requests, kept for the organisations that want it (off unless they say so).

``recorder.py`` takes copies beside running requests and writes them, ``copying.py`` is the client
that copies, ``service.py`` runs that and is what people do: switch it on and off, read, delete.
"""

from __future__ import annotations

from tokenmarket.contents.copying import Copy
from tokenmarket.contents.recorder import Recorder

__all__ = ["Copy", "Recorder"]
