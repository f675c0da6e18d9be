"""What the hub does beside its work: fold the sums, take superseded changes out of the feed, forget old deletions, and look how far the
feed's readers are held back. A step is short, so that no writer waits for it; one process at a time takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text

from hub.database import is_postgresql, try_turn
from hub.services import attention, balance, feed
from hub.tables import change, feed_time, meta

TOMBSTONE_DAYS = 45
"""So long a device may be without a line and still go on from where it was."""
TOMBSTONE_DAYS_MIN = 45
ROWS = 250
"""A step holds the one writer's place on SQLite for some ten milliseconds, so that no gate's claim waits longer."""
TIME_MARK_S = 3_600
STALLED_S = 60.0
"""A transaction that runs longer than this holds the feed for every device: somebody should look."""

_OLDEST_S = text(
    "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0) FROM pg_stat_activity"
    " WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a step did, and the age of the oldest transaction that holds the feed (0 on SQLite). `busy`: another process was at it."""

    folded: int = 0
    compacted: int = 0
    buried: int = 0
    repaired: int = 0
    horizon_age_s: float = 0.0
    busy: bool = False

    def facts(self) -> Mapping[str, Any]:
        return {"horizon_age_s": round(self.horizon_age_s, 1), "repaired": self.repaired}


def step(
    connection: Connection,
    *,
    now: datetime,
    tombstone_days: int = TOMBSTONE_DAYS,
    rows_max: int = ROWS,
    walk: bool = True,
) -> Kept:
    """`walk`: look at the next stretch of the tables too. The connection must see one moment and may write (hub.database.one_moment)."""
    if not try_turn(connection, "housekeeping"):
        return Kept(busy=True)
    age_s = horizon_age_s(connection)
    if age_s > STALLED_S:
        detail = f"a transaction has been running since {_minute(now - timedelta(seconds=age_s))}: no device hears of anything newer"
        attention.note_trouble(connection, device=None, kind="feed_stalled", detail=detail, now=now)
    folded = balance.fold(connection, rows_max=rows_max)
    repaired = [] if folded == rows_max or not walk else balance.recount(connection, rows_max=rows_max)
    if repaired:
        first = ", ".join(f"{table} {key}" for table, key in repaired[:3])
        detail = f"{len(repaired)} rows had changed without a word in the feed, and were put into it: {first}"
        attention.note_trouble(connection, device=None, kind="feed_repaired", detail=detail, now=now)
    _mark_time(connection, now=now)
    return Kept(
        folded=folded,
        compacted=_compact(connection, rows_max=rows_max),
        buried=_bury(connection, now=now, days=max(tombstone_days, TOMBSTONE_DAYS_MIN), rows_max=rows_max),
        repaired=len(repaired),
        horizon_age_s=age_s,
    )


def horizon_age_s(connection: Connection) -> float:
    """How long the oldest transaction that holds back the feed has been running. 0 where there is none, and on SQLite."""
    if not is_postgresql(connection):
        return 0.0
    return float(connection.execute(_OLDEST_S).scalar_one())


def _compact(connection: Connection, *, rows_max: int) -> int:
    """Of each row that changed in the next stretch of the feed, only its latest change is kept. Nobody misses the others: a reader who
    has not come so far gets the row from the latest.
    """
    start = _place(connection, feed.COMPACTED)
    found = feed.window(connection, start, limit=rows_max)
    if not found:
        return 0
    newer, older = change.alias("newer"), change.alias("older")
    superseded = (
        select(older.c.seq)
        .select_from(newer)
        .join(
            older, (older.c.table == newer.c.table) & (older.c.key == newer.c.key) & _earlier(connection, older, newer)
        )
        .where(newer.c.seq.in_([row.seq for row in found]))
    )
    gone = connection.execute(delete(change).where(change.c.seq.in_(superseded))).rowcount
    last = feed.Position(int(found[-1].xid), int(found[-1].seq))
    feed.put(connection, feed.COMPACTED, feed.write_position(last))
    return int(gone)


def _earlier(connection: Connection, older: Any, newer: Any) -> Any:
    if is_postgresql(connection):
        return (older.c.xid < newer.c.xid) | ((older.c.xid == newer.c.xid) & (older.c.seq < newer.c.seq))
    return older.c.seq < newer.c.seq


def _mark_time(connection: Connection, *, now: datetime) -> None:
    at = int(now.timestamp())
    last = connection.scalar(select(feed_time.c.at).order_by(feed_time.c.at.desc()).limit(1))
    if last is None or last + TIME_MARK_S <= at:
        here = feed.settled(connection)
        connection.execute(insert(feed_time), {"at": at, "xid": here.xid, "seq": here.seq})


def _bury(connection: Connection, *, now: datetime, days: int, rows_max: int) -> int:
    """Forget deletions older than `days`. From then on a cursor from before them is gone."""
    before = int((now - timedelta(days=days)).timestamp())
    old = connection.execute(
        select(feed_time).where(feed_time.c.at <= before).order_by(feed_time.c.at.desc()).limit(1)
    ).first()
    if old is None:
        return 0
    limit, start = feed.Position(int(old.xid), int(old.seq)), _place(connection, feed.BURIED)
    newest = feed.newest(connection)
    found = [
        row
        for row in feed.window(connection, start, limit=rows_max)
        if (row.xid, row.seq) <= limit and (row.xid, row.seq) != newest  # the newest one keeps the feed's number
    ]
    connection.execute(delete(feed_time).where(feed_time.c.at < old.at))
    if not found:
        return 0
    without = _without_row(connection, found)
    gone = [row for row in found if (row.table, row.key) in without]
    if gone:
        connection.execute(delete(change).where(change.c.seq.in_([row.seq for row in gone])))
        floor = feed.Position(int(gone[-1].xid), int(gone[-1].seq))
        feed.put(connection, feed.FEED_FLOOR, feed.write_position(floor))
    last = feed.Position(int(found[-1].xid), int(found[-1].seq))
    feed.put(connection, feed.BURIED, feed.write_position(last))
    return len(gone)


def _without_row(connection: Connection, found: Sequence[Any]) -> set[tuple[str, str]]:
    gone: set[tuple[str, str]] = set()
    for name, rows in groupby(sorted(found, key=lambda row: str(row.table)), key=lambda row: str(row.table)):
        deletes = feed.table_rows(connection, name, [row.key for row in rows]).deletes
        gone.update((name, key) for key in deletes)
    return gone


def _place(connection: Connection, name: str) -> feed.Position:
    held = connection.scalar(select(meta.c.value).where(meta.c.key == name))
    return feed.START if held is None else feed.read_position(held)


def _minute(at: datetime) -> str:
    return at.isoformat(timespec="minutes")
