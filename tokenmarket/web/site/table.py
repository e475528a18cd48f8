"""All pages: one row per module of ``web/pages/``. What is not here does not exist."""

from __future__ import annotations

from tokenmarket.web.pages.account import entry, joining, profile, recovery, security
from tokenmarket.web.pages.admin import codes, credit, desk, tax_invoices
from tokenmarket.web.pages.admin import ledger as admin_ledger
from tokenmarket.web.pages.admin import requests as admin_requests
from tokenmarket.web.pages.console import (
    audit,
    billing,
    contents,
    home,
    invoices,
    keys,
    manage_keys,
    members,
    overview,
    playground,
    requests,
    settings,
    teams,
    topup,
    usage,
    webhooks,
)
from tokenmarket.web.pages.docs import reading, reference
from tokenmarket.web.pages.public import front, legal, marketplace
from tokenmarket.web.site.pages import Page

PAGES: list[Page] = [
    *front.PAGES,
    *entry.PAGES,
    *joining.PAGES,
    *recovery.PAGES,
    *profile.PAGES,
    *security.PAGES,
    *home.PAGES,  # before all that have an organisation in the path
    *keys.PAGES,
    *members.PAGES,
    *teams.PAGES,
    *settings.PAGES,
    *audit.PAGES,
    *manage_keys.PAGES,
    *playground.PAGES,
    *billing.PAGES,
    *topup.PAGES,
    *invoices.PAGES,
    *codes.PAGES,
    *tax_invoices.PAGES,
    *credit.PAGES,
    *webhooks.PAGES,
    *reference.PAGES,
    *marketplace.PAGES,
    *legal.PAGES,
    *desk.PAGES,
    *reading.PAGES,
    *overview.PAGES,
    *requests.PAGES,
    *contents.PAGES,
    *usage.PAGES,
    *admin_requests.PAGES,
    *admin_ledger.PAGES,
]
