"""``python -m tokenmarket.store.migrations.draft 0002 'what it does'``: a revision file, on stdout.

Compares what the revisions build with what the tables in the code say, on two empty databases.
Read it, correct it, format it, save it as ``versions/NNNN_what.py``, and raise ``HEAD`` in
``store/schema.py``. Until the first release, 0001 is simply made anew: remove it, draft it again.
"""

from __future__ import annotations

import re
import sys

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations.ops import UpgradeOps
from sqlalchemy import Connection, create_engine, text

from tokenmarket.store import schema
from tokenmarket.store.migrations.upgrade import upgrade

TRIGGERS = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
HEAD = '''"""{title}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {before}
branch_labels = None
depends_on = None


def upgrade() -> None:
'''
_LONG = 80


def draft(migrated: Connection, made: Connection) -> str:
    """The body of ``upgrade()``: tables by Alembic, triggers (which it does not see) by us."""
    context = MigrationContext.configure(migrated, opts={"render_as_batch": True})
    operations = produce_migrations(context, schema.metadata).upgrade_ops
    body = ""
    if isinstance(operations, UpgradeOps) and not operations.is_empty():
        body = render_python_code(operations, migration_context=context)
        body = "".join(line for line in body.splitlines(True) if "# ###" not in line)
    have = {row.name for row in migrated.execute(TRIGGERS)}
    for row in made.execute(TRIGGERS):
        if row.name not in have:
            body += f"\n    op.execute({row.sql!r})"
    return re.sub(r"(?m)(?<=[( ])(['\"])((?:(?!\1).)*)\1", _split, body)


def _split(match: re.Match[str]) -> str:
    """A long SQL text as several short ones side by side."""
    quote, content = match[1], match[2]
    lines = [""]
    for word in re.split(r"(?<= )", content):
        if len(lines[-1]) + len(word) > _LONG:
            lines.append("")
        lines[-1] += word
    return "\n".join(f"{quote}{line}{quote}" for line in lines)


def main(revision: str, title: str) -> None:
    before = f"{int(revision) - 1:04d}"
    migrated, made = create_engine("sqlite://"), create_engine("sqlite://")
    with migrated.begin() as one, made.begin() as two:
        upgrade(one)
        schema.metadata.create_all(two)
        parent = None if before == "0000" else before
        head = HEAD.format(title=title, revision=revision, before=repr(parent))
        sys.stdout.write(head + draft(one, two) + "\n")
    migrated.dispose()
    made.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:3])
