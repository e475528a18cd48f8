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


def clearing(psp: str) -> str:
    """What a payment provider has collected and not yet paid out."""
    return f"psp:{psp}:clearing"
