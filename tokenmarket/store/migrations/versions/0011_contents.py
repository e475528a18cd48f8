"""Kept contents of requests: for how long, per organisation, and the key they open with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "content_key",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("wrapped_key", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_content_key")),
    )
    # by copying: SQLite's own way writes the column behind the constraints
    with op.batch_alter_table("organization", recreate="always") as batch:
        batch.add_column(sa.Column("content_days", sa.BigInteger()))
