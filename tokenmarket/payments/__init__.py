"""Money in from outside: orders and their payments, redeem codes, alerts, invoices.

Below the pages and the management API, above the rooms; what moves money is in ``ledger/``.
"""
