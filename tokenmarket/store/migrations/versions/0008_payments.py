"""Orders of top-ups, redeem codes, alerts of the balance, invoices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "balance_alert",
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("threshold_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("emails", sa.Text(), nullable=False),
        sa.Column("armed", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("fired_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("updated_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint(
            "threshold_nano > 0 AND armed IN (0, 1)", name=op.f("ck_balance_alert_alert")
        ),
        sa.PrimaryKeyConstraint("org_id", name=op.f("pk_balance_alert")),
    )
    op.create_table(
        "fapiao_request",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("tax_id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("amount_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("active", sa.Text(), nullable=True),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint("kind IN ('ordinary', 'special')", name=op.f("ck_fapiao_request_kind")),
        sa.CheckConstraint(
            "state IN ('requested', 'issued', 'rejected')", name=op.f("ck_fapiao_request_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fapiao_request")),
        sa.UniqueConstraint("active", name=op.f("uq_fapiao_request_active")),
    )
    op.create_index(
        "ix_fapiao_request_org_id", "fapiao_request", ["org_id", "created_us"], unique=False
    )
    op.create_index(
        "ix_fapiao_request_state", "fapiao_request", ["state", "created_us"], unique=False
    )
    op.create_table(
        "invoice",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("serial", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("start_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("consumed_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("covered_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("total_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("issued_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint("kind IN ('invoice', 'credit_note')", name=op.f("ck_invoice_kind")),
        sa.CheckConstraint(
            "consumed_nano = covered_nano + total_nano", name=op.f("ck_invoice_adds_up")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice")),
        sa.UniqueConstraint("number", name=op.f("uq_invoice_number")),
        sa.UniqueConstraint("org_id", "period", name=op.f("uq_invoice_org_id_period")),
        sa.UniqueConstraint("serial", name=op.f("uq_invoice_serial")),
    )
    op.create_table(
        "redeem_batch",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("amount_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("codes", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("credit_days", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("one_per_org", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("disabled_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint("amount_nano > 0 AND codes > 0", name=op.f("ck_redeem_batch_amounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_redeem_batch")),
    )
    op.create_table(
        "redeem_code",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("once", sa.Text(), nullable=True),
        sa.Column("redeemed_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("redeemed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_redeem_code")),
        sa.UniqueConstraint("once", name=op.f("uq_redeem_code_once")),
    )
    op.create_index("ix_redeem_code_batch_id", "redeem_code", ["batch_id"], unique=False)
    op.create_index("ix_redeem_code_org_id", "redeem_code", ["org_id", "redeemed_us"], unique=False)
    op.create_table(
        "topup_order",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("org_id", sa.Text(), nullable=False),
        sa.Column("psp", sa.Text(), nullable=False),
        sa.Column("amount_nano", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("pay_minor", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("rate", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("payment", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("taken_minor", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("paid_us", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.CheckConstraint(
            "state IN ('created', 'paid', 'failed', 'expired', 'refunded')",
            name=op.f("ck_topup_order_state"),
        ),
        sa.CheckConstraint(
            "amount_nano > 0 AND pay_minor > 0", name=op.f("ck_topup_order_amounts")
        ),
        sa.CheckConstraint(
            "taken_minor >= 0 AND taken_minor <= pay_minor", name=op.f("ck_topup_order_taken")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_topup_order")),
    )
    op.create_index("ix_topup_order_org_id", "topup_order", ["org_id", "created_us"], unique=False)
    op.create_index("ix_topup_order_payment", "topup_order", ["psp", "payment"], unique=False)
    op.create_index("ix_topup_order_session", "topup_order", ["psp", "session"], unique=False)

    op.execute(
        "CREATE TRIGGER invoice_no_delete BEFORE DELETE ON invoice BEGIN SELECT "
        "RAISE(ABORT, 'an issued invoice is never changed'); END"
    )
    op.execute(
        "CREATE TRIGGER invoice_no_update BEFORE UPDATE ON invoice BEGIN SELECT "
        "RAISE(ABORT, 'an issued invoice is never changed'); END"
    )
