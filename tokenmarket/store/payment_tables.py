"""Money in from outside, as it is asked for: orders, redeem codes, alerts, invoices.

The tables hang on the ``metadata`` of ``store/tables.py``; what moves money stays in
``store/money.py``. What a reader must know:

* An order says what a payment must be (provider, amount, currency, organisation) before there is
  one; events of providers are rows of ``payment_event``, unique by the provider's own id.
* A redeem code stands here only as a keyed digest. ``once`` is ``batch:org`` where a batch allows
  one per organisation, and unique.
* An issued invoice is never changed: triggers refuse UPDATE and DELETE, as for ``transfer``.
"""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    Index,
    Table,
    Text,
    UniqueConstraint,
    event,
)

from tokenmarket.store.tables import int_column as _int
from tokenmarket.store.tables import metadata
from tokenmarket.store.tables import text_column as _text

topup_order = Table(
    "topup_order",
    metadata,
    _text("id", key=True),
    _text("org_id"),
    _text("psp"),
    _int("amount_nano"),  # what is credited, USD
    _text("currency"),  # what is paid in: USD | CNY
    _int("pay_minor"),  # what is paid, in cents or fen
    _text("rate"),  # CNY per USD as a decimal; '' for USD
    _text("state"),  # created | paid | failed | expired | refunded
    _text("session"),  # the provider's name of the checkout; '' until there is one
    _text("payment"),  # the provider's name of the payment; '' until there is one
    _text("url"),  # where to pay
    _int("taken_minor"),  # of pay_minor, what was given back or charged back so far
    _text("created_by"),
    _int("created_us"),
    _int("expires_us"),
    _int("paid_us"),  # 0: not yet
    Index("ix_topup_order_org_id", "org_id", "created_us"),
    Index("ix_topup_order_session", "psp", "session"),
    Index("ix_topup_order_payment", "psp", "payment"),
    CheckConstraint("amount_nano > 0 AND pay_minor > 0", name="amounts"),
    CheckConstraint("taken_minor >= 0 AND taken_minor <= pay_minor", name="taken"),
    CheckConstraint("state IN ('created', 'paid', 'failed', 'expired', 'refunded')", name="state"),
)

redeem_batch = Table(
    "redeem_batch",
    metadata,
    _text("id", key=True),
    _text("name"),
    _int("amount_nano"),  # of each code
    _int("codes"),
    _int("expires_us"),  # codes cannot be redeemed from then on
    _int("credit_days"),  # the credit ends so many days after it was redeemed; 0: never
    _text("models"),  # JSON list the credit is for; '' for all
    _int("one_per_org"),
    _text("created_by"),
    _int("created_us"),
    _int("disabled_us"),  # 0: in use
    CheckConstraint("amount_nano > 0 AND codes > 0", name="amounts"),
)

redeem_code = Table(
    "redeem_code",
    metadata,
    _text("digest", key=True),
    _text("batch_id"),
    _text("hint"),  # the last four characters, for people
    Column("once", Text),
    _int("redeemed_us"),  # 0: not yet
    _text("org_id"),
    _text("redeemed_by"),
    UniqueConstraint("once"),
    Index("ix_redeem_code_batch_id", "batch_id"),
    Index("ix_redeem_code_org_id", "org_id", "redeemed_us"),
)

# One per organisation. ``armed``: the balance has been at or above the threshold since the last
# alert, so that crossing it once tells once.
balance_alert = Table(
    "balance_alert",
    metadata,
    _text("org_id", key=True),
    _int("threshold_nano"),
    _text("emails"),  # JSON list
    _int("armed"),
    _int("fired_us"),  # 0: never
    _int("updated_us"),
    CheckConstraint("threshold_nano > 0 AND armed IN (0, 1)", name="alert"),
)

invoice = Table(
    "invoice",
    metadata,
    _text("id", key=True),
    _text("org_id"),
    _text("kind"),  # invoice | credit_note
    _int("serial"),  # 1, 2, 3 … over all organisations, without gaps
    _text("number"),
    _text("period"),  # 2026-11, in the organisation's billing zone
    _text("time_zone"),
    _int("start_us"),
    _int("end_us"),
    _int("consumed_nano"),  # captures less refunds of the period, and what came late
    _int("covered_nano"),  # of these, what grants and codes paid
    _int("total_nano"),  # of these, what paid money paid
    _text("document"),  # JSON: who, whom, lines
    _int("issued_us"),
    UniqueConstraint("serial"),
    UniqueConstraint("number"),
    UniqueConstraint("org_id", "period"),
    CheckConstraint("consumed_nano = covered_nano + total_nano", name="adds_up"),
    CheckConstraint("kind IN ('invoice', 'credit_note')", name="kind"),
)

_NO_UPDATE = (
    "CREATE TRIGGER invoice_no_update BEFORE UPDATE ON invoice "
    "BEGIN SELECT RAISE(ABORT, 'an issued invoice is never changed'); END"
)
_NO_DELETE = (
    "CREATE TRIGGER invoice_no_delete BEFORE DELETE ON invoice "
    "BEGIN SELECT RAISE(ABORT, 'an issued invoice is never changed'); END"
)
for _trigger in (_NO_UPDATE, _NO_DELETE):
    event.listen(invoice, "after_create", DDL(_trigger).execute_if(dialect="sqlite"))

# A Chinese tax invoice (发票) that is asked for on one of ours; the operator makes it outside.
fapiao_request = Table(
    "fapiao_request",
    metadata,
    _text("id", key=True),
    _text("org_id"),
    _text("invoice_id"),
    _text("kind"),  # ordinary | special
    _text("title"),
    _text("tax_id"),
    _text("email"),
    _text("note"),  # address, telephone and bank, which a special one needs
    _int("amount_nano"),
    _text("state"),  # requested | issued | rejected
    Column("active", Text),  # the invoice_id, NULL once rejected: one that stands per invoice
    _text("number"),  # the tax invoice's number, or why it was rejected
    _text("url"),  # where it can be had
    _text("created_by"),
    _int("created_us"),
    _text("decided_by"),
    _int("decided_us"),
    UniqueConstraint("active"),
    Index("ix_fapiao_request_org_id", "org_id", "created_us"),
    Index("ix_fapiao_request_state", "state", "created_us"),
    CheckConstraint("kind IN ('ordinary', 'special')", name="kind"),
    CheckConstraint("state IN ('requested', 'issued', 'rejected')", name="state"),
)
