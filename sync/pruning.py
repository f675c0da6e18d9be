"""Deletion: what the hub has answered, every cache of this device holds, and nobody needs any more leaves the journal.

Deleting moves nothing that the chain rests on: the anchor (last acknowledged number and hash) stays, and the operation at the anchor
too, so that the next append knows its number. Rejected operations stay until a person has settled them at the hub. One transaction
of a bounded number of rows at a time, so that no gate waits for it; killed in the middle, the next run goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from sync.chain import Segment
from sync.journal import Journal, anchor, answer, checkpoint, covered, operation, segment
from sync.protocol import Status, has_reached

KEPT_DAYS = 45
"""As long as the hub's feed remembers deletions: a hub restored from a backup of that age gets everything again."""
LOW_KEPT_DAYS = 2
"""On a disk that is nearly full. An order that is still being cleared up is read from its own operation, so not sooner."""
ROWS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many operations went, and whether there may be more."""

    operations: int = 0
    more: bool = False


def note_covered(journal: Journal, cursors: Iterable[Sequence[str]]) -> int:
    """Work out up to which operation every cache file in `cursors` stands for this device's own rows, and keep it. Returns it. Of each
    file come the places in every feed that it has rows from: a mark belongs to the feed of whoever answered, hub or venue node.

    This is the write checkpoint: a row is laid over the cache until the *downloaded* cursor has reached the one that the hub named
    with its answer. An answer alone says that the hub has it, not that this device's cache has it back. What only a venue node has stays
    laid over as well: the next cache may come from the hub.
    """
    found = tuple(cursors)
    incarnation = journal.incarnation
    with journal.read() as connection:
        before = covered_seq(connection, incarnation)
        at_hub = journal.hub_seq_in(connection)
        marks = connection.execute(
            select(checkpoint.c.seq, checkpoint.c.cursor)
            .where(checkpoint.c.incarnation == incarnation)
            .order_by(checkpoint.c.seq)
        ).all()
    # A hub that took an operation had all before it, so the latest mark that is reached speaks for the earlier ones too: also for those of
    # a feed that ended when the hub was restored, which nobody reaches any more.
    reached = [
        row.seq
        for row in marks
        if found and all(any(has_reached(cursor, row.cursor) for cursor in places) for places in found)
    ]
    seq: int = max(before, min(at_hub, max(reached, default=0)))
    if seq == before and not any(row.seq <= seq for row in marks):
        return seq
    with journal.write() as connection:
        statement = upsert(covered).values(incarnation=incarnation, seq=seq)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["incarnation"], set_={"seq": statement.excluded.seq})
        )
        connection.execute(delete(checkpoint).where(checkpoint.c.incarnation == incarnation, checkpoint.c.seq <= seq))
    return seq


def note_lost(journal: Journal, known_seq: int, *, incarnation: int | None = None) -> None:
    """The hub was restored and has this incarnation's operations up to `known_seq` only: what a cache has from it from here on may lack
    the others, so they are laid over it again until their own marks are reached.
    """
    incarnation = journal.incarnation if incarnation is None else incarnation
    with journal.write() as connection:
        connection.execute(
            update(covered).where(covered.c.incarnation == incarnation, covered.c.seq > known_seq).values(seq=known_seq)
        )
        connection.execute(
            delete(checkpoint).where(checkpoint.c.incarnation == incarnation, checkpoint.c.seq > known_seq)
        )


def note_given_back(journal: Journal, sent: Segment, cursor: str | None) -> None:
    """The hub has taken a segment again, which it had lost: its effects are in the feed from `cursor` on."""
    if cursor is None:
        return
    with journal.write() as connection:
        statement = upsert(checkpoint).values(incarnation=sent.incarnation, seq=sent.last, cursor=cursor)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["incarnation", "seq"], set_={"cursor": statement.excluded.cursor}
            )
        )


def covered_seq(connection: Connection, incarnation: int) -> int:
    """Up to which number every cache holds what this device did; 0 when nothing is known."""
    return int(connection.scalar(select(covered.c.seq).where(covered.c.incarnation == incarnation)) or 0)


def prune(journal: Journal, *, now: datetime, kept_days: float = KEPT_DAYS, rows_max: int = ROWS_MAX) -> Pruned:
    """Delete the oldest operations that are answered, covered and older than `kept_days` by the time of their answer.

    With a nearly full disk the caller asks for fewer days. What is freed is used again by the journal itself.
    """
    incarnation = journal.incarnation
    bound = (now - timedelta(days=kept_days)).isoformat()
    with journal.write() as connection:
        held = connection.execute(select(anchor.c.seq).where(anchor.c.incarnation == incarnation)).first()
        answered = 0 if held is None else held.seq - 1
        last = min(answered, covered_seq(connection, incarnation), journal.hub_seq_in(connection))
        may_go = (
            select(operation.c.seq, operation.c.op)
            .join(answer, answer.c.op == operation.c.op)
            .where(
                operation.c.incarnation == incarnation,
                operation.c.seq <= last,
                answer.c.status != Status.REJECTED,
                answer.c.at <= bound,
            )
            .order_by(operation.c.seq)
            .limit(rows_max)
        )
        gone = connection.execute(may_go).all()
        if not gone:
            return Pruned()
        rows = [{"seq_gone": row.seq, "op_gone": row.op} for row in gone]
        raw = connection.exec_driver_sql
        raw("DELETE FROM answer WHERE op = ?", [(row["op_gone"],) for row in rows])
        raw(
            "DELETE FROM operation WHERE incarnation = ? AND seq = ?",
            [(incarnation, row["seq_gone"]) for row in rows],
        )
        oldest = connection.scalar(select(func.min(operation.c.seq)).where(operation.c.incarnation == incarnation))
        connection.execute(delete(segment).where(segment.c.incarnation == incarnation, segment.c.last < (oldest or 0)))
    return Pruned(len(gone), more=len(gone) == rows_max)
