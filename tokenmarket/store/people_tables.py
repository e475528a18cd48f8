"""People and what they belong to: accounts, sessions, one-time links, memberships, teams.

The tables hang on the ``metadata`` of ``store/tables.py``. What a reader must know:

* No secret stands here in clear: passwords as Argon2id, session tokens and links as keyed digests,
  the second factor's secret sealed, its recovery codes as keyed digests.
* ``email`` is stored as it is compared (``accounts/people.py``), and unique.
* ``organization.time_zone`` and ``api_key.team_id`` are in ``store/tables.py``.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Table, Text, UniqueConstraint

from tokenmarket.store.tables import metadata

person = Table(
    "person",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("email", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("operator", BigInteger, nullable=False),  # 1: runs this installation
    Column("language", Text, nullable=False),  # en | zh
    Column("theme", Text, nullable=False),  # auto | light | dark
    Column("currency", Text, nullable=False),  # what amounts are also shown in
    Column("time_zone", Text, nullable=False),  # IANA name
    Column("email_verified_us", BigInteger),
    Column("disabled_at_s", BigInteger),
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("email"),
    CheckConstraint("operator IN (0, 1)", name="operator"),
)

session = Table(
    "session",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("digest", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("impersonator", Text),  # the operator who looks through this person's eyes
    Column("created_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),
    Column("proved_us", BigInteger, nullable=False),  # the last password or code
    UniqueConstraint("digest"),
    Index("ix_session_user_id", "user_id"),
    Index("ix_session_created_us", "created_us"),
)

# Whoever holds the token may do one thing, once, until it expires.
one_time_link = Table(
    "one_time_link",
    metadata,
    Column("digest", Text, primary_key=True, nullable=False),
    Column("purpose", Text, nullable=False),  # reset | verify | welcome | second_factor
    Column("user_id", Text, nullable=False),  # '' for the first operator, who is nobody yet
    Column("created_us", BigInteger, nullable=False),
    Column("expires_at_s", BigInteger, nullable=False),
    Column("used_us", BigInteger),
    Index("ix_one_time_link_user_id", "user_id", "purpose"),
)

# The second factor: sealed as in ``core/sealing.py``, bound to the person.
totp = Table(
    "totp",
    metadata,
    Column("user_id", Text, primary_key=True, nullable=False),
    Column("wrapped_key", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("confirmed_us", BigInteger),  # NULL: shown, but no code was entered yet
    Column("last_step", BigInteger, nullable=False),  # no code of this or an earlier step again
    Column("created_us", BigInteger, nullable=False),
)

recovery_code = Table(
    "recovery_code",
    metadata,
    Column("user_id", Text, primary_key=True, nullable=False),
    Column("digest", Text, primary_key=True, nullable=False),
    Column("used_us", BigInteger),
)

membership = Table(
    "membership",
    metadata,
    Column("org_id", Text, primary_key=True, nullable=False),
    Column("user_id", Text, primary_key=True, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_membership_user_id", "user_id"),
    CheckConstraint("role IN ('owner', 'admin', 'billing', 'developer', 'viewer')", name="role"),
)

invitation = Table(
    "invitation",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("invited_by", Text, nullable=False),  # an actor: user:usr_… or cli:…
    Column("created_us", BigInteger, nullable=False),
    Column("expires_at_s", BigInteger, nullable=False),
    Column("accepted_us", BigInteger),
    Column("accepted_by", Text),
    Column("revoked_us", BigInteger),
    UniqueConstraint("digest"),
    Index("ix_invitation_org_id", "org_id", "created_us"),
    CheckConstraint("role IN ('owner', 'admin', 'billing', 'developer', 'viewer')", name="role"),
)

team = Table(
    "team",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("org_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("spend_total_nano", BigInteger),
    Column("spend_month_nano", BigInteger),
    Column("spend_day_nano", BigInteger),
    Column("models", Text),  # JSON list; NULL = all
    Column("created_us", BigInteger, nullable=False),
    UniqueConstraint("org_id", "name"),
    CheckConstraint(
        "spend_total_nano >= 0 AND spend_month_nano >= 0 AND spend_day_nano >= 0",
        name="limits_not_negative",
    ),
)

team_member = Table(
    "team_member",
    metadata,
    Column("team_id", Text, primary_key=True, nullable=False),
    Column("user_id", Text, primary_key=True, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_team_member_user_id", "user_id"),
)
