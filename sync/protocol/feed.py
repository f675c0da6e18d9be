"""The change feed: which tables are whose, where a reader stands, and a page of rows."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sync.errors import MessageError
from sync.protocol.addresses import CURSOR_CHARS_MAX, VERSION
from sync.protocol.fields import count_of, flag_of, instant_of, list_of, object_of, reading, text_of
from sync.protocol.operations import Answer, Status
from sync.state import Role
from tickets.ids import op_id as parse_op_id

CURSOR_SCHEMA = 2
"""The form of the feed. 1: no checksum, one scope. 2: checksum, a scope a role. A hub serves this one and the one before; a device
reads both.
"""
SCOPE = "venue"
"""Every table that any device follows."""
NODE_SCOPE = "node"
"""What the venue node follows: the same, with what it needs to be a hub to others (devices and their keys, whole rows)."""
SCOPES: Mapping[str, tuple[str, ...]] = {
    SCOPE: ("document", "key", "slot", "answer", "ticket", "used"),
    "kiosk": ("document", "key", "slot", "answer", "ticket", "used"),
    "gate": ("document", "key", "answer", "ticket", "used"),
    NODE_SCOPE: ("document", "device", "key", "slot", "answer", "ticket", "used"),
}
"""Which tables of the feed are whose: a scope a role. No table of the feed holds a guest's name; one that will is no gate's."""


def scope_of(role: Role) -> str:
    """The scope of a device of this role."""
    if role is Role.VENUE:
        return NODE_SCOPE
    return role.value if role.value in SCOPES else SCOPE


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a device stands in the feed. Opaque to devices: they keep the text and hand it back."""

    epoch: str
    position: int
    scope: str = SCOPE
    schema: int = CURSOR_SCHEMA
    xid: int = 0
    """With `position` the place in a feed whose order is (transaction, number); 0 where numbers alone order it."""
    begun: tuple[int, int] = (0, 0)
    """Where the feed ended when who is still on the way from its start began: of what was deleted before, it has nothing."""

    @property
    def place(self) -> tuple[int, int]:
        """For comparing two cursors of one feed: its order is (transaction, number)."""
        return self.xid, self.position

    def encode(self) -> str:
        row: dict[str, Any] = {"epoch": self.epoch, "position": self.position, "scope": self.scope}
        row["schema"] = self.schema
        if self.xid:
            row["xid"] = self.xid
        if any(self.begun):
            row["begun"] = list(self.begun)
        return base64.urlsafe_b64encode(json.dumps(row, separators=(",", ":")).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        with reading("a cursor"):
            if len(text) > CURSOR_CHARS_MAX:
                raise ValueError(f"at most {CURSOR_CHARS_MAX} characters are allowed")
            row = object_of(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
            return cls(
                text_of(row, "epoch"),
                count_of(row, "position"),
                text_of(row, "scope"),
                count_of(row, "schema"),
                count_of(row, "xid") if "xid" in row else 0,
                _begun(row["begun"]) if "begun" in row else (0, 0),
            )


def _begun(said: Any) -> tuple[int, int]:
    xid, position = said
    row = {"xid": xid, "position": position}
    return count_of(row, "xid"), count_of(row, "position")


def has_reached(cursor_text: str | None, mark_text: str) -> bool:
    """Whether a cache that stands at `cursor_text` holds everything that the feed had brought at `mark_text`.

    Positions of one feed compare as numbers, transaction first where it has them; whose scope a cursor is of does not matter to
    that. Of two feeds (the hub was restored between) nothing can be said, and what cannot be said is no.
    """
    if cursor_text is None:
        return False
    try:
        cursor, mark = Cursor.decode(cursor_text), Cursor.decode(mark_text)
    except MessageError:
        return False
    return cursor.epoch == mark.epoch and _place(cursor) >= _place(mark)


def _place(cursor: Cursor) -> tuple[int, int]:
    return cursor.xid, cursor.position


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of one table of the feed in their latest form, and the keys of rows that are gone."""

    table: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    deletes: tuple[str, ...] = ()

    def as_mappings(self) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the feed. `more`: ask again at once. `at` is the hub's clock when it answered. `checksum` (sync.checksum) is what all
    rows that the device has after this page must come to; None where the hub cannot say it for this very place. `schema` is the form of
    cursor and rows. `relay` is what a venue node says of the hub behind it; a hub says nothing there.
    """

    cursor: str
    more: bool
    tables: tuple[TableRows, ...]
    at: datetime
    checksum: str | None = None
    schema: int = CURSOR_SCHEMA
    relay: Relayed | None = None

    @property
    def news(self) -> bool:
        """Whether it says anything beside rows: worth the end of a long poll."""
        return self.relay is not None and self.relay.acknowledged is not None

    def to_row(self) -> dict[str, Any]:
        row = {
            "protocol": VERSION,
            "cursor": self.cursor,
            "schema": self.schema,
            "more": self.more,
            "at": self.at.isoformat(),
            "checksum": self.checksum,
            "tables": [
                {"table": part.table, "columns": part.columns, "rows": part.rows, "deletes": part.deletes}
                for part in self.tables
            ],
        }
        return row if self.relay is None else row | {"relay": self.relay.to_row()}

    @classmethod
    def from_json(cls, text: bytes | str) -> Page:
        with reading("a page of changes"):
            row = object_of(text)
            return cls(
                cursor=text_of(row, "cursor", chars_max=CURSOR_CHARS_MAX),
                more=flag_of(row, "more"),
                tables=tuple(table_of(part) for part in list_of(row, "tables")),
                at=instant_of(row, "at"),
                checksum=None if row.get("checksum") is None else text_of(row, "checksum", chars_max=64),
                schema=count_of(row, "schema") if "schema" in row else 1,
                relay=None if row.get("relay") is None else Relayed.from_row(row["relay"]),
            )


def table_of(row: Mapping[str, Any]) -> TableRows:
    columns = tuple(list_of(row, "columns"))
    rows = tuple(tuple(item) for item in list_of(row, "rows"))
    deletes = tuple(list_of(row, "deletes"))
    if not all(isinstance(name, str) for name in columns + deletes):
        raise TypeError("columns and deletes are texts")
    if any(len(item) != len(columns) for item in rows):
        raise ValueError(f"table '{row['table']}': a row does not have {len(columns)} values")
    return TableRows(table=text_of(row, "table", chars_max=64), columns=columns, rows=rows, deletes=deletes)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """How far the hub itself has a device's chain."""

    incarnation: int
    seq: int

    def to_text(self) -> str:
        return f"{self.incarnation}.{self.seq}"

    @classmethod
    def from_text(cls, text: str) -> Acknowledged:
        with reading("'acknowledged'"):
            incarnation, _, seq = text.partition(".")
            if not (incarnation.isdecimal() and seq.isdecimal() and len(text) <= 32):
                raise ValueError("INCARNATION.SEQ is expected")
            return cls(int(incarnation), int(seq))


@dataclass(frozen=True, slots=True)
class Relayed:
    """What a venue node tells a device about the hub. `cursor`: whoever has read this page to its end (`more` false) has everything of
    the hub up to there, in the hub's own feed. `acknowledged`: the hub's copy of the device's chain, where that is news to it;
    `answers` are the hub's words on operations up to there that it did not plainly accept. `at`: the hub was last heard of.
    """

    cursor: str | None = None
    acknowledged: Acknowledged | None = None
    answers: tuple[Answer, ...] = ()
    at: datetime | None = None

    def to_row(self) -> dict[str, Any]:
        held = self.acknowledged
        return {
            "cursor": self.cursor,
            "acknowledged": None if held is None else {"incarnation": held.incarnation, "seq": held.seq},
            "answers": [{"op": item.op.hex(), "status": item.status, "reason": item.reason} for item in self.answers],
            "at": None if self.at is None else self.at.isoformat(),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Relayed:
        held = row["acknowledged"]
        return cls(
            cursor=None if row["cursor"] is None else text_of(row, "cursor", chars_max=CURSOR_CHARS_MAX),
            acknowledged=None if held is None else Acknowledged(count_of(held, "incarnation"), count_of(held, "seq")),
            answers=tuple(
                Answer(parse_op_id(text_of(item, "op")), Status(item["status"]), text_of(item, "reason"))
                for item in list_of(row, "answers", items_max=10_000)
            ),
            at=None if row["at"] is None else instant_of(row, "at"),
        )
