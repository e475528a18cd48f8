"""The operator's desk: groups of organisations, dated price changes, announcements."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "org_group",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("markup_bp", sa.BigInteger(), nullable=False),
        sa.Column("models", sa.Text(), nullable=True),
        sa.Column("providers", sa.Text(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("markup_bp > -10000", name=op.f("ck_org_group_markup_above_minus_100")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_org_group")),
        sa.UniqueConstraint("name", name=op.f("uq_org_group_name")),
    )
    op.create_table(
        "price_change",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("effective_us", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_us", sa.BigInteger(), nullable=True),
        sa.Column("version_before", sa.Text(), nullable=True),
        sa.Column("version_after", sa.Text(), nullable=True),
        sa.Column("document_before", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('draft', 'scheduled', 'published', 'cancelled', 'failed')",
            name=op.f("ck_price_change_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_change")),
    )
    op.create_index(
        "ix_price_change_model_provider",
        "price_change",
        ["model", "provider", "effective_us"],
        unique=False,
    )
    op.create_index(
        "ix_price_change_state_effective_us",
        "price_change",
        ["state", "effective_us"],
        unique=False,
    )
    op.create_table(
        "announcement",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("text_en", sa.Text(), nullable=False),
        sa.Column("text_zh", sa.Text(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=True),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("level IN ('info', 'warn', 'bad')", name=op.f("ck_announcement_level")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_announcement")),
    )
    # by copying: SQLite's own way writes the column behind the constraints
    with op.batch_alter_table("organization", recreate="always") as batch:
        batch.add_column(sa.Column("group_id", sa.Text()))
