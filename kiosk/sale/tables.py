"""The sale engine's own rows in the journal file. They commit together with the operations and print jobs they belong to, are
never chained and never leave the device.
"""

from __future__ import annotations

from sqlalchemy import Column, Engine, Index, Integer, MetaData, Table, Text

from sync import granted
from sync.schema import Owned, bring_up

metadata = MetaData()
short_id_taken, stock_taken, Taken = granted.short_id_taken, granted.stock_taken, granted.Taken

sale_order = Table(
    "sale_order",
    metadata,
    Column("order", Text, primary_key=True),
    Column("number", Text, nullable=False, unique=True),
    Column("business_day", Text, nullable=False),
    Column("counter", Integer, nullable=False),
    Column("language", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Text, nullable=False),
)
Index("sale_order_by_day", sale_order.c.business_day, sale_order.c.counter)

claim_number = Table(
    "claim_number",
    metadata,
    Column("claim", Text, primary_key=True),
    Column("order", Text, nullable=False, unique=True),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
)


OWNED = Owned("sale", metadata)


def create(engine: Engine) -> None:
    """Make or migrate the tables. Raises NewerFile."""
    with engine.begin() as connection:
        bring_up(connection, granted.OWNED)
        bring_up(connection, OWNED)
