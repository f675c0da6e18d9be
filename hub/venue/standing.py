"""Where the node stands in its hub's feed, and where a device that stands there goes on in the node's own.

The hub's cursor is kept with the rows that it stands for, in one transaction. A *mark* says at which place of the node's own feed it
was taken: whoever has everything of the hub up to the mark's cursor lacks only what this feed got after the mark's position, and what
was made here and has not come back from the hub yet. The hub's places are (transaction, number), because it may stand on PostgreSQL; this
node's own are numbers, because it never does.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, delete, func, insert, select

from hub.services import feed
from hub.tables import change, claim_answer, meta, operation, used
from hub.venue.tables import relay_mark, relay_segment
from sync.protocol import Cursor

UPSTREAM = "upstream_cursor"
EPOCHS = "upstream_epochs"
LEDGER, AFTER = "ledger_feed", "ledger_after"
"""The epoch of this node's own feed in which its ledger is known to be whole; after a restore that is another one, and `ledger_after` is
that one and the hub's epoch that was the newest when the node had heard all."""
MARKS_MAX = 20_000
_CHUNK = 500
CLAIM_BEHIND_MAX = 2_000
"""Changes that a device which comes from the hub reads at most for a claim that nobody has uploaded."""


def cursor(connection: Connection) -> str | None:
    """The hub's cursor for what stands in these tables; None before the first page."""
    return connection.scalar(select(meta.c.value).where(meta.c.key == UPSTREAM))


def move(connection: Connection, text: str) -> bool:
    """Note the hub's cursor after a page was taken in. True where the hub's feed is another one than before: it was restored."""
    before, now = cursor(connection), Cursor.decode(text)
    _put(connection, UPSTREAM, text)
    epochs = _epochs(connection)
    restored = bool(epochs) and epochs[-1] != now.epoch
    if now.epoch not in epochs[-1:]:
        _put(connection, EPOCHS, " ".join([*(item for item in epochs if item != now.epoch), now.epoch][-20:]))
    if before != text:
        position = feed.position(connection)
        connection.execute(delete(relay_mark).where(relay_mark.c.position == position))
        connection.execute(insert(relay_mark), {"position": position, "cursor": text})
        _forget_old(connection)
    return restored


def forget(connection: Connection) -> None:
    """Read the hub's feed from its beginning: it cannot go on from where this node stands."""
    connection.execute(delete(meta).where(meta.c.key == UPSTREAM))


def shown(connection: Connection, *, scope: str) -> str | None:
    """The hub's cursor as a device of `scope` would hold it."""
    text = cursor(connection)
    if text is None:
        return None
    held = Cursor.decode(text)
    return replace(held, scope=scope).encode()


def is_behind(connection: Connection, seen: str) -> bool:
    """Whether a device that stands at `seen` in the hub's feed knows more of the hub than this node."""
    text = cursor(connection)
    if text is None:
        return True
    here, theirs = Cursor.decode(text), Cursor.decode(seen)
    if here.epoch == theirs.epoch:
        return here.place < theirs.place
    return theirs.epoch not in _epochs(connection)


def start_for(connection: Connection, seen: str) -> int:
    """The place of this node's feed after which everything is that a device at `seen` in the hub's feed may lack; 0: all of it."""
    theirs = Cursor.decode(seen)
    start = 0
    for row in connection.execute(select(relay_mark).order_by(relay_mark.c.position.desc())):
        held = Cursor.decode(row.cursor)
        if held.epoch != theirs.epoch:
            break  # from before a restore: their places say nothing about each other
        if held.place <= theirs.place:
            start = int(row.position)
            break
    waiting = connection.scalar(select(func.min(relay_segment.c.position)).where(relay_segment.c.relayed_at.is_(None)))
    # What was relayed lately may not be in the hub's feed up to `seen`; the mark above is older than its coming back.
    later = [int(waiting)] if waiting is not None else []
    own = _oldest_claim(connection)
    return max(0, min([start, *later, *([own - 1] if own is not None else [])]))


def _own_claims(connection: Connection) -> dict[str, int]:
    """Uses that were granted here and that their gates have not uploaded, and where each stands in this feed: at its latest change."""
    ops = connection.scalars(
        select(claim_answer.c.op)
        .join(used, used.c.op == claim_answer.c.op)  # denied ones are no news
        .where(~select(operation.c.op).where(operation.c.op == claim_answer.c.op).exists())
    ).all()
    found: dict[str, int] = {}
    for start in range(0, len(ops), _CHUNK):
        keys = [bytes(op).hex() for op in ops[start : start + _CHUNK]]
        latest = (
            select(change.c.key, func.max(change.c.seq))
            .where(change.c.table == "used", change.c.key.in_(keys))
            .group_by(change.c.key)
        )
        found |= {key: int(seq) for key, seq in connection.execute(latest)}
    return found


def _oldest_claim(connection: Connection) -> int | None:
    """The place of the first of them: whoever comes from the hub lacks it."""
    return min(_own_claims(connection).values(), default=None)


def far_back(connection: Connection) -> list[str]:
    """Those of them that are to be told of again (`feed.touch`): a gate that died with a claim of its own would else make every device
    that comes from the hub read everything since.
    """
    edge = feed.position(connection) - CLAIM_BEHIND_MAX
    return sorted(key for key, seq in _own_claims(connection).items() if seq < edge)


def vouch_first(connection: Connection, *, put_back: bool) -> None:
    """For a database that says nothing of its ledger yet: it is whole, unless it was just found to be an older copy."""
    if connection.scalar(select(meta.c.value).where(meta.c.key == LEDGER)) is None:
        _put(connection, LEDGER, "" if put_back else feed.epoch(connection))


def vouches(connection: Connection) -> bool:
    """Whether all that was granted here is here. A restore begins another feed (hub.services.restore), whichever way it was noticed."""
    return connection.scalar(select(meta.c.value).where(meta.c.key == LEDGER)) == feed.epoch(connection)


def vouch_after(connection: Connection, epoch: int) -> bool:
    """Everything of the hub was heard, its newest arbiter's `epoch` with it. True where that was signed since this database was put back:
    the first one that is heard may be from before, so it takes a later one.
    """
    here = feed.epoch(connection)
    held = (connection.scalar(select(meta.c.value).where(meta.c.key == AFTER)) or "").split()
    if held[:1] != [here]:
        _put(connection, AFTER, f"{here} {epoch}")
        return False
    if epoch > int(held[1]):
        _put(connection, LEDGER, here)
        return True
    return False


def _forget_old(connection: Connection) -> None:
    count = connection.scalar(select(func.count()).select_from(relay_mark)) or 0
    if count > MARKS_MAX:
        edge = connection.scalar(
            select(relay_mark.c.position).order_by(relay_mark.c.position.desc()).offset(MARKS_MAX // 2).limit(1)
        )
        connection.execute(delete(relay_mark).where(relay_mark.c.position < edge))


def _epochs(connection: Connection) -> list[str]:
    """Every feed of the hub that this node has followed, the present one last."""
    return (connection.scalar(select(meta.c.value).where(meta.c.key == EPOCHS)) or "").split()


def _put(connection: Connection, key: str, value: str) -> None:
    connection.execute(delete(meta).where(meta.c.key == key))
    connection.execute(insert(meta), {"key": key, "value": value})
