"""Signed addresses under which a provider may tell us that a task has changed.

    url     = NoticeUrls(secret, base_url).url("video_…")     None unless callers reach us by https
    task_id = urls.check(path, query)                         ApiError(REQUEST_004) for a guess

A notice is a hint and nothing else: it makes us ask the provider a little earlier. So what it says
is never read, and the signature only keeps strangers from making us ask.
"""

from __future__ import annotations

import base64
import hmac
import re

from tokenmarket.core.errors import ApiError

PATH = "/notices/"
_TASK = re.compile(r"video_[0-9a-z]{20,60}", re.ASCII)
_QUERY = re.compile(rb"s=([A-Za-z0-9_-]{43})")


class NoticeUrls:
    """``secret`` is ``root.derive(sealing.NOTICE_URLS)``; ``base_url`` of the gateway as the world
    reaches it, without a slash at its end."""

    def __init__(self, secret: bytes, base_url: str) -> None:
        self._secret = secret
        self._base_url = base_url if base_url.startswith("https://") else ""

    def url(self, task_id: str) -> str | None:
        """None where providers could not reach us, or would tell it in the clear."""
        if not self._base_url:
            return None
        return f"{self._base_url}{PATH}{task_id}?s={self._signature(task_id)}"

    def check(self, path: str, query: bytes) -> str:
        """The task that the notice is about."""
        task_id = path.removeprefix(PATH)
        match = _QUERY.fullmatch(query)
        if match is None or _TASK.fullmatch(task_id) is None:
            raise _nothing()
        if not hmac.compare_digest(self._signature(task_id).encode("ascii"), match.group(1)):
            raise _nothing()
        return task_id

    def _signature(self, task_id: str) -> str:
        digest = hmac.digest(self._secret, task_id.encode(), "sha256")
        return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")


def _nothing() -> ApiError:
    return ApiError("REQUEST_004", "There is no such task.")
