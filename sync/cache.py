"""The cache: what the hub said about tickets and their uses, in generations `cache-<n>.db`.

Replaceable, so it is not synced at each commit; rows and the cursor that stands for them commit together, so a power cut takes
back both. It is never renamed onto an open name: the generation to read is a row in the journal (sync.granted).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    delete,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DBAPIError

from sync import balance as sums
from sync.conflict import CountedUse
from sync.errors import CacheBroken
from sync.operation import Mode
from sync.store import Durability, open_engine
from tickets.admission import Passage, Use
from tickets.ids import OpId, TicketId
from tickets.life_cycle import TicketState

metadata = MetaData()

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
ticket = Table(
    "ticket",
    metadata,
    Column("ticket", LargeBinary, primary_key=True),
    Column("variant", Integer, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("not_before", Integer, nullable=False),
    Column("expires", Integer, nullable=False),
    Column("language", Text, nullable=False),
    Column("short_id", Text, nullable=False),
    Column("withdrawn", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
Index("ticket_by_short_id", ticket.c.short_id)
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
    Column("released", Integer, nullable=False),
    Column("mode", Text, nullable=False, server_default="policy"),
    Column("arrival", Integer, nullable=False, server_default="0"),
    sqlite_with_rowid=False,
)
Index("used_by_ticket", used.c.ticket)

balance = Table(
    "balance",
    metadata,
    Column("table", Text, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("sum", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""What the rows come to, by parts: sync.balance."""

FEED_TABLES: Mapping[str, Table] = {"ticket": ticket, "used": used}
"""The tables that the change feed fills. Blobs travel as hex."""
_BLOBS = {"ticket", "op"}
_EARLIER = ("1", "2")
SCHEMA = 3
"""2: with `balance`. 3: what conflicts are computed from (mode, withdrawn), and the order in which uses reached the hub. A file of
an earlier schema is brought up when the sync daemon opens it, so that a device that was updated without a line keeps what it knows.
"""
_ADDED = {
    "ticket": {"withdrawn": "INTEGER NOT NULL DEFAULT 0"},
    "used": {"mode": "TEXT NOT NULL DEFAULT 'policy'", "arrival": "INTEGER NOT NULL DEFAULT 0"},
}
"""Columns that files of an earlier schema lack. The hub says what is really in them: the sums are counted anew, and then differ."""

_TICKET = select(ticket).where(ticket.c.ticket == bindparam("ticket"))
_TICKET_BY_SHORT_ID = select(ticket).where(ticket.c.short_id == bindparam("short_id"))
_USED = select(used).where(used.c.ticket == bindparam("ticket")).order_by(used.c.arrival, used.c.op)
_CURSOR = select(meta.c.value).where(meta.c.key == bindparam("key"))
_NODE_CURSOR = "cursor:"
_BY_NODE = "by_node"
"""Some rows were carried over from a generation that a venue node had fed."""


def _bring_up(connection: Connection) -> None:
    here = meta.c.key == "schema"
    if connection.scalar(select(meta.c.value).where(here)) not in _EARLIER:
        return
    for table, columns in _ADDED.items():
        there = {row[1] for row in connection.exec_driver_sql(f'PRAGMA table_info("{table}")')}
        for name, kind in columns.items():
            if name not in there:
                connection.exec_driver_sql(f'ALTER TABLE "{table}" ADD COLUMN "{name}" {kind}')
    connection.execute(delete(balance))
    connection.execute(update(meta).where(here).values(value=str(SCHEMA)))


@dataclass(frozen=True, slots=True)
class CachedTicket:
    """A ticket as the hub knows it. Times are seconds since 1970."""

    ticket: TicketId
    variant: int
    uses: int
    state: TicketState
    not_before: int
    expires: int
    language: str
    short_id: str
    withdrawn: int = 0


@dataclass(frozen=True, slots=True)
class CachedUse:
    """A use as the hub knows it; `released` ones are kept, so that a late copy of them counts for nothing. `confirmed`: the arbiter
    stands behind it.
    """

    use: Use
    released: bool
    confirmed: bool = False


