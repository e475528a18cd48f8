"""Usage added up, and what was counted at routes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "route_hour",
        sa.Column("start_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("upstream_model", sa.Text(), nullable=False),
        sa.Column("good", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("first_bytes", sa.Text(), nullable=False),
        sa.Column("rates", sa.BigInteger(), nullable=False),
        sa.Column("rate_sum_milli", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "start_us", "provider", "upstream_model", name=op.f("pk_route_hour")
        ),
    )
    op.create_table(
        "route_sample",
        sa.Column("at_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("upstream_model", sa.Text(), nullable=False),
        sa.Column("good", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("first_bytes", sa.Text(), nullable=False),
        sa.Column("rates", sa.BigInteger(), nullable=False),
        sa.Column("rate_sum_milli", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "at_us", "provider", "upstream_model", name=op.f("pk_route_sample")
        ),
    )
    op.create_table(
        "usage_rollup",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("width_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
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
        sa.PrimaryKeyConstraint(
            "org_id",
            "width_us",
            "start_us",
            "model",
            "provider",
            "key_id",
            "operation",
            "status",
            "error_code",
            name=op.f("pk_usage_rollup"),
        ),
    )
    op.create_index(
        "ix_usage_rollup_width_us", "usage_rollup", ["width_us", "start_us"], unique=False
    )
