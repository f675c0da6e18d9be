"""The change feed: which rows changed, in the order of their commits, each in its latest form.

Every service that changes a row which devices follow says so with `touch` in the same transaction; that only inserts, so writers never
wait for each other here (hub.services.housekeeping removes what was superseded). On SQLite there is one writer, and the order of
numbers is the order of commits. On PostgreSQL a number is drawn long before its transaction commits, so a reader that goes by numbers
alone passes over late ones for ever. There the order is (transaction, number), and a reader stays below the oldest transaction that is
still running, by the very snapshot that it reads the rows with (docs/decisions/0011).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Table,
    Text,
    cast,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    text,
    true,
    tuple_,
)

from hub.database import is_postgresql
from hub.errors import CursorGone, SchemaTooOld
from hub.tables import (
    TransactionId,
    change,
    device,
    document,
    meta,
    revised_answer,
    selling_key,
    slot,
    ticket,
    used,
)
from sync.checksum import to_text
from sync.protocol import CURSOR_SCHEMA, NODE_SCOPE, PAGE_ROWS_MAX, SCOPE, SCOPES, Cursor, Page, TableRows
from tickets.ids import RandomBytes

_CHUNK = 900
"""Below SQLite's 999 parameters of old."""

FEED_EPOCH, FEED_FLOOR = "feed_epoch", "feed_floor"
COMPACTED, BURIED = "feed_compacted", "feed_buried"
_OF_AN_EPOCH = (COMPACTED, BURIED)


class _Feed:
    """One table as devices see it: names of the wire, where each value comes from, and whether that is bytes."""

    def __init__(self, table: Table, key: Column[Any], columns: Sequence[tuple[str, Any, bool]]) -> None:
        self.table, self.key, self.columns = table, key, columns

    @property
    def blob_key(self) -> bool:
        return self.key.type.python_type is bytes

    def rows(self, connection: Connection, keys: Sequence[str]) -> tuple[list[tuple[Any, ...]], list[str]]:
        """(rows in the order of `keys`, keys that have no row any more). Bytes are made hex by the database, which is quicker at it."""
        found: dict[str, tuple[Any, ...]] = {}
        hexed = func.encode if is_postgresql(connection) else _lower_hex
        query = select(
            *(hexed(source, "hex") if blob else source for source, blob in [(self.key, self.blob_key), *self._sources])
        )
        for start in range(0, len(keys), _CHUNK):
            part = keys[start : start + _CHUNK]
            wanted = [bytes.fromhex(key) for key in part] if self.blob_key else part
            found.update(
                {row[0]: tuple(row[1:]) for row in connection.execute(query.where(self.key.in_(wanted))).all()}
            )
        return [found[key] for key in keys if key in found], [key for key in keys if key not in found]

    @property
    def _sources(self) -> list[tuple[Any, bool]]:
        return [(source, blob) for _, source, blob in self.columns]


def _lower_hex(column: Any, _: str) -> Any:
    return func.lower(func.hex(column))


def _plain(table: Table, names: str) -> list[tuple[str, Any, bool]]:
    return [(name, table.c[name], table.c[name].type.python_type is bytes) for name in names.split()]


FEEDS: Mapping[str, _Feed] = {
    "document": _Feed(document, document.c.name, _plain(document, "name text at")),
    "key": _Feed(selling_key, selling_key.c.kid, _plain(selling_key, "kid certificate signature revoked_at")),
    "slot": _Feed(
        slot,
        slot.c.slot,
        [
            *_plain(slot, "slot product starts_at ends_at capacity"),
            ("free", slot.c.free + slot.c.at_risk + slot.c.upstream_free, False),
            *_plain(slot, "wanted state"),
        ],
    ),
    "ticket": _Feed(
        ticket,
        ticket.c.ticket,
        _plain(ticket, "ticket variant uses state not_before expires language short_id withdrawn"),
    ),
    "answer": _Feed(revised_answer, revised_answer.c.op, _plain(revised_answer, "op status reason at")),
    "used": _Feed(used, used.c.op, _plain(used, "op ticket passage units window mode at gate released arrival")),
}


NODE_FEEDS: Mapping[str, _Feed] = {
    **FEEDS,
    "device": _Feed(device, device.c.device, _plain(device, "device enrolled enrolled_signature revoked_at")),
    "ticket": _Feed(
        ticket,
        ticket.c.ticket,
        _plain(
            ticket,
            "ticket kid variant uses state not_before expires language short_id slot book part parts withdrawn",
        ),
    ),
    "used": _Feed(
        used, used.c.op, _plain(used, "op ticket passage units window mode epoch at gate released device attention")
    ),
}
"""All tables of the feed, as a venue node is told of them: whole rows, so that it can be to others what the hub is, and who the devices
are. A ticket's order stays with the hub: the node takes it from the sale itself, which its kiosk sends there.
"""


class Position(NamedTuple):
    """A place in the feed. On SQLite `xid` is 0."""

    xid: int
    seq: int


