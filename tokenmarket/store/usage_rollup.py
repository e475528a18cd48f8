"""Usage added up: per quarter-hour and hour in every detail, and as series of one thing over time.

What a reader must know:

* ``usage_event`` is only ever added to, in the order of its rowid. ``meta.usage_rolled_up`` is the
  last rowid that is added up here; ``usage_rolling.roll_up`` moves both in one transaction. So a
  request that ends hours after it began still lands in the quarter-hour of its beginning, and every
  sum is rollup + the rows behind that rowid: exact at any moment (``usage_sums``).
* ``usage_rollup`` has one row per quarter-hour (and hour) and combination of everything that can be
  filtered. Where requests are few and various it is nearly as long as ``usage_event``.
* ``usage_series`` has one row per block of time and *one* model, key, provider, operation, status
  or error code of an organization (a name), and one for everything (dimension ""). A name has at
  most 96 quarter-hours a day however many requests there are, and a local day of any zone is at
  most about ten blocks, of three or one in China and UTC: that is what bounds every report.
* All time zones of today are whole quarter-hours away from UTC.
* What was refunded later is not in here: a refund is a movement of the ledger, not usage.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Table,
    Text,
    UniqueConstraint,
    case,
    func,
    literal,
    literal_column,
    select,
)

from tokenmarket.store.money import usage_event
from tokenmarket.store.tables import int_column as _int
from tokenmarket.store.tables import meta, metadata

QUARTER_US: Final = 900_000_000
HOUR_US: Final = 3_600_000_000
SHIFT_US: Final = 8 * HOUR_US
DAY_US: Final = 24 * HOUR_US
BLOCKS_US: Final = (DAY_US, SHIFT_US, HOUR_US, QUARTER_US)  # widths of ``usage_series``, UTC
CURSOR: Final = "usage_rolled_up"

DIMENSIONS = ("model", "provider", "key_id", "operation", "status", "error_code")
EVERYTHING: Final = ""  # the dimension whose only value is ""
TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
SUMS = ("requests", "charge_nano", "uncollected_nano", *TOKENS, "duration_us")
NUMBERS = ("failed", *SUMS)


usage_rollup = Table(
    "usage_rollup",
    metadata,
    Column("org_id", Text, primary_key=True, nullable=False),
    _int("width_us", key=True),  # QUARTER_US | HOUR_US
    _int("start_us", key=True),
    *(Column(name, Text, primary_key=True, nullable=False) for name in DIMENSIONS),
    *(_int(name) for name in SUMS),
    _int("charge_max_nano"),
    _int("duration_max_us"),
    Index("ix_usage_rollup_width_us", "width_us", "start_us"),
)

# Numbers for (organization, dimension, value), so that rows of a series are short.
usage_name = Table(
    "usage_name",
    metadata,
    Column("org_id", Text, primary_key=True, nullable=False),
    Column("dimension", Text, primary_key=True, nullable=False),
    Column("value", Text, primary_key=True, nullable=False),
    _int("id"),
    UniqueConstraint("id"),
)

usage_series = Table(
    "usage_series",
    metadata,
    _int("name_id", key=True),
    _int("width_us", key=True),  # of BLOCKS_US
    _int("start_us", key=True),
    *(_int(name) for name in NUMBERS),
    _int("charge_max_nano"),
    _int("duration_max_us"),
    _int("first_us"),  # when the first and the last request came, since the block began
    _int("last_us"),
    sqlite_with_rowid=False,
)

rowid: ColumnElement[int] = literal_column("usage_event.rowid", BigInteger)
duration: ColumnElement[int] = usage_event.c.finished_us - usage_event.c.accepted_us
rolled_up_to = (
    select(func.coalesce(func.max(meta.c.number), 0)).where(meta.c.name == CURSOR).scalar_subquery()
)


class Filters(NamedTuple):
    """Which requests; empty or None: all. Values of one field are alternatives."""

    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    keys: tuple[str, ...] | None = None  # an empty one matches nothing: a team without keys
    operations: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    error_codes: tuple[str, ...] = ()

    def by_dimension(self) -> dict[str, tuple[str, ...]]:
        """The values that are wanted, of every dimension that is narrowed."""
        found = {
            "model": self.models,
            "provider": self.providers,
            "operation": self.operations,
            "status": self.statuses,
            "error_code": self.error_codes,
        }
        narrowed = {name: values for name, values in found.items() if values}
        return narrowed if self.keys is None else {**narrowed, "key_id": self.keys}


class Bucketing(NamedTuple):
    """Local days or hours: unix time plus an offset that changes at some instants (DST).

    ``offsets``: (valid until, offset), in order; the last is valid for ever.
    """

    size_us: int
    offsets: tuple[tuple[int, int], ...]


def narrowed(filters: Filters, dimension: str, values: tuple[str, ...]) -> Filters:
    """With these values of one dimension only."""
    field = {
        "model": "models",
        "provider": "providers",
        "key_id": "keys",
        "operation": "operations",
        "status": "statuses",
        "error_code": "error_codes",
    }[dimension]
    return filters._replace(**{field: values})


def matches(filters: Filters, table: Table) -> list[ColumnElement[bool]]:
    """The conditions on ``usage_event`` or ``usage_rollup``, which have the same columns."""
    return [table.c[name].in_(values) for name, values in filters.by_dimension().items()]


def of_org(org_id: str | None) -> list[ColumnElement[bool]]:
    """For a search by rowid: the index on organisations must not be taken."""
    return [] if org_id is None else [usage_event.c.org_id.concat("") == org_id]


def by_rowid(column: ColumnElement[int]) -> ColumnElement[int]:
    """The column's value, useless for an index: SQLite would take one and read a whole year."""
    return column + 0


def bucket(at_us: ColumnElement[int], bucketing: Bucketing | None) -> list[ColumnElement[int]]:
    """The number of the local day or hour, as a column ``bucket``; nothing without bucketing."""
    if bucketing is None:
        return []
    *changes, (_, last) = bucketing.offsets
    offset: ColumnElement[int] = literal(last, BigInteger)
    if changes:
        whens = [
            (at_us < until_us, literal(offset_us, BigInteger)) for until_us, offset_us in changes
        ]
        offset = case(*whens, else_=offset)
    return [((at_us + offset) // bucketing.size_us).label("bucket")]
