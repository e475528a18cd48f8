"""The operator's pages that are this folder's own: one row per module of ``web/site/table.py``."""

from __future__ import annotations

from tokenmarket.web.pages.admin import (
    announcements,
    audit,
    groups,
    health,
    models,
    orgs,
    prices,
    providers,
    reconcile,
    routes,
    settings,
    users,
)
from tokenmarket.web.site.pages import Page

PAGES: list[Page] = [
    *health.PAGES,
    *providers.PAGES,
    *routes.PAGES,
    *models.PAGES,
    *prices.PAGES,
    *groups.PAGES,
    *orgs.PAGES,
    *users.PAGES,
    *announcements.PAGES,
    *reconcile.PAGES,
    *settings.PAGES,
    *audit.PAGES,
]