class Cache:
    """One generation. Reading it never writes; only the sync daemon opens it to write."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def create(cls, path: Path) -> Cache:
        engine = open_engine(path, durability=Durability.NORMAL)
        with engine.begin() as connection:
            metadata.create_all(connection)
            made = connection.execute(upsert(meta).on_conflict_do_nothing(), {"key": "schema", "value": str(SCHEMA)})
            if made.rowcount:
                sums.begin(connection, balance)
            else:
                _bring_up(connection)
        return cls(engine)

    @classmethod
    def open(cls, path: Path) -> Cache:
        """For reading. Raises CacheBroken if it is not there, cut short, or of another schema."""
        engine = open_engine(path, read_only=True)
        try:
            with engine.begin() as connection:
                schema = connection.scalar(select(meta.c.value).where(meta.c.key == "schema"))
        except DBAPIError as error:
            raise CacheBroken(f"{path}: cannot be read ({error.orig})") from error
        if schema != str(SCHEMA):
            raise CacheBroken(f"{path}: schema {schema}; this version reads {SCHEMA}")
        return cls(engine)

    def check(self) -> None:
        """Look at every page. Raises CacheBroken. Seconds on a million tickets: at start, not on the way."""
        try:
            with self.engine.begin() as connection:
                found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        except DBAPIError as error:
            raise CacheBroken(f"cache: cannot be read ({error.orig})") from error
        if found != "ok":
            raise CacheBroken(f"cache: {found}")

    def close(self) -> None:
        self.engine.dispose()


def cursor(connection: Connection, *, node: str | None = None) -> str | None:
    """Where the feed stands for these rows; None in a fresh generation. `node` (a device id in hex): where a venue node's feed stands,
    which counts otherwise than the hub's.
    """
    return connection.scalar(_CURSOR, {"key": _cursor_key(node)})


def cursors(connection: Connection) -> tuple[str, ...]:
    """The places of these rows in every feed that they came from."""
    places = (meta.c.key == "cursor") | meta.c.key.startswith(_NODE_CURSOR)
    return tuple(connection.scalars(select(meta.c.value).where(places).order_by(meta.c.key)))


def durable_cursors(path: Path) -> tuple[str, ...]:
    """The same, once the file is synced: its own commits are not (Durability.NORMAL), and one synced commit takes all before it along.
    Raises DBAPIError.
    """
    engine = open_engine(path, durability=Durability.FULL)
    try:
        with engine.begin() as connection:
            found = cursors(connection)
            connection.execute(update(meta).where(meta.c.key == "schema").values(value=str(SCHEMA)))
    finally:
        engine.dispose()
    return found


def _cursor_key(node: str | None) -> str:
    return "cursor" if node is None else f"{_NODE_CURSOR}{node}"


def came_by_node(connection: Connection) -> bool:
    """Whether any of these rows came from a venue node, and may therefore be news to the hub."""
    told = meta.c.key.startswith(_NODE_CURSOR) | (meta.c.key == _BY_NODE)
    return connection.scalar(select(meta.c.key).where(told).limit(1)) is not None


def find(connection: Connection, ticket_id: TicketId) -> CachedTicket | None:
    row = connection.execute(_TICKET, {"ticket": ticket_id}).first()
    return None if row is None else _ticket(row)


def find_by_short_id(connection: Connection, short_id: str) -> tuple[CachedTicket, ...]:
    """Every ticket with these digits: they are unique among those usable on one day, not forever."""
    return tuple(_ticket(row) for row in connection.execute(_TICKET_BY_SHORT_ID, {"short_id": short_id}))


def uses(connection: Connection, ticket_id: TicketId) -> tuple[CachedUse, ...]:
    """Every use of a ticket, in the order in which they reached the hub."""
    return tuple(
        CachedUse(
            Use(
                op=OpId(row.op),
                passage=Passage(row.passage),
                units=row.units,
                window=row.window,
                at=datetime.fromisoformat(row.at).astimezone(UTC),
                gate=row.gate,
            ),
            released=bool(row.released),
            confirmed=row.mode == Mode.CONFIRMED,
        )
        for row in connection.execute(_USED, {"ticket": ticket_id})
    )


def counted(connection: Connection, ticket_id: TicketId) -> tuple[CountedUse, ...]:
    """What ranking looks at (sync.conflict): the unreleased uses, with the hub's own word for who stands behind each."""
    return tuple(
        CountedUse(cached.use.op, ticket_id, cached.use.window, cached.use.units, cached.confirmed)
        for cached in uses(connection, ticket_id)
        if not cached.released
    )


