"""What prices are shown in. Everything is charged in USD; another currency is for the eye, at the
rate and of the day that the operator set, and marked as converted."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from tokenmarket.backoffice import facts

if TYPE_CHECKING:
    from tokenmarket.store.database import Database
    from tokenmarket.web.site.visit import Visit


class Rate(msgspec.Struct, frozen=True):
    """How many CNY one USD is, and since which day that is taken to be so."""

    cny: Decimal
    day: str


async def current(database: Database) -> Rate | None:
    """None: the operator set none, so nothing can be converted."""
    async with database.read() as conn:
        found = await facts.exchange_rate(conn)
    return None if found is None else Rate(Decimal(found[0]), found[1])


class Shown(msgspec.Struct, frozen=True):
    """The currency of a page's prices. ``rate`` and ``day`` are None in USD."""

    currency: str = "USD"
    rate: Decimal | None = None
    day: str | None = None
    can_convert: bool = False

    def text(self, usd: str) -> str:
        """``$0.14`` exactly, or ``≈ ¥0.9940``: four significant digits after a conversion."""
        if self.rate is None:
            whole, point, part = usd.partition(".")
            return f"${whole}.{part.ljust(2, '0')}" if point else f"${whole}.00"
        value = Decimal(usd) * self.rate
        places = max(2, 3 - value.adjusted()) if value else 2
        return f"≈ ¥{round(value, places):f}"


async def shown_in(visit: Visit) -> Shown:
    """What this visitor chose, as far as it can be had."""
    rate = await current(visit.parts.database)
    if rate is None or visit.currency == "USD":
        return Shown(can_convert=rate is not None)
    return Shown("CNY", rate.cny, rate.day, can_convert=True)