START = Position(0, 0)
_INSERT_MANY = text('INSERT INTO change ("table", key) SELECT :table, unnest(CAST(:keys AS text[]))')
_XMIN = text("SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)")
_MINE = text("SELECT CAST(CAST(pg_current_xact_id() AS text) AS bigint)")
_XMAX = text("SELECT CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint)")


def touch(connection: Connection, table: str, keys: Iterable[bytes | str]) -> None:
    """Note that rows of a feed table changed, appeared or went, in the caller's transaction. Give it as many keys at once as you have:
    one statement takes them all.
    """
    assert table in NODE_FEEDS, table
    texts = list(dict.fromkeys(key.hex() if isinstance(key, bytes) else key for key in keys))
    if not texts:
        return
    if is_postgresql(connection):
        connection.execute(_INSERT_MANY, {"table": table, "keys": texts})
    else:
        connection.execute(insert(change), [{"table": table, "key": key} for key in texts])


def epoch(connection: Connection) -> str:
    return str(connection.scalar(select(meta.c.value).where(meta.c.key == FEED_EPOCH)))


def begin_epoch(connection: Connection, random_bytes: RandomBytes) -> None:
    """Give a new database its feed epoch; an old one keeps its own."""
    if connection.scalar(select(meta.c.value).where(meta.c.key == FEED_EPOCH)) is None:
        connection.execute(insert(meta), {"key": FEED_EPOCH, "value": random_bytes(8).hex()})


def position(connection: Connection) -> int:
    """The number of the newest change."""
    return int(connection.scalar(select(func.coalesce(func.max(change.c.seq), 0))) or 0)


def after(connection: Connection, place: Position) -> ColumnElement[bool]:
    """Changes later than a place."""
    if is_postgresql(connection):
        here = tuple_(literal(place.xid, TransactionId()), literal(place.seq))
        return tuple_(change.c.xid, change.c.seq) > here
    return change.c.seq > place.seq


def settled(connection: Connection) -> Position:
    """All changes up to here can be read, and none will appear before it any more: the newest on SQLite; on PostgreSQL the end of all
    transactions older than any that runs in the snapshot of this transaction.
    """
    if is_postgresql(connection):
        return Position(int(connection.execute(_XMIN).scalar_one()), 0)
    return Position(0, position(connection))


def below(connection: Connection, place: Position) -> ColumnElement[bool]:
    """Changes not later than a settled place."""
    if is_postgresql(connection):
        return change.c.xid < literal(place.xid, TransactionId())
    return true()


def is_quiet(connection: Connection, place: Position) -> bool:
    """Whether no change above a settled place can be seen: then who has read up to it has what this snapshot has."""
    if not is_postgresql(connection):
        return True
    return connection.execute(select(change.c.seq).where(after(connection, place)).limit(1)).first() is None


def newest(connection: Connection) -> Position:
    """The place of the last change in the order of the feed."""
    row = connection.execute(
        select(change.c.xid, change.c.seq).order_by(change.c.xid.desc(), change.c.seq.desc()).limit(1)
        if is_postgresql(connection)
        else select(literal_column("0").label("xid"), func.coalesce(func.max(change.c.seq), 0).label("seq"))
    ).first()
    return START if row is None else Position(int(row.xid), int(row.seq))


def window(connection: Connection, start: Position, *, limit: int, tables: Iterable[str] | None = None) -> list[Any]:
    """Settled changes after `start` in their order: rows of (xid, seq, table, key)."""
    end = settled(connection)
    number = cast(cast(change.c.xid, Text), BigInteger) if is_postgresql(connection) else literal_column("0")
    query = select(number.label("xid"), change.c.seq, change.c.table, change.c.key).where(
        after(connection, start), below(connection, end)
    )
    if tables is not None:
        query = query.where(change.c.table.in_(tuple(tables)))
    order = (change.c.xid, change.c.seq) if is_postgresql(connection) else (change.c.seq,)
    return list(connection.execute(query.order_by(*order).limit(limit)).all())


def more_than(connection: Connection, start: Position, count: int) -> bool:
    """Whether more than so many changes came after a place."""
    some = select(change.c.seq).where(after(connection, start)).limit(count + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one()) > count