def apply(
    connection: Connection, table: str, *, columns: list[str], rows: Iterable[list[Any]], deletes: list[str]
) -> None:
    """Lay one table of a feed page over the cache: later rows replace earlier ones, tombstones take them away. Columns that this
    version does not know are ignored; tables it does not know are not the caller's to pass.
    """
    target = FEED_TABLES[table]
    names = [name for name in columns if name in target.c]
    primary = next(iter(target.primary_key)).name
    taken = [(columns.index(name), name in _BLOBS) for name in names]
    values = [tuple(bytes.fromhex(row[at]) if blob else row[at] for at, blob in taken) for row in rows]
    keys = [value[names.index(primary)] for value in values] + [bytes.fromhex(key) for key in deletes]
    before = sums.weigh(connection, target, keys)
    if values:
        changed = ",".join(f'"{name}"=excluded."{name}"' for name in names if name != primary)
        listed, marks = ",".join(f'"{name}"' for name in names), ",".join("?" * len(names))
        # The names are those of our own columns; the values are bound. The driver's own statement: half the time of a compiled one.
        put = f'INSERT INTO "{table}" ({listed}) VALUES ({marks}) ON CONFLICT ("{primary}")'  # noqa: S608
        connection.exec_driver_sql(f"{put} DO UPDATE SET {changed}", values)
    if deletes:
        gone = delete(target).where(target.c[primary] == bindparam("gone"))
        connection.execute(gone, [{"gone": bytes.fromhex(key)} for key in deletes])
    sums.move(connection, balance, table, before=before, after=sums.weigh(connection, target, keys))


def checksum(connection: Connection) -> int | None:
    """What all rows come to, to be compared with the hub's (sync.checksum). None: not all of them were counted yet."""
    return sums.total(connection, balance)


def recount(connection: Connection, part: int) -> bool:
    """Count one of `sums.PARTS` parts of each table anew, in a transaction that may write. False: the file was changed by others."""
    agree = [sums.recount(connection, balance, target, part) for target in FEED_TABLES.values()]
    return all(agree)


def uncounted(connection: Connection) -> int:
    return sums.uncounted(connection, balance)


def forget_cursor(connection: Connection, *, node: str) -> None:
    """A venue node's feed is another one now."""
    connection.execute(delete(meta).where(meta.c.key == _cursor_key(node)))


def move_cursor(connection: Connection, text: str, *, node: str | None = None) -> None:
    statement = upsert(meta).values(key=_cursor_key(node), value=text)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value})
    )


def carry_over(target: Cache, old: Path) -> None:
    """Take from the generation before what the new one does not know: a venue node told of it, and its hub may not have it yet. A use is
    a fact, so uniting by its id is always right, and a release is never taken back.
    """
    columns = {name: ", ".join(f'"{column.name}"' for column in table.c) for name, table in FEED_TABLES.items()}
    connection = target.engine.raw_connection()
    try:
        db = connection.cursor()
        db.execute("ATTACH DATABASE ? AS old", (f"file:{old}?mode=ro",))
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "UPDATE used SET released = 1 WHERE released = 0 AND op IN (SELECT op FROM old.used WHERE released = 1)"
        )
        for name, names in columns.items():
            db.execute(f"INSERT OR IGNORE INTO main.{name} ({names}) SELECT {names} FROM old.{name}")  # noqa: S608 ours
        db.execute("INSERT OR REPLACE INTO main.meta (key, value) VALUES (?, '1')", (_BY_NODE,))
        db.execute("DELETE FROM main.balance")  # counted anew, part by part: the sums knew nothing of these rows
        db.execute("COMMIT")
        db.execute("DETACH DATABASE old")
        db.close()
    finally:
        connection.close()


def _ticket(row: Any) -> CachedTicket:
    return CachedTicket(
        ticket=TicketId(row.ticket),
        variant=row.variant,
        uses=row.uses,
        state=TicketState(row.state),
        not_before=row.not_before,
        expires=row.expires,
        language=row.language,
        short_id=row.short_id,
        withdrawn=row.withdrawn,
    )
