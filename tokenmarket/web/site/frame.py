"""What the layouts show around every page: who is signed in, their organisations, the balance,
banners, the message of the step before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmarket.accounts import members

if TYPE_CHECKING:
    from tokenmarket.web.site.visit import Visit


async def fill(visit: Visit) -> None:
    """Sets ``visit.frame``; pages that are only a fragment need none of it."""
    frame = visit.frame = {
        "flash": visit.site.cookies.flash(visit.request),
        "memberships": [],
        "available_nano": None,
    }
    user, org, parts = visit.user, visit.org, visit.parts
    if not visit.fragment:
        frame["announcements"] = [
            {"level": one.level, "text": one.text(visit.lang)}
            for one in await parts.board.showing(visit.now_us)
        ]
    if user is None or visit.fragment:
        return
    frame["memberships"] = await members.of_user(parts.database, user.id)
    if org is not None:
        frame["available_nano"] = (await parts.wallet.balance(org.id)).available_nano
