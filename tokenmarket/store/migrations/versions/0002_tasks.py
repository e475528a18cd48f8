"""Asynchronous tasks, their files and callbacks; durable holds over several buckets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "asset",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("store_key", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("width", sa.BigInteger(), nullable=True),
        sa.Column("height", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("deleted_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_asset_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset")),
    )
    op.create_index(
        "ix_asset_expires_us",
        "asset",
        ["expires_us"],
        unique=False,
        sqlite_where=sa.text("deleted_us = 0"),
        postgresql_where=sa.text("deleted_us = 0"),
    )
    op.create_index(
        "ix_asset_request_id",
        "asset",
        ["request_id"],
        unique=False,
        sqlite_where=sa.text("request_id <> ''"),
        postgresql_where=sa.text("request_id <> ''"),
    )
    op.create_index(
        "ix_asset_task_id",
        "asset",
        ["task_id"],
        unique=False,
        sqlite_where=sa.text("task_id <> ''"),
        postgresql_where=sa.text("task_id <> ''"),
    )
    op.create_table(
        "task",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("upstream_model", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("state_seq", sa.BigInteger(), nullable=False),
        sa.Column("upstream_id", sa.Text(), nullable=False),
        sa.Column("upstream_ref_json", sa.Text(), nullable=False),
        sa.Column("request_json", sa.Text(), nullable=False),
        sa.Column("provider_state", sa.Text(), nullable=False),
        sa.Column("progress", sa.BigInteger(), nullable=True),
        sa.Column("error_json", sa.Text(), nullable=False),
        sa.Column("outputs_json", sa.Text(), nullable=False),
        sa.Column("usage_json", sa.Text(), nullable=False),
        sa.Column("warnings_json", sa.Text(), nullable=False),
        sa.Column("metadata_json", sa.Text(), nullable=False),
        sa.Column("callback_url", sa.Text(), nullable=False),
        sa.Column("client_ref", sa.Text(), nullable=False),
        sa.Column("held_nano", sa.BigInteger(), nullable=False),
        sa.Column("charged_nano", sa.BigInteger(), nullable=True),
        sa.Column("price_version", sa.Text(), nullable=False),
        sa.Column("prices_json", sa.Text(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("submitted_us", sa.BigInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("completed_us", sa.BigInteger(), nullable=False),
        sa.Column("deadline_us", sa.BigInteger(), nullable=False),
        sa.Column("next_poll_us", sa.BigInteger(), nullable=False),
        sa.Column("polls", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.Column("hidden_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(completed_us > 0) = (state IN ('cancelled', 'expired', 'failed', 'rejected', "
            "'succeeded'))",
            name=op.f("ck_task_terminal"),
        ),
        sa.CheckConstraint(
            "(completed_us > 0) = (charged_nano IS NOT NULL)", name=op.f("ck_task_ended_is_charged")
        ),
        sa.CheckConstraint(
            "charged_nano >= 0 AND charged_nano <= held_nano", name=op.f("ck_task_charged")
        ),
        sa.CheckConstraint("held_nano >= 0", name=op.f("ck_task_held")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
    )
    op.create_index(
        "ix_task_due",
        "task",
        ["next_poll_us"],
        unique=False,
        sqlite_where=sa.text("completed_us = 0"),
        postgresql_where=sa.text("completed_us = 0"),
    )
    op.create_index("ix_task_org_id", "task", ["org_id", "id"], unique=False)
    op.create_index(
        "ix_task_upstream_id",
        "task",
        ["provider", "upstream_id"],
        unique=False,
        sqlite_where=sa.text("upstream_id <> ''"),
        postgresql_where=sa.text("upstream_id <> ''"),
    )
    op.create_index(
        "uq_task_idempotency_key",
        "task",
        ["org_id", "operation", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key <> ''"),
        postgresql_where=sa.text("idempotency_key <> ''"),
    )
    op.create_index("uq_task_request_id", "task", ["request_id"], unique=True)
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("next_attempt_us", sa.BigInteger(), nullable=False),
        sa.Column("last_status", sa.BigInteger(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("delivered_us", sa.BigInteger(), nullable=False),
        sa.Column("disabled_us", sa.BigInteger(), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
    )
    op.create_index(
        "ix_webhook_delivery_due",
        "webhook_delivery",
        ["next_attempt_us"],
        unique=False,
        sqlite_where=sa.text("delivered_us = 0 AND disabled_us = 0"),
        postgresql_where=sa.text("delivered_us = 0 AND disabled_us = 0"),
    )
    op.create_index(
        "uq_webhook_delivery_task_id", "webhook_delivery", ["task_id", "type"], unique=True
    )
    op.create_table(
        "webhook_secret",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("wrapped_key", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("retired_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_secret")),
    )
    op.create_index("ix_webhook_secret_org_id", "webhook_secret", ["org_id"], unique=False)
    # nothing ever wrote to it, so it is made anew
    op.drop_table("hold")
    op.create_table(
        "hold",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("ref_id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("amount_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("captured_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint(
            "amount_nano > 0 AND amount_nano <= 9000000000000000000", name=op.f("ck_hold_amount")
        ),
        sa.CheckConstraint(
            "captured_nano >= 0 AND captured_nano <= amount_nano", name=op.f("ck_hold_captured")
        ),
        sa.CheckConstraint(
            "state = 'captured' OR captured_nano = 0", name=op.f("ck_hold_captured_or_not")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
    )
    op.create_index("uq_hold_ref_id", "hold", ["ref_id", "kind", "target"], unique=True)
    op.create_index(
        "ix_hold_pending",
        "hold",
        ["org_id"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
