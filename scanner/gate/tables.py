"""The gate's own rows in `journal.db`: synced, never chained, never sent.

`pending` is a use that this gate has decided to take: committed before the claim leaves and before any light. It stays after it was
settled, because it is what the gate itself knows about a ticket whose admission the hub has not told back yet.
"""

from __future__ import annotations

from sqlalchemy import Column, Engine, Index, Integer, LargeBinary, MetaData, Table, Text, text

from sync.schema import Owned, bring_up, run_sql

metadata = MetaData()

pending = Table(
    "pending",
    metadata,
    Column("op", LargeBinary, primary_key=True),
    Column("ticket", LargeBinary, nullable=False),
    Column("passage", Text, nullable=False),
    Column("units", Integer, nullable=False),
    Column("window", Text, nullable=False),
    Column("code", Text),  # as scanned; null where the ticket was found by its digits
    Column(
        "row_known", Integer, nullable=False
    ),  # 0: the hub had not told of the ticket, so its code goes with the admission
    Column("gate", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("attention", Text),
    Column("verdict", Text),  # null: decided, and nobody has recorded yet what became of it
    Column("reason", Text),
    Column("mode", Text),
    Column("epoch", Integer),
    Column("settled_at", Text),
    Column("number", Text),
    Column("released", Integer, nullable=False, server_default="0"),
    Column("interrupted", Integer, nullable=False, server_default="0"),
    Column("chained", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
Index("pending_by_ticket", pending.c.ticket)
Index("pending_open", pending.c.at, sqlite_where=text("chained = 0"))
Index("pending_by_settled", pending.c.settled_at)

scan_number = Table(
    "scan_number",
    metadata,
    Column("day", Text, primary_key=True),
    Column("last", Integer, nullable=False),
    sqlite_with_rowid=False,
)


OWNED = Owned("gate", metadata, steps=(run_sql("CREATE INDEX pending_by_settled ON pending (settled_at)"),))


def create(engine: Engine) -> None:
    """Make or migrate. One durable transaction; harmless when all is there. Raises NewerFile."""
    with engine.begin() as connection:
        bring_up(connection, OWNED)
