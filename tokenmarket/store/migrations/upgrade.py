"""Runs the revisions that a database lacks, in the transaction that is handed in."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(conn: Connection, revision: str = "head") -> None:
    """Nothing is committed here; SQLite rolls back DDL with everything else."""
    config = Config()
    config.set_main_option("script_location", "tokenmarket.store:migrations")
    config.attributes["connection"] = conn
    command.upgrade(config, revision)
