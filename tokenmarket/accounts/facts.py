"""What the operator set while the server runs, as far as accounts go by it: facts in ``meta``.

They are read where they are used, so a change holds from the next request on.
"""

from __future__ import annotations

from typing import Literal

from tokenmarket.store import accounts as rows
from tokenmarket.store import org_groups
from tokenmarket.store.database import Connection

SIGN_UP = "sign_up"
GROUP_OF_NEW = "group_of_new_organizations"

SignUp = Literal["open", "invite", "closed"]


async def sign_up(conn: Connection, configured: SignUp) -> SignUp:
    """Who may make an account: as set, else as configured."""
    found = await rows.remembered(conn, SIGN_UP)
    return found if found in ("open", "invite", "closed") else configured


async def group_of_new(conn: Connection) -> str | None:
    """The group that new organisations start in; None: everybody's prices."""
    found = await rows.remembered(conn, GROUP_OF_NEW)
    if found is None or await org_groups.find(conn, found) is None:
        return None
    return found
