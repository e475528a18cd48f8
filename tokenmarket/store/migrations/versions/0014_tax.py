"""The tax on an organisation's invoices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tax_profile",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rate_bp", sa.BigInteger(), nullable=False),
        sa.Column("included", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "rate_bp BETWEEN 0 AND 10000 AND included IN (0, 1)", name=op.f("ck_tax_profile_rate")
        ),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_tax_profile")),
    )
