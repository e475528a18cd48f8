"""The tables of the management API: its keys, and the answers kept for a repeated request.

BIGINT and TEXT only, as in ``store/tables.py``. An answer may hold a new key, so it is sealed as in
``store/credentials.py``; without one the request is still running, or ended with its process.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from tokenmarket.store.tables import metadata

manage_key = Table(
    "manage_key",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("org_id", Text, nullable=False),  # empty: an operator's key
    Column("role", Text, nullable=False),  # a role of core/roles.py, or operator
    Column("maker", Text, nullable=False),  # user:usr_… or cli:…, as in the audit trail
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),  # as in api_key
    Column("pepper_version", BigInteger, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("last4", Text, nullable=False),
    Column("expires_at_s", BigInteger),
    Column("disabled_at_s", BigInteger),
    Column("last_used_us", BigInteger),
    Column("created_us", BigInteger, nullable=False),
    Index("uq_manage_key_digest", "digest", unique=True),
    Index("ix_manage_key_org_id", "org_id", "id"),
)

manage_answer = Table(
    "manage_answer",
    metadata,
    Column("key_id", Text, primary_key=True, nullable=False),
    Column("idempotency_key", Text, primary_key=True, nullable=False),
    Column("fingerprint", Text, nullable=False),  # of method, path and body
    Column("wrapped_key", Text, nullable=False),  # base64, empty while there is no answer
    Column("sealed", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_manage_answer_created_us", "created_us"),
)
