"""The money tables, and the questions the gateway asks them.

What moves money is in ``store/money_moves.py``, what proves it right in ``store/money_checks.py``.
What a reader must know (``design/billing.md`` sections 2 and 3):

* BIGINT and TEXT only; amounts in nano-USD, times in unix microseconds; 0 means "never" for ends.
* The CHECKs are the last line of defence, not decoration: the customer cannot go below zero even
  if every line of Python is wrong. Upper bounds keep SQLite from turning an overflow into REAL.
* ``transfer`` is append-only: triggers refuse UPDATE and DELETE on SQLite, a role on PostgreSQL.
* Only ``limited = 1`` accounts carry live balances; the others are sums over ``transfer``, so that
  no posting ever waits for the one row of the revenue account.
* No foreign keys: they would take share locks on the hot account rows.
"""

from __future__ import annotations

import base64

from sqlalchemy import (
    DDL,
    CheckConstraint,
    Index,
    Table,
    event,
    select,
    text,
)

from tokenmarket.store.database import Database
from tokenmarket.store.tables import int_column as _int
from tokenmarket.store.tables import metadata
from tokenmarket.store.tables import text_column as _text
from tokenmarket.store.task_tables import task

NANO_MAX = 9_000_000_000_000_000_000  # what an account can have moved in its life
NEVER_US = 9_000_000_000_000_000_000
DAY_US = 86_400_000_000


account = Table(
    "account",
    metadata,
    _text("id", key=True),
    _text("org_id"),
    _text("kind"),  # cash | grant
    _text("currency"),
    _int("limited"),
    _int("cr_posted"),
    _int("dr_posted"),
    _int("dr_pending"),
    _int("priority"),  # lower burns first
    _int("expires_us"),  # NEVER_US for paid money
    _text("scope"),  # JSON list of model ids, or empty for all
    _int("created_us"),
    Index("ix_account_org_id", "org_id"),
    CheckConstraint("limited = 0 OR cr_posted - dr_posted - dr_pending >= 0", name="not_overdrawn"),
    CheckConstraint("cr_posted >= 0 AND dr_posted >= 0 AND dr_pending >= 0", name="not_negative"),
    CheckConstraint(
        f"cr_posted <= {NANO_MAX} AND dr_posted <= {NANO_MAX} AND dr_pending <= {NANO_MAX}",
        name="in_range",
    ),
)

transfer = Table(
    "transfer",
    metadata,
    _text("id", key=True),
    _text("org_id"),
    _text("kind"),  # topup | grant | expiry | capture | refund | adjustment
    _text("debit"),
    _text("credit"),
    _int("amount_nano"),
    _text("ref"),  # the request, payment or administrative act behind it
    _text("reason"),
    _int("ts_us"),
    Index("ix_transfer_org_id", "org_id", "ts_us"),
    Index("ix_transfer_ref", "ref"),
    CheckConstraint(f"amount_nano > 0 AND amount_nano <= {NANO_MAX}", name="amount"),
    CheckConstraint("debit <> credit", name="two_sides"),
)

worker = Table(
    "worker",
    metadata,
    _text("id", key=True),
    _text("state"),  # live | dead
    _text("journal_dir"),
    _int("pid"),
    _int("started_us"),
    _int("ended_us"),
)

