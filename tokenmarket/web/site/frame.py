"""What the layouts show around every page: who is signed in, their organisations, the balance,
banners, the message of the step before."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from tokenmarket.accounts import members
from tokenmarket.core.roles import may

if TYPE_CHECKING:
    from tokenmarket.web.site.visit import Visit


def _contact(address: str | None) -> tuple[str, str] | None:
    """(link, text) of where to find help."""
    if address is None:
        return None
    if address.startswith("https://"):
        return address, address.removeprefix("https://")
    return f"mailto:{quote(address, safe='@')}", address


async def fill(visit: Visit) -> None:
    """Sets ``visit.frame``; pages that are only a fragment need none of it."""
    frame = visit.frame = {
        "flash": visit.site.cookies.flash(visit.request),
        "memberships": [],
        "available_nano": None,
        "low_balance_nano": None,  # the alert's threshold, while the balance is below it
    }
    user, org, parts = visit.user, visit.org, visit.parts
    if not visit.fragment:
        frame["announcements"] = [
            {"level": one.level, "text": one.text(visit.lang)}
            for one in await parts.board.showing(visit.now_us)
        ]
        frame["support"] = _contact(await parts.board.support(visit.now_us))
    if user is None or visit.fragment:
        return
    frame["memberships"] = await members.of_user(parts.database, user.id)
    if org is not None:
        frame["available_nano"] = (await parts.wallet.balance(org.id)).available_nano
        if may(visit.role or "", "billing.view"):
            frame["low_balance_nano"] = await parts.payments.alerts.low(org.id)
