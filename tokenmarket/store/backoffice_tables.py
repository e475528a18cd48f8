"""Tables of the operator's desk: groups of organisations, dated price changes, announcements.

They hang on ``tables.metadata``.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Table, Text, UniqueConstraint

from tokenmarket.store.tables import metadata

org_group = Table(
    "org_group",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("name", Text, nullable=False),
    Column("markup_bp", BigInteger, nullable=False),  # hundredths of a percent; may be negative
    Column("models", Text),  # JSON list; NULL = all
    Column("providers", Text),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    UniqueConstraint("name"),
    CheckConstraint("markup_bp > -10000", name="markup_above_minus_100"),
)

# A new price of one route from a moment on. ``document``: price and cost rows and markup, as JSON
# of ``core.price_terms.PriceTerms``. The running server publishes what is due.
price_change = Table(
    "price_change",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("state", Text, nullable=False),  # draft | scheduled | published | cancelled | failed
    Column("effective_us", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("decided_us", BigInteger),  # published, cancelled or failed
    # what was in force before, and since: hashes of price sheets, and the earlier terms
    Column("version_before", Text),
    Column("version_after", Text),
    Column("document_before", Text),
    Column("problem", Text),  # why it failed
    CheckConstraint(
        "state IN ('draft', 'scheduled', 'published', 'cancelled', 'failed')", name="state"
    ),
    Index("ix_price_change_state_effective_us", "state", "effective_us"),
    Index("ix_price_change_model_provider", "model", "provider", "effective_us"),
)

announcement = Table(
    "announcement",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("level", Text, nullable=False),  # info | warn | bad
    Column("text_en", Text, nullable=False),
    Column("text_zh", Text, nullable=False),
    Column("from_us", BigInteger, nullable=False),
    Column("until_us", BigInteger),  # NULL: until it is withdrawn
    Column("author", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    CheckConstraint("level IN ('info', 'warn', 'bad')", name="level"),
)
