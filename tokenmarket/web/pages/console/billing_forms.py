"""What the billing pages share: amounts as people write them, orders as they read them."""

from __future__ import annotations

import re
from decimal import Decimal

from tokenmarket.core.money import nano_from_usd
from tokenmarket.store.orders import OrderRow
from tokenmarket.web.site.formats import SIGN, number
from tokenmarket.web.site.visit import Visit

_AMOUNT = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,2})?")


def amount_nano(text: str) -> int | None:
    """``"20"`` or ``"19.99"`` USD; None for what is no amount in whole cents."""
    text = text.strip().removeprefix("$").replace(",", "")
    return nano_from_usd(text) if _AMOUNT.fullmatch(text) else None


def to_pay(visit: Visit, order: OrderRow) -> str:
    """``$20.00`` or ``¥142.40``."""
    sign = "¥" if order.currency == "CNY" else SIGN[visit.lang]
    whole, cents = divmod(order.pay_minor, 100)
    return f"{sign}{number(visit.lang, Decimal(whole))}.{cents:02d}"


def org_id(visit: Visit) -> str:
    """Of a page of an organisation."""
    if visit.org is None:
        raise visit.not_found()
    return visit.org.id
