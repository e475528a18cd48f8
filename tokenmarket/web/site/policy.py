"""Who may see a page: every row of the page table names one (``design/security.md`` A9)."""

from __future__ import annotations

from typing import Literal

import msgspec

from tokenmarket.core.roles import PERMISSIONS


class Policy(msgspec.Struct, frozen=True):
    """``permission`` is set where ``kind`` is member."""

    kind: Literal["public", "signed_in", "member", "operator"]
    permission: str | None = None


PUBLIC = Policy("public")
SIGNED_IN = Policy("signed_in")
OPERATOR = Policy("operator")


def member(permission: str) -> Policy:
    """Members of the organisation in the path whose role has this permission."""
    if permission not in PERMISSIONS:
        raise ValueError(f"there is no permission {permission!r}")
    return Policy("member", permission)
