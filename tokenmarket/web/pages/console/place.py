"""Where a visitor stands in the console: the organisation, and as whom they act there."""

from __future__ import annotations

from typing import NamedTuple

from tokenmarket.accounts.members import By
from tokenmarket.store.accounts import OrgRow
from tokenmarket.web.site.visit import Answered, Visit


class Place(NamedTuple):
    """On pages whose policy is a permission in an organisation."""

    org: OrgRow
    by: By


def place(visit: Visit) -> Place:
    """Raises Answered(404) where the policy of the page did not see to it."""
    if visit.org is None or visit.role is None:
        raise Answered(404)
    return Place(visit.org, By(visit.actor, visit.role))
