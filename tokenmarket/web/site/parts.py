"""What pages may reach: the parts of the running server, handed over by ``app.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tokenmarket.accounts import Accounts
    from tokenmarket.accounts.identity import Identity
    from tokenmarket.accounts.sessions import Sessions
    from tokenmarket.backoffice.announcements import Board
    from tokenmarket.backoffice.reconcile import Proofs
    from tokenmarket.billing.clock import Clock
    from tokenmarket.billing.wallet import Wallet
    from tokenmarket.catalog import CatalogSource
    from tokenmarket.config import Config
    from tokenmarket.contents.service import Contents
    from tokenmarket.core.sealing import Root
    from tokenmarket.mail import Mail
    from tokenmarket.payments.service import Payments
    from tokenmarket.reports.routes import RouteMeasurements
    from tokenmarket.reports.service import Reports
    from tokenmarket.store.database import Database
    from tokenmarket.telemetry import Telemetry
    from tokenmarket.upstream.outbound import Outbound
    from tokenmarket.web.api import Api
    from tokenmarket.webhooks.service import Webhooks


class Parts(msgspec.Struct, kw_only=True):
    """One server's parts; services of single pages are fields here too."""

    config: Config
    database: Database
    wallet: Wallet
    accounts: Accounts
    catalog: CatalogSource
    outbound: Outbound
    telemetry: Telemetry
    clock: Clock
    root: Root
    api: Api
    sessions: Sessions
    identity: Identity
    mail: Mail
    measurements: RouteMeasurements
    proofs: Proofs
    board: Board
    payments: Payments
    webhooks: Webhooks
    contents: Contents
    reports: Reports
    base_url: Callable[[], str]  # of the site, without a slash at the end
