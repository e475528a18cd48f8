"""Keys that playgrounds made for themselves are a kind of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # by copying: SQLite's own way writes the column behind the constraints
    with op.batch_alter_table("api_key", recreate="always") as batch:
        batch.add_column(
            sa.Column("kind", sa.Text(), nullable=False, server_default="api"),
            insert_after="name",
        )
    key = sa.table("api_key", sa.column("kind"), sa.column("name"), sa.column("created_by"))
    named = key.c.name.like("Playground · %@%") & key.c.created_by.like("user:%")
    op.execute(key.update().where(named).values(kind="playground"))
