"""All endpoints of the management API: one row per module. What is not here does not exist."""

from __future__ import annotations

from tokenmarket.web.manage import (
    access,
    announcements,
    billing,
    codes,
    contents,
    customers,
    installation,
    invoices,
    keys,
    models,
    organization,
    people,
    pricing,
    reports,
    routes,
    statement,
    supply,
    taxes,
    teams,
    users,
    webhooks,
)
from tokenmarket.web.manage.endpoint import Endpoint

ENDPOINTS: list[Endpoint] = [
    *access.ENDPOINTS,
    *keys.ENDPOINTS,
    *people.ENDPOINTS,
    *teams.ENDPOINTS,
    *organization.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *reports.ENDPOINTS,
    *contents.ENDPOINTS,
    *billing.ENDPOINTS,
    *statement.ENDPOINTS,
    *invoices.ENDPOINTS,
    *taxes.ENDPOINTS,
    *codes.ENDPOINTS,
    *supply.ENDPOINTS,
    *routes.ENDPOINTS,
    *models.ENDPOINTS,
    *pricing.ENDPOINTS,
    *customers.ENDPOINTS,
    *users.ENDPOINTS,
    *announcements.ENDPOINTS,
    *installation.ENDPOINTS,
]
