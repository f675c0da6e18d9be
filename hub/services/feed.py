"""The change feed: which rows changed, in the order of their commits, compacted to the latest form of each.

Every service that changes a row which devices follow says so with `touch` in the same transaction. On SQLite there is one writer,
so the order of numbers is the order of commits. On PostgreSQL a plain number would lose rows of concurrent writers; there
readers must stay below the oldest running transaction (a later migration adds the column for it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, delete, func, insert, select

from hub.errors import CursorGone
from hub.tables import change, device, document, meta, selling_key, slot, ticket, used
from sync.protocol import CURSOR_SCHEMA, NODE_SCOPE, PAGE_ROWS_MAX, SCOPE, Cursor, Page, TableRows
from sync.state import Role
from tickets.ids import RandomBytes

_CHUNK = 500

FEED_EPOCH = "feed_epoch"


def _hex(value: bytes) -> str:
    return value.hex()


def _hex_or_none(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _same(value: Any) -> Any:
    return value


class _Feed:
    """One table as devices see it: names of the wire, where each value comes from, and how it is written."""

    def __init__(
        self, table: Table, key: Column[Any], columns: Sequence[tuple[str, Any, Callable[[Any], Any]]]
    ) -> None:
        self.table, self.key, self.columns = table, key, columns

    @property
    def blob_key(self) -> bool:
        return self.key.type.python_type is bytes

    def rows(self, connection: Connection, keys: Sequence[str]) -> tuple[list[tuple[Any, ...]], list[str]]:
        """(rows in the order of `keys`, keys that have no row any more)."""
        found: dict[str, tuple[Any, ...]] = {}
        query = select(self.key, *(source for _, source, _ in self.columns))
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            wanted = [bytes.fromhex(key) for key in part] if self.blob_key else part
            for row in connection.execute(query.where(self.key.in_(wanted))):
                key = row[0].hex() if self.blob_key else row[0]
                found[key] = tuple(write(value) for value, (_, _, write) in zip(row[1:], self.columns, strict=True))
        return [found[key] for key in keys if key in found], [key for key in keys if key not in found]


def _plain(table: Table, names: str) -> list[tuple[str, Any, Callable[[Any], Any]]]:
    return [
        (name, table.c[name], _hex_or_none if table.c[name].type.python_type is bytes else _same)
        for name in names.split()
    ]


FEEDS: dict[str, _Feed] = {
    "document": _Feed(document, document.c.name, _plain(document, "name text at")),
    "key": _Feed(selling_key, selling_key.c.kid, _plain(selling_key, "kid certificate signature revoked_at")),
    "slot": _Feed(
        slot,
        slot.c.slot,
        [*_plain(slot, "slot product starts_at ends_at capacity"), ("free", slot.c.capacity - slot.c.leased, _same)],
    ),
    "ticket": _Feed(
        ticket, ticket.c.ticket, _plain(ticket, "ticket variant uses state not_before expires language short_id")
    ),
    "used": _Feed(used, used.c.op, _plain(used, "op ticket passage units window mode at gate released")),
}


NODE_FEEDS: dict[str, _Feed] = {
    **FEEDS,
    "device": _Feed(device, device.c.device, _plain(device, "device enrolled enrolled_signature revoked_at")),
    "ticket": _Feed(
        ticket,
        ticket.c.ticket,
        _plain(
            ticket,
            "ticket kid variant uses state not_before expires language short_id slot book part parts",
        ),
    ),
    "used": _Feed(
        used, used.c.op, _plain(used, "op ticket passage units window mode epoch at gate released device attention")
    ),
}
"""What a venue node is told: whole rows, so that it can be to others what the hub is, and who the devices are. A ticket's order stays
with the hub: the node takes it from the sale itself, which its kiosk sends there.
"""
_BY_SCOPE = {SCOPE: FEEDS, NODE_SCOPE: NODE_FEEDS}


def scope_of(role: Role) -> str:
    """Which part of the feed a device of this role follows."""
    return NODE_SCOPE if role is Role.VENUE else SCOPE


def touch(connection: Connection, table: str, keys: Iterable[bytes | str]) -> None:
    """Note that rows of a feed table changed, appeared or went, in the caller's transaction."""
    assert table in NODE_FEEDS, table
    texts = list(dict.fromkeys(key.hex() if isinstance(key, bytes) else key for key in keys))
    for start in range(0, len(texts), _CHUNK):
        part = texts[start : start + _CHUNK]
        connection.execute(delete(change).where(change.c.table == table, change.c.key.in_(part)))
        connection.execute(insert(change), [{"table": table, "key": key} for key in part])


def epoch(connection: Connection) -> str:
    return str(connection.scalar(select(meta.c.value).where(meta.c.key == FEED_EPOCH)))


def begin_epoch(connection: Connection, random_bytes: RandomBytes) -> None:
    """Give a new database its feed epoch; an old one keeps its own."""
    if connection.scalar(select(meta.c.value).where(meta.c.key == FEED_EPOCH)) is None:
        connection.execute(insert(meta), {"key": FEED_EPOCH, "value": random_bytes(8).hex()})


def position(connection: Connection) -> int:
    """The number of the newest change."""
    return int(connection.scalar(select(func.coalesce(func.max(change.c.seq), 0))) or 0)


def page(connection: Connection, cursor_text: str | None, *, rows_max: int, now: datetime, scope: str = SCOPE) -> Page:
    """What changed after a cursor (None: everything). Raises CursorGone where the feed cannot go on, MessageError for no cursor."""
    here = epoch(connection)
    start = 0
    if cursor_text is not None:
        cursor = Cursor.decode(cursor_text)
        if (cursor.epoch, cursor.scope, cursor.schema) != (here, scope, CURSOR_SCHEMA):
            raise CursorGone("this cursor is of another feed; start again without one")
        if cursor.position > position(connection):
            raise CursorGone("this cursor is ahead of the feed: the hub was restored; start again without one")
        start = cursor.position
    limit = max(1, min(rows_max, PAGE_ROWS_MAX))
    changed = connection.execute(
        select(change.c.seq, change.c.table, change.c.key)
        .where(change.c.seq > start)
        .order_by(change.c.seq)
        .limit(limit + 1)
    ).all()
    more, changed = len(changed) > limit, changed[:limit]
    tables = []
    for name, feed in _BY_SCOPE[scope].items():
        keys = [row.key for row in changed if row.table == name]
        if not keys:
            continue
        rows, gone = feed.rows(connection, keys)
        columns = tuple(column for column, _, _ in feed.columns)
        tables.append(TableRows(table=name, columns=columns, rows=tuple(rows), deletes=tuple(gone)))
    end = changed[-1].seq if changed else start
    return Page(cursor=Cursor(here, end, scope).encode(), more=more, tables=tuple(tables), at=now)
