"""The tables of an organisation's webhook endpoints: where, with which secrets, what was sent.

What a reader must know:

* An event is made in the transaction of what it tells, with one dispatch per endpoint that wants
  it, so none is lost; ``type`` and ``subject`` make it unique, so none is made twice.
* A dispatch is sent at least once; every try is a row of ``webhook_attempt``.
* BIGINT and TEXT only. Unset times are 0, unset texts are empty, NULL means "not known".
* The callbacks of single video orders are ``webhook_delivery`` in ``store/task_tables.py``.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text, text

from tokenmarket.store.tables import metadata

_OPEN = text("delivered_us = 0 AND given_up_us = 0")

webhook_endpoint = Table(
    "webhook_endpoint",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),  # whe_…
    Column("org_id", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("events", Text, nullable=False),  # JSON list of types
    Column("failing_since_us", BigInteger, nullable=False),  # 0: the last dispatch arrived
    Column("disabled_us", BigInteger, nullable=False),
    Column("disabled_reason", Text, nullable=False),  # person | failing | gone
    Column("created_us", BigInteger, nullable=False),
    Index("ix_webhook_endpoint_org_id", "org_id", "id"),
)

webhook_endpoint_secret = Table(
    "webhook_endpoint_secret",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("wrapped_key", Text, nullable=False),  # base64, as in credential
    Column("sealed", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("retired_us", BigInteger, nullable=False),  # 0: the current one
    Index("ix_webhook_endpoint_secret_endpoint_id", "endpoint_id"),
)

webhook_event = Table(
    "webhook_event",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),  # evt_…, what receivers tell repeats by
    Column("org_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),  # sent byte by byte
    Column("created_us", BigInteger, nullable=False),
    Index("uq_webhook_event_subject", "org_id", "type", "subject", unique=True),
    Index("ix_webhook_event_created_us", "created_us"),
)

webhook_dispatch = Table(
    "webhook_dispatch",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),  # whd_…
    Column("org_id", Text, nullable=False),
    Column("endpoint_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("next_attempt_us", BigInteger, nullable=False),
    Column("last_status", BigInteger),
    Column("last_error", Text, nullable=False),
    Column("delivered_us", BigInteger, nullable=False),
    Column("given_up_us", BigInteger, nullable=False),
    Column("lease_owner", Text, nullable=False),
    Column("lease_until_us", BigInteger, nullable=False),
    Index("ix_webhook_dispatch_endpoint_id", "endpoint_id", "id"),
    Index("ix_webhook_dispatch_event_id", "event_id"),
    Index(
        "ix_webhook_dispatch_due",
        "next_attempt_us",
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
)

webhook_attempt = Table(
    "webhook_attempt",
    metadata,
    Column("dispatch_id", Text, primary_key=True, nullable=False),
    Column("number", BigInteger, primary_key=True, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("status", BigInteger),
    Column("error", Text, nullable=False),
    Column("answer", Text, nullable=False),  # its first bytes
)
