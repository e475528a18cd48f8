"""The tables of asynchronous tasks: what runs upstream, the files it left, who is told about it.

What a reader must know:

* Money of a task is in ``hold`` (``store/money.py``): rows whose ``ref_id`` is the task's id. Task,
  hold, charge and receipt change in one transaction (``store/task_ends.py``).
* BIGINT and TEXT only, documents as JSON in TEXT. Unset times are 0, unset texts are empty. NULL
  means "not known" (``progress``, ``charged_nano`` before the end, sizes nobody measured).
* ``state_seq`` counts every change of the row but a release: it is what compare-and-set compares.
* ``completed_us`` is 0 exactly while the task is live, which is what the partial indexes say.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Table, text

from tokenmarket.core.tasks import TERMINAL
from tokenmarket.store.tables import int_column as _int
from tokenmarket.store.tables import metadata
from tokenmarket.store.tables import text_column as _text


def _maybe(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=True)


def _index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    condition = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


_ENDS = ", ".join(repr(state) for state in sorted(TERMINAL))

task = Table(
    "task",
    metadata,
    _text("id", key=True),  # video_…; sorts by time
    _text("org_id"),
    _text("key_id"),
    _text("request_id"),  # the receipt's id, and the prefix of its transfers
    _text("operation"),
    _text("model"),
    _text("provider"),
    _text("upstream_model"),
    _text("adapter"),
    _text("credential_id"),
    _text("state"),
    _int("state_seq"),
    _text("upstream_id"),
    _text("upstream_ref_json"),  # whatever the adapter needs to ask again
    _text("request_json"),
    _text("provider_state"),  # as the upstream calls it
    _maybe("progress"),
    _text("error_json"),
    _text("outputs_json"),
    _text("usage_json"),
    _text("warnings_json"),
    _text("metadata_json"),
    _text("callback_url"),
    _text("client_ref"),  # our name for it at the upstream, to find it again
    _int("held_nano"),
    _maybe("charged_nano"),
    _text("price_version"),
    _text("prices_json"),  # the rows of the pinned price sheet
    _text("receipt"),  # what GET /requests/{id} shows while the task is live
    _int("created_us"),
    _int("submitted_us"),
    _int("started_us"),
    _int("completed_us"),
    _int("deadline_us"),
    _int("next_poll_us"),
    _int("polls"),
    _text("lease_owner"),
    _int("lease_until_us"),
    _int("hidden_us"),  # deleted by the caller
    _int("expires_us"),  # of the stored bytes
    _text("idempotency_key"),
    _text("fingerprint"),
    Index("uq_task_request_id", "request_id", unique=True),
    Index("ix_task_org_id", "org_id", "id"),
    _index("ix_task_due", "next_poll_us", where="completed_us = 0"),
    _index("ix_task_upstream_id", "provider", "upstream_id", where="upstream_id <> ''"),
    _index(
        "uq_task_idempotency_key",
        "org_id",
        "operation",
        "idempotency_key",
        unique=True,
        where="idempotency_key <> ''",
    ),
    CheckConstraint("held_nano >= 0", name="held"),
    CheckConstraint("charged_nano >= 0 AND charged_nano <= held_nano", name="charged"),
    CheckConstraint(f"(completed_us > 0) = (state IN ({_ENDS}))", name="terminal"),
    CheckConstraint("(completed_us > 0) = (charged_nano IS NOT NULL)", name="ended_is_charged"),
)

# Bytes in our store, of a task or of a request.
asset = Table(
    "asset",
    metadata,
    _text("id", key=True),
    _text("org_id"),
    _text("task_id"),
    _text("request_id"),
    _text("kind"),  # video | thumbnail | last_frame | image …
    _int("number"),  # the output it belongs to
    _text("store_key"),
    _text("content_type"),
    _int("size_bytes"),
    _text("sha256"),
    _maybe("width"),
    _maybe("height"),
    _maybe("duration_ms"),
    _int("created_us"),
    _int("expires_us"),
    _int("deleted_us"),
    _index("ix_asset_task_id", "task_id", where="task_id <> ''"),
    _index("ix_asset_request_id", "request_id", where="request_id <> ''"),
    _index("ix_asset_expires_us", "expires_us", where="deleted_us = 0"),
    CheckConstraint("size_bytes >= 0", name="size"),
)

# Signing secrets of callbacks; several may be valid while one replaces the other.
webhook_secret = Table(
    "webhook_secret",
    metadata,
    _text("id", key=True),
    _text("org_id"),
    _int("version"),
    _text("wrapped_key"),  # base64, as in credential
    _text("sealed"),
    _int("created_us"),
    _int("retired_us"),
    Index("ix_webhook_secret_org_id", "org_id"),
)

# One notice to a caller; made in the transaction that ends the task, so none is lost.
webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    _text("id", key=True),  # evt_…
    _text("org_id"),
    _text("task_id"),
    _text("url"),
    _text("type"),
    _text("body"),
    _int("created_us"),
    _int("attempts"),
    _int("next_attempt_us"),
    _maybe("last_status"),
    _text("last_error"),
    _int("delivered_us"),
    _int("disabled_us"),  # given up, or the receiver answered 410
    _text("lease_owner"),
    _int("lease_until_us"),
    Index("uq_webhook_delivery_task_id", "task_id", "type", unique=True),
    Index("ix_webhook_delivery_org_id", "org_id", "id"),
    _index(
        "ix_webhook_delivery_due", "next_attempt_us", where="delivered_us = 0 AND disabled_us = 0"
    ),
)
