"""The control-plane tables: who may call, what is offered, which secrets open the upstreams.

The money tables are in ``store/money.py`` and hang on the same ``metadata``. What a reader must
know:

* Columns are BIGINT or TEXT only, the common subset of SQLite and PostgreSQL (``design/billing.md``
  section 3). Lists and documents are JSON in TEXT. ``*_s`` are unix seconds, ``*_us`` microseconds.
* NULL means "no limit" or "not set"; 0 is a number like any other (a limit of 0 allows nothing).
* ``meta.generation`` is counted up in the transaction of every control-plane write; a running
  server polls that one row and reloads what changed.
* ``provider``, ``model`` and ``route`` are the operator's rows over the shipped catalog files; a
  row holds the whole entry as the JSON of ``core.catalog_toml``'s rows.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

# Names for every constraint: Alembic can only alter on SQLite what has a name.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def text_column(name: str, *, key: bool = False) -> Column[str]:
    """A text that is always there."""
    return Column(name, Text, primary_key=key, nullable=False)


def int_column(name: str, *, key: bool = False) -> Column[int]:
    """A number that is always there, and never given by the database."""
    return Column(name, BigInteger, primary_key=key, nullable=False, autoincrement=False)


# A CHECK holds for NULL, so "no limit" passes.
_NOT_NEGATIVE = (
    "rpm >= 0 AND tpm >= 0 AND concurrency >= 0"
    " AND spend_total_nano >= 0 AND spend_month_nano >= 0 AND spend_day_nano >= 0"
)

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
)

organization = Table(
    "organization",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),  # customer | demo
    Column("rpm", BigInteger),
    Column("tpm", BigInteger),
    Column("concurrency", BigInteger),
    # spend caps in nano-USD; day and month are UTC
    Column("spend_total_nano", BigInteger),
    Column("spend_month_nano", BigInteger),
    Column("spend_day_nano", BigInteger),
    # IANA name: days and months of reports and invoices
    Column("time_zone", Text, nullable=False, server_default="UTC"),
    Column("legal", Text),  # JSON: who invoices are made out to
    Column("group_id", Text),  # of org_group: its prices; NULL = everybody's
    Column("content_days", BigInteger),  # so long bodies of requests are kept; NULL = not at all
    Column("disabled_at_s", BigInteger),
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("name"),
    CheckConstraint(_NOT_NEGATIVE, name="limits_not_negative"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("team_id", Text),  # given at its creation and for good: the team's budget counts it
    Column("created_by", Text),  # an actor: user:usr_…, cli:…
    Column("name", Text, nullable=False),
    # api | playground: the one that a person's playground makes for itself
    Column("kind", Text, nullable=False, server_default="api"),
    # hex of blake2b-256 under the pepper; the key itself is stored nowhere
    Column("digest", Text, nullable=False),
    Column("pepper_version", BigInteger, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("last4", Text, nullable=False),
    Column("rpm", BigInteger),
    Column("tpm", BigInteger),
    Column("concurrency", BigInteger),
    Column("spend_total_nano", BigInteger),
    Column("spend_month_nano", BigInteger),
    Column("spend_day_nano", BigInteger),
    Column("models", Text),  # JSON list; NULL = all
    Column("providers", Text),
    Column("operations", Text),
    Column("addresses", Text),  # JSON list of CIDR networks
    Column("expires_at_s", BigInteger),
    Column("disabled_at_s", BigInteger),
    # the key that this one replaces, still valid until its own expires_at_s
    Column("rotates", Text),
    Column("last_used_day", BigInteger),  # days since 1970; a day is enough to find idle keys
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("digest"),
    Index("ix_api_key_org_id", "org_id", "created_us"),
    Index("ix_api_key_team_id", "team_id"),
    CheckConstraint(_NOT_NEGATIVE, name="limits_not_negative"),
)

provider = Table(
    "provider",
    metadata,
    Column("name", Text, primary_key=True, nullable=False),
    Column("document", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

model = Table(
    "model",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("document", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

route = Table(
    "route",
    metadata,
    Column("model", Text, primary_key=True, nullable=False),
    Column("provider", Text, primary_key=True, nullable=False),
    Column("document", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

# One upstream key: AES-256-GCM under a data key of this row, which is itself encrypted under the
# root (``core/sealing.py``). ``base_url`` binds it: for another URL the key must be given again.
credential = Table(
    "credential",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("provider", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("hint", Text, nullable=False),  # the last four characters, for people
    Column("version", BigInteger, nullable=False),
    Column("wrapped_key", Text, nullable=False),  # base64(nonce + ciphertext)
    Column("sealed", Text, nullable=False),  # base64(nonce + ciphertext)
    Column("disabled_at_s", BigInteger),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_credential_provider", "provider"),
)

# What the kept bodies of an organisation's requests open with, sealed like a credential. Without
# the row nothing opens any more: this is how they are deleted.
content_key = Table(
    "content_key",
    metadata,
    Column("org_id", Text, primary_key=True, nullable=False),
    Column("made_us", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("wrapped_key", Text, nullable=False),  # base64(nonce + ciphertext)
    Column("sealed", Text, nullable=False),  # base64(nonce + ciphertext)
)

# Append-only and hash-chained: ``hash`` covers the row and the hash before it.
audit_event = Table(
    "audit_event",
    metadata,
    Column("seq", BigInteger, primary_key=True, nullable=False, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("detail", Text, nullable=False),  # JSON object, without secrets
    Column("org_id", Text),  # whose audit page shows it; NULL: the installation's only
    Column("hash", Text, nullable=False),
    Index("ix_audit_event_org_id", "org_id", "seq"),
    Index("ix_audit_event_actor", "actor", "seq"),
)
