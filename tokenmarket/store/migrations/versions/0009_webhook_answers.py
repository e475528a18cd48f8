"""Of every try to send to a webhook endpoint, the first bytes of the answer; callbacks of an
organisation by an index.

``webhook_attempt`` has never been written to before this revision, so it is made anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("webhook_attempt")
    op.create_table(
        "webhook_attempt",
        sa.Column("dispatch_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dispatch_id", "number", name=op.f("pk_webhook_attempt")),
    )
    op.create_index(
        "ix_webhook_delivery_org_id", "webhook_delivery", ["org_id", "id"], unique=False
    )
