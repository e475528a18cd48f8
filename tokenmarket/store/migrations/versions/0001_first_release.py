"""All tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("limited", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cr_posted", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("dr_posted", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("dr_pending", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("priority", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint(
            "cr_posted <= 9000000000000000000 AND dr_posted <= 9000000000000000000 AND "
            "dr_pending <= 9000000000000000000",
            name=op.f("ck_account_in_range"),
        ),
        sa.CheckConstraint(
            "cr_posted >= 0 AND dr_posted >= 0 AND dr_pending >= 0",
            name=op.f("ck_account_not_negative"),
        ),
        sa.CheckConstraint(
            "limited = 0 OR cr_posted - dr_posted - dr_pending >= 0",
            name=op.f("ck_account_not_overdrawn"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    op.create_index("ix_account_org_id", "account", ["org_id"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("pepper_version", sa.BigInteger(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("last4", sa.Text(), nullable=False),
        sa.Column("rpm", sa.BigInteger(), nullable=True),
        sa.Column("tpm", sa.BigInteger(), nullable=True),
        sa.Column("concurrency", sa.BigInteger(), nullable=True),
        sa.Column("spend_total_nano", sa.BigInteger(), nullable=True),
        sa.Column("spend_month_nano", sa.BigInteger(), nullable=True),
        sa.Column("spend_day_nano", sa.BigInteger(), nullable=True),
        sa.Column("models", sa.Text(), nullable=True),
        sa.Column("providers", sa.Text(), nullable=True),
        sa.Column("operations", sa.Text(), nullable=True),
        sa.Column("addresses", sa.Text(), nullable=True),
        sa.Column("expires_at_s", sa.BigInteger(), nullable=True),
        sa.Column("disabled_at_s", sa.BigInteger(), nullable=True),
        sa.Column("rotates", sa.Text(), nullable=True),
        sa.Column("last_used_day", sa.BigInteger(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "rpm >= 0 AND tpm >= 0 AND concurrency >= 0 AND spend_total_nano >= 0 AND "
            "spend_month_nano >= 0 AND spend_day_nano >= 0",
            name=op.f("ck_api_key_limits_not_negative"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_digest")),
    )
    op.create_index("ix_api_key_org_id", "api_key", ["org_id", "created_us"], unique=False)
    op.create_table(
        "audit_event",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_event")),
    )
    op.create_table(
        "credential",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("wrapped_key", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("disabled_at_s", sa.BigInteger(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential")),
    )
    op.create_index("ix_credential_provider", "credential", ["provider"], unique=False)
    op.create_table(
        "hold",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("ref_id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("amount_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("captured_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint("amount_nano > 0", name=op.f("ck_hold_amount")),
        sa.CheckConstraint(
            "captured_nano >= 0 AND captured_nano <= amount_nano", name=op.f("ck_hold_captured")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
    )
    op.create_index("uq_hold_ref_id", "hold", ["ref_id"], unique=True)
    op.create_table(
        "idempotency",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("org_id", "endpoint", "key", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_expires_us", "idempotency", ["expires_us"], unique=False)
    op.create_table(
        "journal_cursor",
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("offset_b", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("posted", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("updated_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name=op.f("pk_journal_cursor")),
    )
    op.create_table(
        "lease",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("granted", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("captured", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("returned", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("op_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("opened_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("closed_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint(
            "state = 'open' OR captured + returned = granted", name=op.f("ck_lease_closed_is_even")
        ),
        sa.CheckConstraint("captured + returned <= granted", name=op.f("ck_lease_not_overspent")),
        sa.CheckConstraint(
            "granted >= 0 AND captured >= 0 AND returned >= 0", name=op.f("ck_lease_not_negative")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lease")),
    )
    op.create_index("ix_lease_worker_id", "lease", ["worker_id"], unique=False)
    op.create_index(
        "uq_lease_open",
        "lease",
        ["kind", "target", "worker_id"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
    )
    op.create_table(
        "model",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model")),
    )
    op.create_table(
        "organization",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rpm", sa.BigInteger(), nullable=True),
        sa.Column("tpm", sa.BigInteger(), nullable=True),
        sa.Column("concurrency", sa.BigInteger(), nullable=True),
        sa.Column("spend_total_nano", sa.BigInteger(), nullable=True),
        sa.Column("spend_month_nano", sa.BigInteger(), nullable=True),
        sa.Column("spend_day_nano", sa.BigInteger(), nullable=True),
        sa.Column("disabled_at_s", sa.BigInteger(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "rpm >= 0 AND tpm >= 0 AND concurrency >= 0 AND spend_total_nano >= 0 AND "
            "spend_month_nano >= 0 AND spend_day_nano >= 0",
            name=op.f("ck_organization_limits_not_negative"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organization")),
        sa.UniqueConstraint("name", name=op.f("uq_organization_name")),
    )
    op.create_table(
        "payment_event",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("psp", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("amount_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_event")),
    )
    op.create_table(
        "price",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("sheet", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_price")),
    )
    op.create_table(
        "provider",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_provider")),
    )
    op.create_table(
        "recon_diff",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("expected", sa.Text(), nullable=False),
        sa.Column("actual", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_recon_diff")),
    )
    op.create_table(
        "recon_run",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("finished_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("differences", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recon_run")),
    )
    op.create_table(
        "route",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("updated_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", "provider", name=op.f("pk_route")),
    )
    op.create_table(
        "spend_window",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner_kind", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("starts_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ends_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("limit_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cap_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("used_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("leased_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("opening_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint(
            "used_nano + leased_nano <= cap_nano", name=op.f("ck_spend_window_within_cap")
        ),
        sa.CheckConstraint(
            "used_nano >= 0 AND leased_nano >= 0", name=op.f("ck_spend_window_not_negative")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_spend_window")),
    )
    op.create_table(
        "suspense",
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("offset_b", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("worker_id", "offset_b", name=op.f("pk_suspense")),
    )
    op.create_table(
        "transfer",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("debit", sa.Text(), nullable=False),
        sa.Column("credit", sa.Text(), nullable=False),
        sa.Column("amount_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ts_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint(
            "amount_nano > 0 AND amount_nano <= 9000000000000000000",
            name=op.f("ck_transfer_amount"),
        ),
        sa.CheckConstraint("debit <> credit", name=op.f("ck_transfer_two_sides")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer")),
    )
    op.create_index("ix_transfer_org_id", "transfer", ["org_id", "ts_us"], unique=False)
    op.create_index("ix_transfer_ref", "transfer", ["ref"], unique=False)
    op.create_table(
        "usage_event",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("accepted_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("finished_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error_code", sa.Text(), nullable=False),
        sa.Column("charge_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("uncollected_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("refunded_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("units_json", sa.Text(), nullable=False),
        sa.Column("price_version", sa.Text(), nullable=False),
        sa.Column("windows", sa.Text(), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "charge_nano >= 0 AND charge_nano <= 9000000000000000000",
            name=op.f("ck_usage_event_charge"),
        ),
        sa.CheckConstraint(
            "refunded_nano >= 0 AND refunded_nano <= charge_nano",
            name=op.f("ck_usage_event_refunded"),
        ),
        sa.CheckConstraint("uncollected_nano >= 0", name=op.f("ck_usage_event_uncollected")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_usage_event")),
    )
    op.create_index("ix_usage_event_org_id", "usage_event", ["org_id", "accepted_us"], unique=False)
    op.create_table(
        "worker",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("journal_dir", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("started_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ended_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )

    op.execute(
        "CREATE TRIGGER transfer_no_delete BEFORE DELETE ON transfer BEGIN SELECT "
        "RAISE(ABORT, 'transfers are append-only'); END"
    )
    op.execute(
        "CREATE TRIGGER transfer_no_update BEFORE UPDATE ON transfer BEGIN SELECT "
        "RAISE(ABORT, 'transfers are append-only'); END"
    )
