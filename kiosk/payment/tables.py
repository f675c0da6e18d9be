"""Payment steps in the journal file: one append-only table, synced row by row, never sent to the hub as it is.

The file is opened by `sync.store.open_engine` with full durability; whoever starts the kiosk calls `create` once.
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Connection, Engine, Index, Integer, MetaData, String, Table, Text, text

from kiosk.payment.attempt import State
from sync.schema import Owned, bring_up

METADATA = MetaData()

_STATES = ", ".join(f"'{state}'" for state in State)

PAYMENT_EVENT = Table(
    "payment_event",
    METADATA,
    Column("attempt_id", String(64), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("order_ref", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("at", String(32), nullable=False),  # ISO 8601, UTC
    Column("evidence", Text, nullable=True),  # JSON: PayRequest on INTENT, Evidence elsewhere
    Column("boot", String(64), nullable=False),
    CheckConstraint(f"state IN ({_STATES})", name="payment_event_state"),
    CheckConstraint("n >= 1", name="payment_event_n"),
    Index("payment_event_order", "order_ref"),
)
"""attempt_id and n name a row; n counts from 1 without a gap."""

_APPEND_ONLY = tuple(
    text(
        f"CREATE TRIGGER IF NOT EXISTS payment_event_no_{verb.lower()} BEFORE {verb} ON payment_event "
        "BEGIN SELECT RAISE(ABORT, 'payment rows are only ever appended'); END"
    )
    for verb in ("UPDATE", "DELETE")
)


def _append_only(connection: Connection) -> None:
    for trigger in _APPEND_ONLY:
        connection.execute(trigger)


OWNED = Owned("payment", METADATA, after=_append_only)


def create(engine: Engine) -> None:
    """Make or migrate the table and what keeps it append-only. Raises NewerFile."""
    with engine.begin() as connection:
        bring_up(connection, OWNED)
