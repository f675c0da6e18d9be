"""A kiosk's journal that the hub contradicts goes on by itself, in a new incarnation, in the same file.

The disk was put back to an earlier time, or copied: what was sold since then stands at the hub and nowhere here. So nothing is taken for
granted: the file is copied whole first (evidence, never deleted); what the hub has not answered is chained again, word for word and
under its own op ids, so that it is counted once whether or not the hub had it; and every lease and every number for short ids ends here, because
nobody on this device can say what is left of them. Until the hub has given new ones the kiosk does not sell (`Journal.forked`).

A gate does not come here: it sets its journal aside and carries its uses over (scanner.gate.rescue).
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from sync import grants
from sync.chain import ZERO_HASH
from sync.errors import MessageError
from sync.journal import (
    FORKED,
    HOLE,
    RENEWED,
    Journal,
    anchor,
    last_set_aside,
    mending,
    meta,
    operation,
    segment,
    set_aside_file,
)
from sync.operation import Incarnation, Previous, Sale, SaleReversed, from_body
from sync.state import StateDir, sync_directory
from tickets.clock import Clock
from tickets.ids import OpId, RandomBytes

REASON = "forked"
REASON_HOLE = "hole"
"""A restored hub lacks what this journal has deleted: `previous` names the last operation before the hole."""
log = structlog.get_logger()


def begin_afresh(state: StateDir, journal: Journal, *, clock: Clock, random_bytes: RandomBytes) -> bool:
    """Start the next incarnation in a journal that is marked as forked; False when it is not marked (any more). One transaction: a power
    cut leaves the mark, and it is done again. Raises DBAPIError, OSError.
    """
    with mending(state):
        if not _marked(journal):
            return False
        copy = _copy(state)
        with journal.write() as connection:
            if connection.scalar(select(meta.c.value).where(meta.c.key == FORKED)) is None:
                return False
            again = _go_on(state, journal, connection, clock=clock, random_bytes=random_bytes)
    log.error("journal_began_afresh", incarnation=journal.incarnation, operations=again, copy=copy.name)
    return True


def _marked(journal: Journal) -> bool:
    with journal.read() as connection:
        return connection.scalar(select(meta.c.value).where(meta.c.key == FORKED)) is not None


def _go_on(
    state: StateDir, journal: Journal, connection: Connection, *, clock: Clock, random_bytes: RandomBytes
) -> int:
    old = int(connection.execute(select(meta.c.value).where(meta.c.key == "incarnation")).scalar_one())
    done = connection.execute(select(anchor.c.seq, anchor.c.hash).where(anchor.c.incarnation == old)).first()
    seq, digest = (0, ZERO_HASH) if done is None else (done.seq, done.hash)
    tail = []
    hole = connection.scalar(select(meta.c.value).where(meta.c.key == HOLE))
    named = Previous(old, seq, digest.hex())
    if hole is not None:
        broken, last = (int(part) for part in hole.split("."))
        before = operation.c.incarnation == broken, operation.c.seq == last
        head = connection.scalar(select(operation.c.hash).where(*before)) or ZERO_HASH
        tail += _cut_off(connection, broken, last)
        connection.execute(update(anchor).where(anchor.c.incarnation == broken).values(seq=last, hash=head))
        connection.execute(delete(meta).where(meta.c.key == HOLE))
        named = Previous(broken, last, head.hex())
    tail += _cut_off(connection, old, seq)
    fresh = max(old, state.incarnation()) + 1
    state.save_incarnation(fresh)
    connection.execute(update(meta).where(meta.c.key == "incarnation").values(value=str(fresh)))
    grants.end_leases(connection, _sold(connection))
    birth = Incarnation(
        op=random_bytes(16).hex(),
        at=clock.now_utc().isoformat(),
        reason=REASON if hole is None else REASON_HOLE,
        previous=named,
    )
    journal.append(connection, birth)
    chained = [row for row in tail if row.kind != Incarnation.KIND]
    for row in chained:
        journal.append_body(connection, OpId(row.op), row.kind, row.body)
    why = connection.execute(select(meta.c.value).where(meta.c.key == FORKED)).scalar_one()
    connection.execute(delete(meta).where(meta.c.key == FORKED))
    mark = upsert(meta).values(key=RENEWED, value=why)
    connection.execute(mark.on_conflict_do_update(index_elements=["key"], set_={"value": why}))
    return len(chained)


def _cut_off(connection: Connection, incarnation: int, seq: int) -> list[Row[Any]]:
    """What an incarnation has after `seq`, in order, taken out of it."""
    after = (operation.c.incarnation == incarnation, operation.c.seq > seq)
    rows = connection.execute(select(operation).where(*after).order_by(operation.c.seq)).all()
    connection.execute(delete(operation).where(*after))
    connection.execute(delete(segment).where(segment.c.incarnation == incarnation, segment.c.last > seq))
    return list(rows)


def _sold(connection: Connection) -> Counter[str]:
    """Units by slot of the sales that stay under earlier incarnations, less those reversed: what the kiosk's own count holds of them."""
    sold: Counter[str] = Counter()
    sales: dict[str, Sale] = {}
    kinds = operation.c.kind.in_([Sale.KIND, SaleReversed.KIND])
    rows = select(operation.c.body).where(kinds).order_by(operation.c.incarnation, operation.c.seq)
    for body in connection.scalars(rows):
        try:
            what = from_body(body)
        except MessageError:
            continue
        match what:
            case Sale():
                sales[what.order] = what
                for slot, count in _slots(what):
                    sold[slot] += count
            case SaleReversed() if what.order in sales:
                for slot, count in _slots(sales.pop(what.order)):
                    sold[slot] -= count
            case _:
                pass
    return sold


def _slots(sale: Sale) -> list[tuple[str, int]]:
    return [(line.slot, line.count) for line in sale.lines if line.slot is not None]


def _copy(state: StateDir) -> Path:
    """The file as it is, whole, beside the others that were put away."""
    target = set_aside_file(state, last_set_aside(state) + 1)
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    with closing(sqlite3.connect(state.journal)) as source, closing(sqlite3.connect(fresh)) as copy:
        source.backup(copy)
    descriptor = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(target)
    sync_directory(state.path)
    return target
