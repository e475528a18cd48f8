"""Every path of the public API, as data: what the description and the reference page are made of.

``tests/gateway/test_openapi.py`` holds this table to the paths that the server answers, and sends
every example. ``summary`` and ``description`` are English msgids (``web/locale/zh/api.po``).
"""

from __future__ import annotations

from tokenmarket.web.openapi.inference import MEDIA, TEXT
from tokenmarket.web.openapi.operation import Operation
from tokenmarket.web.openapi.records import ACCOUNT, VIDEO

OPERATIONS: tuple[Operation, ...] = (*TEXT, *MEDIA, *VIDEO, *ACCOUNT)
