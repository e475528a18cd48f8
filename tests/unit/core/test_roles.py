"""What each role may do, and what it may give away."""

import pytest

from tokenmarket.core.roles import PERMISSIONS, ROLES, covers, given_by, may

MONEY = {"billing.view", "billing"}
EXPECTED = {
    "owner": set(PERMISSIONS),
    "admin": set(PERMISSIONS),
    "billing": {"view", *MONEY},
    "developer": {"view", "play", "keys", "webhooks", "contents"},
    "viewer": {"view", "billing.view"},
}


@pytest.mark.parametrize("role", ROLES)
def test_the_table(role: str) -> None:
    assert {permission for permission in PERMISSIONS if may(role, permission)} == EXPECTED[role]


def test_nobody_gives_more_than_they_have() -> None:
    assert given_by("owner") == ROLES
    assert given_by("admin") == ("admin", "billing", "developer", "viewer")
    assert all(given_by(role) == () for role in ("billing", "developer", "viewer", "nobody"))
    assert not covers("admin", "owner")
    assert covers("admin", "billing")
    assert not covers("developer", "billing")
    assert not covers("nobody", "viewer")


def test_a_role_that_is_none_may_nothing_and_a_misspelt_permission_is_an_error() -> None:
    assert not any(may("root", permission) for permission in PERMISSIONS)
    with pytest.raises(KeyError):
        may("owner", "everything")
