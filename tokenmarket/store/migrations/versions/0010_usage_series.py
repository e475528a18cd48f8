"""Usage as series of one thing over time. They are filled when the server starts: the first check
of the rollup finds them short and adds everything up anew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_name",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("dimension", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("org_id", "dimension", "value", name=op.f("pk_usage_name")),
        sa.UniqueConstraint("id", name=op.f("uq_usage_name_id")),
    )
    op.create_table(
        "usage_series",
        sa.Column("name_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("width_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("failed", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("requests", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("charge_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("uncollected_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("duration_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("charge_max_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("duration_max_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("name_id", "width_us", "start_us", name=op.f("pk_usage_series")),
        sqlite_with_rowid=False,
    )
    # what is forgotten of webhooks after a month
    op.create_index("ix_webhook_event_created_us", "webhook_event", ["created_us"], unique=False)
    op.create_index("ix_webhook_dispatch_event_id", "webhook_dispatch", ["event_id"], unique=False)
