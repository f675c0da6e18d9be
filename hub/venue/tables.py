"""What a venue node keeps beside the hub's own tables: segments as they came, what the hub said of them, and where the hub's feed was.

The tables exist in every hub's database, because there is one schema; only a node fills them.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from hub.tables import metadata

_Big = BigInteger().with_variant(Integer, "sqlite")

relay_segment = Table(
    "relay_segment",
    metadata,
    Column("device", LargeBinary, primary_key=True),
    Column("incarnation", _Big, primary_key=True),
    Column("first", _Big, primary_key=True),
    Column("last", _Big, nullable=False),
    Column("before", LargeBinary, nullable=False),
    Column("head", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("position", _Big, nullable=False),
    Column("relayed_at", Text),
)
Index("relay_segment_open", relay_segment.c.relayed_at)
"""A segment as its device cut it; the bodies are in `operation`. `position` is where this node's feed stood before its effects."""
relay_answer = Table(
    "relay_answer",
    metadata,
    Column("device", LargeBinary, primary_key=True),
    Column("incarnation", _Big, primary_key=True),
    Column("seq", _Big, primary_key=True),
    Column("op", LargeBinary, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
)
"""What the hub did not plainly accept: its word on it, for the device to learn."""
relay_mark = Table(
    "relay_mark",
    metadata,
    Column("position", _Big, primary_key=True),
    Column("cursor", Text, nullable=False),
)
"""Everything that this node's feed got after `position` is newer than the hub's `cursor`, or was made here."""
