"""The hub's tables. Facts are inserted; what changes is a ticket's state, a release mark, and what is only the latest news.

Instants are ISO 8601 texts in UTC with milliseconds, so that they sort as texts on every database; ids are bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Index, Integer, LargeBinary, MetaData, Table, Text, text
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

metadata = MetaData()
_Big = BigInteger().with_variant(Integer, "sqlite")


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id. There is no cast from a number, so it is bound as text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"


class TransactionId(TypeDecorator[int]):
    """An int here, xid8 on PostgreSQL, a plain number on SQLite."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Xid8() if dialect.name == "postgresql" else Integer())

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        return str(value) if dialect.name == "postgresql" and value is not None else value

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        _ = dialect
        return None if value is None else int(value)


_Transaction = TransactionId()

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

document = Table(
    "document",
    metadata,
    Column("name", Text, primary_key=True),
    Column("text", Text, nullable=False),
    Column("at", Text, nullable=False),
)

device = Table(
    "device",
    metadata,
    Column("device", LargeBinary, primary_key=True),
    Column("role", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("gate", Text),
    Column("identity", LargeBinary, nullable=False),
    Column("enrolled_at", Text, nullable=False),
    Column("revoked_at", Text),
    Column("enrolled", Text),
    Column("enrolled_signature", LargeBinary),
)
"""`enrolled` is the text that the hub signed when it enrolled the device: a venue node believes who a device is by it alone."""
enrolment = Table(
    "enrolment",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("role", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("gate", Text),
    Column("made_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("used_at", Text),
    Column("device", LargeBinary),
    Column("answer", Text),
)
selling_key = Table(
    "selling_key",
    metadata,
    Column("kid", LargeBinary, primary_key=True),
    Column("device", LargeBinary, nullable=False),
    Column("public", LargeBinary, nullable=False),
    Column("certificate", Text, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("revoked_at", _Big),
    Column("tickets", _Big, nullable=False, server_default="0"),
)
"""`tickets`: how many tickets signed with this key have come in; its certificate allows a number of them."""

operation = Table(
    "operation",
    metadata,
    Column("device", LargeBinary, primary_key=True),
    Column("incarnation", _Big, primary_key=True),
    Column("seq", _Big, primary_key=True),
    Column("op", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("settled_at", Text),
    Column("settled_by", Text),
    Column("settled_because", Text),
)
Index("operation_by_op", operation.c.op)
Index("operation_by_status", operation.c.status, operation.c.received_at)
revised_answer = Table(
    "revised_answer",
    metadata,
    Column("op", LargeBinary, primary_key=True),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
)
chain = Table(
    "chain",
    metadata,
    Column("device", LargeBinary, primary_key=True),
    Column("incarnation", _Big, primary_key=True),
    Column("seq", _Big, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
trouble = Table(
    "trouble",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", Text, nullable=False),
    Column("device", LargeBinary),
    Column("kind", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)

order = Table(
    "sales_order",
    metadata,
    Column("order", LargeBinary, primary_key=True),
    Column("device", LargeBinary, nullable=False),
    Column("number", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("total_minor", _Big, nullable=False),
    Column("state", Text, nullable=False),
)
Index("order_by_at", order.c.at)
order_line = Table(
    "order_line",
    metadata,
    Column("order", LargeBinary, primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("variant", Integer, nullable=False),
    Column("count", Integer, nullable=False),
    Column("unit_minor", _Big, nullable=False),
    Column("tax_bp", Integer, nullable=False),
    Column("slot", Text),
)
Index("order_line_by_slot", order_line.c.slot)
order_tax = Table(
    "order_tax",
    metadata,
    Column("order", LargeBinary, primary_key=True),
    Column("tax_bp", Integer, primary_key=True),
    Column("gross_minor", _Big, nullable=False),
    Column("tax_minor", _Big, nullable=False),
)
payment = Table(
    "payment",
    metadata,
    Column("op", LargeBinary, primary_key=True),
    Column("order", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("tender", Text, nullable=False),
    Column("amount_minor", _Big, nullable=False),
    Column("currency", Text, nullable=False),
    Column("attempt", Text),
    Column("terminal", Text),
    Column("receipt", Text),
    Column("trace", Text),
    Column("brand", Text),
    Column("masked", Text),
)
Index("payment_by_order", payment.c.order)
Index("payment_by_attempt", payment.c.attempt)
doubt = Table(
    "payment_doubt",
    metadata,
    Column("op", LargeBinary, primary_key=True),
    Column("device", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
    Column("attempt", Text, nullable=False),
    Column("order", Text, nullable=False),
    Column("amount_minor", _Big, nullable=False),
    Column("currency", Text, nullable=False),
    Column("tender", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("claim", Text, nullable=False),
)
Index("payment_doubt_by_attempt", doubt.c.attempt)
owed = Table(
    "owed",
    metadata,
    Column("op", LargeBinary, primary_key=True),
    Column("device", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
    Column("order", LargeBinary, nullable=False),
    Column("claim", Text, nullable=False),
    Column("tickets", Integer, nullable=False),
)

ticket = Table(
    "ticket",
    metadata,
    Column("ticket", LargeBinary, primary_key=True),
    Column("order", LargeBinary),
    Column("line", Integer),
    Column("kid", LargeBinary, nullable=False),
    Column("variant", Integer, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("not_before", _Big, nullable=False),
    Column("expires", _Big, nullable=False),
    Column("language", Text, nullable=False),
    Column("short_id", Text, nullable=False),
    Column("slot", Text),
    Column("book", Text),
    Column("part", Integer, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("withdrawn", Integer, nullable=False, server_default="0"),  # the sum of its withdrawals' units
)
Index("ticket_by_order", ticket.c.order)
Index("ticket_by_short_id", ticket.c.short_id)
ticket_change = Table(
    "ticket_change",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("ticket", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ticket_change_by_ticket", ticket_change.c.ticket)

used = Table(
    "used",
    metadata,
    Column("op", LargeBinary, primary_key=True),
    Column("ticket", LargeBinary, nullable=False),
    Column("passage", Text, nullable=False),
    Column("units", Integer, nullable=False),
    Column("window", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("gate", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("epoch", Integer),
    Column("released", Integer, nullable=False),
    Column("device", LargeBinary, nullable=False),
    Column("attention", Text),
    Column("arrival", _Big, nullable=False, server_default="0"),
)
Index("used_by_ticket", used.c.ticket, used.c.window)
Index("used_by_at", used.c.at)
release = Table(
    "release",
    metadata,
    Column("of", LargeBinary, primary_key=True),
    Column("op", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("gate", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("device", LargeBinary, nullable=False),
)
claim_answer = Table(
    "claim_answer",
    metadata,
    Column("op", LargeBinary, primary_key=True),
    Column("device", LargeBinary, nullable=False),
    Column("at", Text, nullable=False),
    Column("answer", Text, nullable=False),
)
withdrawal = Table(
    "withdrawal",
    metadata,
    Column("op", LargeBinary, primary_key=True),
    Column("ticket", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("units", Integer, nullable=False),
    Column("epoch", Integer),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Text, nullable=False),
)
Index("withdrawal_by_ticket", withdrawal.c.ticket)
reign = Table(
    "reign",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("node", LargeBinary),
    Column("statement", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Text, nullable=False),
)
refusal = Table(
    "refusal",
    metadata,
    Column("op", LargeBinary, primary_key=True),
    Column("ticket", LargeBinary),
    Column("reason", Text, nullable=False),
    Column("gate", Text, nullable=False),
    Column("number", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("device", LargeBinary, nullable=False),
)
Index("refusal_by_at", refusal.c.at)

slot = Table(
    "slot",
    metadata,
    Column("slot", Text, primary_key=True),
    Column("product", Text, nullable=False),
    Column("starts_at", Text, nullable=False),
    Column("ends_at", Text, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("leased", Integer, nullable=False),
    Column("sold", Integer, nullable=False, server_default="0"),
    Column("free", Integer, nullable=False, server_default="0"),
    Column("at_risk", Integer, nullable=False, server_default="0"),
    Column("wanted", Integer, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, server_default="open"),
    Column("borrowed", Integer),
    Column("borrowed_returned", Integer, nullable=False, server_default="0"),
    Column("upstream_free", Integer, nullable=False, server_default="0"),
)
"""`leased` (lent and not sold), `sold`, `free` and `at_risk` are what `hub.services.stock` reckoned last from the facts; `wanted`: so many
units a guest waits for at a kiosk that could not get them; `state`: open or cancelled. At a venue node `borrowed` and
`borrowed_returned` are totals of what the hub lent it, and `upstream_free` what the hub has besides; at the hub `borrowed` is null.
"""
lease = Table(
    "lease",
    metadata,
    Column("slot", Text, primary_key=True),
    Column("device", LargeBinary, primary_key=True),
    Column("incarnation", _Big, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("returned", Integer, nullable=False, server_default="0"),
)
"""Totals over the life of a journal's incarnation, which only grow: `quantity` lent, `returned` given back."""
lease_taken = Table(
    "lease_taken",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("slot", Text, nullable=False),
    Column("device", LargeBinary, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("base", Integer, nullable=False),
    Column("at", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""A person took a lease back: `quantity` units whose fate was not known, when `base` were known to be sold or returned."""
Index("lease_taken_by_slot", lease_taken.c.slot)
lease_member = Table(
    "lease_member",
    metadata,
    Column("device", LargeBinary, primary_key=True),
    Column("node", LargeBinary, nullable=False),
)
"""Kiosks that sell from what a venue node borrowed: their sales draw on its lease."""
slot_change = Table(
    "slot_change",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("slot", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("what", Text, nullable=False),
    sqlite_autoincrement=True,
)
short_block = Table(
    "short_block",
    metadata,
    Column("length", Integer, primary_key=True),
    Column("first", Integer, primary_key=True),
    Column("last", Integer, nullable=False),
    Column("device", LargeBinary, nullable=False),
    Column("incarnation", _Big, nullable=False),
    Column("at", Text, nullable=False),
)

change = Table(
    "change",
    metadata,
    Column("seq", _Big, primary_key=True, autoincrement=True),
    Column("xid", _Transaction, nullable=False, server_default=text("0")),
    Column("table", Text, nullable=False),
    Column("key", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""Only ever inserted into; superseded rows are compacted later. `xid` is the inserting transaction on PostgreSQL (its default there is
pg_current_xact_id()) and 0 on SQLite, so that (xid, seq) orders both. Migration 0003 makes the index on (xid, seq) on PostgreSQL alone.
"""
Index("change_by_key", change.c.table, change.c.key, change.c.seq)
feed_digest = Table(
    "feed_digest",
    metadata,
    Column("table", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("digest", _Big, nullable=False),
    sqlite_with_rowid=False,
)
"""What each row of the feed weighs in the sum that hub and devices compare; kept by hub.services.balance."""
feed_time = Table(
    "feed_time",
    metadata,
    Column("at", _Big, primary_key=True, autoincrement=False),
    Column("xid", _Transaction, nullable=False),
    Column("seq", _Big, nullable=False),
)
"""Where the feed stood when (seconds since 1970), so that the age of a change is known without a clock in every row."""
unreported = Table("unreported", metadata, Column("device", LargeBinary, primary_key=True))
"""After a restore: devices that have not said yet what they hold."""

telemetry = Table(
    "telemetry",
    metadata,
    Column("device", LargeBinary, primary_key=True),
    Column("at", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("sequence", _Big, nullable=False, server_default="0"),
)
account = Table(
    "account",
    metadata,
    Column("name", Text, primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("made_at", Text, nullable=False),
)
session = Table(
    "session",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("account", Text, nullable=False),
    Column("csrf", Text, nullable=False),
    Column("made_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
)


def stamp(at: datetime) -> str:
    """An instant as these tables hold it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")
