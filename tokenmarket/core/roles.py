"""Who may do what inside an organisation: one table, asked by pages, endpoints and domain code.

A permission names a group of actions, not a page. ``view`` is everything that only reads, except
money (``billing.view``) and the audit log. An operator of the installation is no role: operators
are marked on the person and have their own pages.
"""

from __future__ import annotations

# From the widest to the narrowest, as they are offered to people.
ROLES = ("owner", "admin", "billing", "developer", "viewer")

_PERMISSIONS: dict[str, frozenset[str]] = {
    "view": frozenset(ROLES),
    "play": frozenset(("owner", "admin", "developer")),
    "keys": frozenset(("owner", "admin", "developer")),
    "billing.view": frozenset(("owner", "admin", "billing", "viewer")),
    "billing": frozenset(("owner", "admin", "billing")),
    "members": frozenset(("owner", "admin")),
    "teams": frozenset(("owner", "admin")),
    "settings": frozenset(("owner", "admin")),
    "webhooks": frozenset(("owner", "admin", "developer")),
    "contents": frozenset(("owner", "admin", "developer")),
    "audit": frozenset(("owner", "admin")),
}
PERMISSIONS = tuple(_PERMISSIONS)


def may(role: str, permission: str) -> bool:
    """KeyError for a permission that does not exist: a misspelt one must never read as "no"."""
    return role in _PERMISSIONS[permission]


def covers(role: str, other: str) -> bool:
    """Whether ``role`` may do all that ``other`` may: nobody gives or takes more than they have."""
    if other == "owner":
        return role == "owner"
    return all(role in allowed for allowed in _PERMISSIONS.values() if other in allowed)


def given_by(role: str) -> tuple[str, ...]:
    """The roles that somebody with ``role`` may give to others."""
    if not may(role, "members"):
        return ()
    return tuple(other for other in ROLES if covers(role, other))
