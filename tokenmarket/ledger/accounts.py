"""The chart of accounts: what each account is called (``design/billing.md`` section 2). Pure."""

from __future__ import annotations

REVENUE = "revenue:usage"
BREAKAGE = "revenue:breakage"
PROMO = "promo"
HOUSE_LOSS = "house:loss"
SUSPENSE = "suspense"


def cash(org_id: str) -> str:
    """Money the organisation paid."""
    return f"cust:{org_id}:cash"


def grant(org_id: str, grant_id: str) -> str:
    """One account per grant: its own expiry, scope and priority."""
    return f"cust:{org_id}:grant:{grant_id}"


def debt(org_id: str) -> str:
    """What the organisation owes: payments clawed back after they were spent."""
    return f"cust:{org_id}:debt"


def clearing(psp: str, currency: str = "USD") -> str:
    """What a payment provider has collected and not yet paid out, in that currency."""
    return f"psp:{psp}:clearing" if currency == "USD" else f"psp:{psp}:clearing:{currency}"


def exchange(currency: str) -> str:
    """Where money of one currency leaves and the same worth in another comes in."""
    return f"exchange:{currency}"
