"""The hub's side of the checksum: what all rows of the feed come to, for exactly the moment of one snapshot.

Nothing of it stands in the way of a write. Each row's digest and the sum of all are kept up to some place in the feed (`fold`, now and
then); what changed after that place is added when somebody asks (`at`). `recount` walks over the tables themselves and finds rows that
changed without a word in the feed: those are put into it, so that devices get them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from hub.services import feed
from hub.tables import feed_digest, meta
from sync.checksum import COLUMNS, add, digest_of_text, to_signed

SUM, WALK = "feed_sum", "feed_walk"
FOLD_ROWS = 5_000
AT_ROWS_MAX = 5_000
"""So many changes are added at one question; with more waiting to be folded there is no checksum for the moment."""
_CHUNK = 500


@dataclass
class Memo:
    """The last sum that this process worked out, so that a thousand devices at one place cost one calculation."""

    known: dict[tuple[object, ...], int] = field(default_factory=dict)

    def keep(self, key: tuple[object, ...], total: int) -> None:
        if len(self.known) > 16:
            self.known.clear()
        self.known[key] = total


@dataclass(frozen=True, slots=True)
class _Sum:
    total: int
    place: feed.Position


def at(connection: Connection, memo: Memo | None = None) -> int | None:
    """The sum of all rows that this snapshot shows. None: too much has changed since the last fold."""
    held = _held(connection)
    newest = feed.newest(connection)
    key = (feed.epoch(connection), held.place, held.total, newest)
    # Asked once: another thread may clear it at any moment.
    if memo is not None and (known := memo.known.get(key)) is not None:
        return known
    if feed.more_than(connection, held.place, AT_ROWS_MAX):
        return None
    changed = feed.window(connection, held.place, limit=AT_ROWS_MAX, tables=COLUMNS)
    total = held.total
    for name, keys in _by_table(changed).items():
        now, before = _now(connection, name, keys), _kept(connection, name, keys)
        total = add(total, sum(now.values()) - sum(before.values()))
    if memo is not None:
        memo.keep(key, total)
    return total


def fold(connection: Connection, *, rows_max: int = FOLD_ROWS) -> int:
    """Take up to `rows_max` changes into the kept sum; how many. One process at a time, and the connection must see one moment."""
    held = _held(connection)
    changed = feed.window(connection, held.place, limit=rows_max)
    if not changed:
        return 0
    total = held.total
    for name, keys in _by_table(changed).items():
        now, before = _now(connection, name, keys), _kept(connection, name, keys)
        total = add(total, sum(now.values()) - sum(before.values()))
        different = [key for key in keys if now.get(key) != before.get(key)]
        _keep(connection, name, different, now)
    place = feed.Position(int(changed[-1].xid), int(changed[-1].seq))
    feed.put(connection, SUM, json.dumps({"sum": f"{total:016x}", "place": feed.write_position(place)}))
    return len(changed)


def recount(connection: Connection, *, rows_max: int = FOLD_ROWS) -> list[tuple[str, str]]:
    """Look at the next `rows_max` rows of the tables themselves; (table, key) of those that differ from what was folded. They are put
    into the feed again. Does nothing until everything is folded.
    """
    if feed.window(connection, _held(connection).place, limit=1) or not feed.is_quiet(
        connection, feed.settled(connection)
    ):
        return []
    name, last = _walk(connection)
    held = feed.FEEDS[name]
    keys = list(
        connection.scalars(
            select(held.key).where(held.key > last).order_by(held.key).limit(rows_max)
            if last
            else select(held.key).order_by(held.key).limit(rows_max)
        )
    )
    ended = len(keys) < rows_max
    range_ = [feed_digest.c.table == name, feed_digest.c.key > last]
    if not ended:
        range_.append(feed_digest.c.key <= keys[-1])
    before = {row.key.hex(): row.digest for row in connection.execute(select(feed_digest).where(*range_))}
    now = _now(connection, name, [key.hex() for key in keys])
    wrong = [key for key in now.keys() | before.keys() if _signed(now.get(key)) != before.get(key)]
    if wrong:
        feed.touch(connection, name, sorted(wrong))
    order = list(COLUMNS)
    following = order[(order.index(name) + 1) % len(order)] if ended else name
    feed.put(connection, WALK, json.dumps({"table": following, "after": "" if ended else keys[-1].hex()}))
    return [(name, key) for key in sorted(wrong)]


def forget(connection: Connection) -> None:
    """For a new epoch: it is all counted again."""
    connection.execute(delete(feed_digest))
    connection.execute(delete(meta).where(meta.c.key.in_((SUM, WALK))))


def _held(connection: Connection) -> _Sum:
    text = connection.scalar(select(meta.c.value).where(meta.c.key == SUM))
    if text is None:
        return _Sum(0, feed.START)
    row = json.loads(text)
    return _Sum(int(row["sum"], 16), feed.read_position(row["place"]))


def _walk(connection: Connection) -> tuple[str, bytes]:
    text = connection.scalar(select(meta.c.value).where(meta.c.key == WALK))
    if text is None:
        return next(iter(COLUMNS)), b""
    row = json.loads(text)
    return row["table"], bytes.fromhex(row["after"])


def _by_table(changed: Sequence[Any]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {name: {} for name in COLUMNS}
    for row in changed:
        if row.table in found:
            found[row.table][row.key] = None
    return {name: list(keys) for name, keys in found.items() if keys}


def _now(connection: Connection, name: str, keys: Sequence[str]) -> dict[str, int]:
    part = feed.table_rows(connection, name, keys)
    order = [part.columns.index(column) for column in COLUMNS[name]]
    return {row[order[0]]: digest_of_text(name, [row[place] for place in order]) for row in part.rows}


def _kept(connection: Connection, name: str, keys: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(keys), _CHUNK):
        part = [bytes.fromhex(key) for key in keys[start : start + _CHUNK]]
        query = select(feed_digest.c.key, feed_digest.c.digest).where(
            feed_digest.c.table == name, feed_digest.c.key.in_(part)
        )
        found.update({row.key.hex(): row.digest % (1 << 64) for row in connection.execute(query)})
    return found


def _keep(connection: Connection, name: str, keys: Sequence[str], now: Mapping[str, int]) -> None:
    for start in range(0, len(keys), _CHUNK):
        part = [bytes.fromhex(key) for key in keys[start : start + _CHUNK]]
        connection.execute(delete(feed_digest).where(feed_digest.c.table == name, feed_digest.c.key.in_(part)))
    rows = [{"table": name, "key": bytes.fromhex(key), "digest": to_signed(now[key])} for key in keys if key in now]
    if rows:
        connection.execute(insert(feed_digest), rows)


def _signed(value: int | None) -> int | None:
    return None if value is None else to_signed(value)
