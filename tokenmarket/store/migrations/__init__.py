"""Alembic's revisions of the schema; loaded only to upgrade an older database, or to draft one."""