def page(
    connection: Connection,
    cursor_text: str | None,
    *,
    rows_max: int,
    now: datetime,
    scope: str = SCOPE,
    schema: int = CURSOR_SCHEMA,
    checksum: Callable[[Connection], int | None] | None = None,
) -> Page:
    """What changed after a cursor (None: everything), for one scope. The connection must see one moment (`hub.database.reading`).

    `schema` is what the device can read; a newer one than ours gets ours. Raises CursorGone where the feed cannot go on, MessageError
    for no cursor, SchemaTooOld. `checksum` is asked (hub.services.balance.at) where it can be said of this page's end.
    """
    schema = served_schema(schema)
    here, end = epoch(connection), settled(connection)
    before = None if cursor_text is None else Cursor.decode(cursor_text)
    start = START if before is None else _start(connection, before, here, scope, schema)
    limit = max(1, min(rows_max, PAGE_ROWS_MAX))
    names = SCOPES[scope]
    changed = window(connection, start, limit=limit + 1, tables=names)
    more, changed = len(changed) > limit, changed[:limit]
    tables = []
    for name in names:
        keys = list(dict.fromkeys(row.key for row in changed if row.table == name))
        if keys:
            tables.append(table_rows(connection, name, keys, scope=scope))
    stop = Position(int(changed[-1].xid), int(changed[-1].seq)) if more else max(end, start)
    total = None
    if checksum is not None and not more and schema == CURSOR_SCHEMA and is_quiet(connection, end):
        total = checksum(connection)
    begun = (end if before is None else before.begun) if more else START
    cursor = Cursor(here, stop.seq, scope=scope, schema=schema, xid=stop.xid, begun=(begun[0], begun[1]))
    said = None if total is None else to_text(total)
    return Page(cursor.encode(), more=more, tables=tuple(tables), at=now, checksum=said, schema=schema)


def served_schema(asked: int) -> int:
    """Ours, or the one before it. Raises SchemaTooOld."""
    if asked < CURSOR_SCHEMA - 1:
        raise SchemaTooOld(f"this hub speaks schemas {CURSOR_SCHEMA - 1} and {CURSOR_SCHEMA}; update the device")
    return min(asked, CURSOR_SCHEMA)


def table_rows(connection: Connection, name: str, keys: Sequence[str], *, scope: str = SCOPE) -> TableRows:
    """Rows of a table of the feed as they are now, and which of the keys have none, as a scope sees them."""
    held = NODE_FEEDS[name] if scope == NODE_SCOPE or name not in FEEDS else FEEDS[name]
    rows, gone = held.rows(connection, keys)
    columns = tuple(column for column, _, _ in held.columns)
    return TableRows(table=name, columns=columns, rows=tuple(rows), deletes=tuple(gone))


def _start(connection: Connection, cursor: Cursor, here: str, scope: str, schema: int) -> Position:
    if cursor.epoch != here or cursor.schema not in (schema, schema - 1):
        raise CursorGone("this cursor is of another feed; start again without one")
    if not set(SCOPES[scope]) <= set(SCOPES.get(cursor.scope, ())):
        raise CursorGone("this cursor is of another scope; start again without one")
    start = Position(cursor.xid, cursor.position)
    if is_postgresql(connection):
        ahead = start.xid > int(connection.execute(_XMAX).scalar_one())
    else:
        ahead = start.seq > position(connection)
    if ahead:
        raise CursorGone("this cursor is ahead of the feed: the hub was restored; start again without one")
    if cursor_floor(connection) > max(start, Position(*cursor.begun)) > START:
        raise CursorGone("what was deleted since then is forgotten; start again without a cursor")
    return start


def cursor_floor(connection: Connection) -> Position:
    """Deletions up to here are forgotten."""
    held = connection.scalar(select(meta.c.value).where(meta.c.key == FEED_FLOOR))
    return START if held is None else read_position(held)


def cursor_here(connection: Connection, *, scope: str = SCOPE) -> str:
    """The cursor of somebody who has everything that this snapshot shows; for files built from it."""
    end = settled(connection)
    return Cursor(epoch(connection), end.seq, scope=scope, schema=CURSOR_SCHEMA, xid=end.xid).encode()


def cursor_after_mine(connection: Connection) -> str:
    """A cursor that only who has the changes of the caller's own transaction can have reached. On PostgreSQL that is what comes after
    this transaction: where the feed is settled now lies before it, as long as it runs.
    """
    if is_postgresql(connection):
        mine = int(connection.execute(_MINE).scalar_one())
        return Cursor(epoch(connection), 0, xid=mine + 1).encode()
    return Cursor(epoch(connection), position(connection)).encode()


def begin_again(connection: Connection, random_bytes: RandomBytes) -> None:
    """A feed of a new epoch, made from the tables as they are: every cursor from before is gone, and so is whatever the order of changes
    once was (after a restore its transaction numbers may be another server's). The sums (hub.services.balance) must be forgotten with it.
    """
    connection.execute(delete(change))
    for name, held in NODE_FEEDS.items():
        key: Any = held.key
        if held.blob_key:
            key = func.encode(key, "hex") if is_postgresql(connection) else func.lower(func.hex(key))
        rows = select(literal(name), key).select_from(held.table)
        connection.execute(insert(change).from_select([change.c.table, change.c.key], rows))
    put(connection, FEED_EPOCH, random_bytes(8).hex())
    connection.execute(delete(meta).where(meta.c.key.in_((FEED_FLOOR, *_OF_AN_EPOCH))))


def put(connection: Connection, key: str, value: str) -> None:
    """A row of meta."""
    connection.execute(delete(meta).where(meta.c.key == key))
    connection.execute(insert(meta), {"key": key, "value": value})


def read_position(held: str) -> Position:
    xid, _, seq = held.partition(":")
    return Position(int(xid), int(seq))


def write_position(place: Position) -> str:
    return f"{place.xid}:{place.seq}"
