"""Alembic's entry: runs the revisions on the connection that ``upgrade.py`` put into the config."""

from __future__ import annotations

from alembic import context

from tokenmarket.store import money

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=money.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
)
context.run_migrations()