lease = Table(
    "lease",
    metadata,
    _text("id", key=True),
    _text("kind"),  # balance | window
    _text("target"),
    _text("worker_id"),
    _text("state"),  # open | closed
    _int("granted"),
    _int("captured"),
    _int("returned"),
    _int("op_seq"),
    _int("opened_us"),
    _int("closed_us"),
    Index(
        "uq_lease_open",
        "kind",
        "target",
        "worker_id",
        unique=True,
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
    Index("ix_lease_worker_id", "worker_id"),
    CheckConstraint("granted >= 0 AND captured >= 0 AND returned >= 0", name="not_negative"),
    CheckConstraint("captured + returned <= granted", name="not_overspent"),
    CheckConstraint("state = 'open' OR captured + returned = granted", name="closed_is_even"),
)

# Durable holds, for work that outlives a process (video tasks): one row per bucket and per spend
# window. Their money is part of dr_pending and leased_nano like that of leases, see R3.
hold = Table(
    "hold",
    metadata,
    _text("id", key=True),
    _text("ref_id"),  # the task
    _text("org_id"),
    _text("kind"),  # balance | window
    _text("target"),  # the account or spend window
    _int("number"),  # in burn order
    _int("amount_nano"),
    _int("captured_nano"),
    _text("state"),  # pending | captured | void
    _int("expires_us"),
    _int("created_us"),
    Index("uq_hold_ref_id", "ref_id", "kind", "target", unique=True),
    Index(
        "ix_hold_pending",
        "org_id",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    CheckConstraint(f"amount_nano > 0 AND amount_nano <= {NANO_MAX}", name="amount"),
    CheckConstraint("captured_nano >= 0 AND captured_nano <= amount_nano", name="captured"),
    CheckConstraint("state = 'captured' OR captured_nano = 0", name="captured_or_not"),
)

spend_window = Table(
    "spend_window",
    metadata,
    _text("id", key=True),
    _text("owner_kind"),  # key | team | organization
    _text("owner_id"),
    _text("period"),  # total | day | month, UTC
    _int("starts_us"),
    _int("ends_us"),
    _int("limit_nano"),  # what the operator wants now
    _int("cap_nano"),  # the same, or what was already promised when the limit was lowered
    _int("used_nano"),
    _int("leased_nano"),
    _int("opening_nano"),  # spent in the period before the limit existed
    CheckConstraint("used_nano >= 0 AND leased_nano >= 0", name="not_negative"),
    CheckConstraint("used_nano + leased_nano <= cap_nano", name="within_cap"),
)

journal_cursor = Table(
    "journal_cursor",
    metadata,
    _text("worker_id", key=True),
    _int("offset_b"),  # everything before this journal position is posted; 2**62 when adopted
    _int("posted"),
    _int("updated_us"),
)

usage_event = Table(
    "usage_event",
    metadata,
    _text("request_id", key=True),
    _text("org_id"),
    _text("key_id"),
    _int("accepted_us"),
    _int("finished_us"),
    _text("operation"),
    _text("model"),
    _text("provider"),
    _text("status"),
    _text("error_code"),
    _int("charge_nano"),
    _int("uncollected_nano"),
    _int("refunded_nano"),
    _int("prompt_tokens"),
    _int("completion_tokens"),
    _int("cached_tokens"),
    _int("reasoning_tokens"),
    _text("units_json"),
    _text("price_version"),
    _text("windows"),  # ids of the spend windows it counted in, joined by spaces
    _text("receipt"),
    Index("ix_usage_event_org_id", "org_id", "accepted_us"),
    CheckConstraint(f"charge_nano >= 0 AND charge_nano <= {NANO_MAX}", name="charge"),
    CheckConstraint("uncollected_nano >= 0", name="uncollected"),
    CheckConstraint("refunded_nano >= 0 AND refunded_nano <= charge_nano", name="refunded"),
)

# Append-only: one row per version of a price sheet, so that an old charge can be computed again.
price = Table("price", metadata, _text("version", key=True), _text("sheet"), _int("created_us"))

payment_event = Table(
    "payment_event",
    metadata,
    _text("id", key=True),
    _text("psp"),
    _text("payment_id"),
    _text("kind"),
    _text("org_id"),
    _int("amount_nano"),
    _text("outcome"),
    _int("received_us"),
)

idempotency = Table(
    "idempotency",
    metadata,
    _text("org_id", key=True),
    _text("endpoint", key=True),
    _text("key", key=True),
    _text("request_id"),
    _text("fingerprint"),
    _int("status"),
    _text("content_type"),
    _text("body"),  # base64: an answer may be audio
    _int("created_us"),
    _int("expires_us"),
    Index("ix_idempotency_expires_us", "expires_us"),
)

# Journal records that SQL refused; each is one request somebody must look at.
suspense = Table(
    "suspense",
    metadata,
    _text("worker_id", key=True),
    _int("offset_b", key=True),
    _text("request_id"),
    _text("reason"),
    _text("record"),  # base64 of the journal frame's payload
    _int("created_us"),
)

recon_run = Table(
    "recon_run",
    metadata,
    _text("id", key=True),
    _int("started_us"),
    _int("finished_us"),
    _int("differences"),
)

recon_diff = Table(
    "recon_diff",
    metadata,
    _text("run_id", key=True),
    _int("number", key=True),
    _text("rule"),
    _text("subject"),
    _text("expected"),
    _text("actual"),
)

_NO_UPDATE = (
    "CREATE TRIGGER transfer_no_update BEFORE UPDATE ON transfer "
    "BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END"
)
_NO_DELETE = (
    "CREATE TRIGGER transfer_no_delete BEFORE DELETE ON transfer "
    "BEGIN SELECT RAISE(ABORT, 'transfers are append-only'); END"
)
for _trigger in (_NO_UPDATE, _NO_DELETE):
    event.listen(transfer, "after_create", DDL(_trigger).execute_if(dialect="sqlite"))


# ------------------------------------------------------------------------- questions of the gateway


async def receipt_json(database: Database, org_id: str, request_id: str) -> bytes | None:
    """The posted receipt, or that of a task that still runs; None for an unknown id and for another
    organisation's."""
    query = select(usage_event.c.receipt).where(
        usage_event.c.request_id == request_id, usage_event.c.org_id == org_id
    )
    running = select(task.c.receipt).where(
        task.c.request_id == request_id, task.c.org_id == org_id, task.c.completed_us == 0
    )
    async with database.read() as conn:
        found: str | None = (await conn.execute(query)).scalar_one_or_none()
        if found is None:
            found = (await conn.execute(running)).scalar_one_or_none()
    return None if found is None else found.encode()


async def stored_answer(
    database: Database, org_id: str, endpoint: str, key: str, now_us: int
) -> tuple[str, str, int, str, bytes] | None:
    """(request_id, fingerprint, HTTP status, content type, body) of a finished request."""
    query = select(
        idempotency.c.request_id,
        idempotency.c.fingerprint,
        idempotency.c.status,
        idempotency.c.content_type,
        idempotency.c.body,
    ).where(
        idempotency.c.org_id == org_id,
        idempotency.c.endpoint == endpoint,
        idempotency.c.key == key,
        idempotency.c.expires_us > now_us,
    )
    async with database.read() as conn:
        row = (await conn.execute(query)).one_or_none()
    if row is None:
        return None
    request_id, fingerprint, status, content_type, body = row
    return request_id, fingerprint, status, content_type, base64.b64decode(body)
