"""Error codes of DashScope's own wire, in lower case, as all its native operations use them.

``reference/media/video_providers.md`` section 5; each operation adds what only it knows.
"""

from __future__ import annotations

from tokenmarket.core.errors import FailureKind

CODES: dict[str, FailureKind] = {
    "invalidapikey": "auth",
    "arrearage": "no_balance",  # with HTTP 400
    "accessdenied": "forbidden",
    "accessdenied.unpurchased": "forbidden",
    "throttling": "rate_limited",
    "throttling.ratequota": "rate_limited",
    "throttling.allocationquota": "rate_limited",
    "datainspectionfailed": "content_policy",
    "modelnotfound": "not_found",
    "model_not_found": "not_found",
    "internalerror": "upstream_error",
}
