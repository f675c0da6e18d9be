"""Telling a restored hub what this device holds, and giving back the operations that it lost.

Every incarnation in the file is told and given back by itself, the oldest first: each is a chain of its own at the hub, and what was
acknowledged of an earlier one is nowhere else. The hub waits for this device until the last word says that it was all.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import select

from sync import granted
from sync.client import Hub
from sync.errors import HubRefused
from sync.journal import Journal, anchor
from sync.protocol import BlockGrant, Rejoin
from sync.pruning import note_given_back, note_lost


def holdings(journal: Journal, *, incarnation: int | None = None) -> Rejoin:
    """All that an incarnation (the present one unless another is named) was lent and has returned, whether sold or not, and how far its
    operations were acknowledged. Blocks are the file's, so the present one's.
    """
    present = incarnation is None or incarnation == journal.incarnation
    mine = journal.incarnation if incarnation is None else incarnation
    with journal.read() as connection:
        done = connection.scalar(select(anchor.c.seq).where(anchor.c.incarnation == mine))
        lent = granted.lent_rows(connection, mine) if present else granted.ended_rows(connection, mine)
        table = granted.short_block
        blocks = [
            BlockGrant(
                row.length, row.first, row.last, None if row.until is None else datetime.fromisoformat(row.until)
            )
            for row in connection.execute(select(table).order_by(table.c.length, table.c.first))
            if present
        ]
        arbiter = granted.arbiter_text(connection)
    slots = tuple(granted.totals(lent, slot) for slot in sorted({row.slot for row in lent}))
    return Rejoin(mine, acknowledged=done or 0, slots=slots, blocks=tuple(blocks), arbiter=arbiter)


def rejoin(journal: Journal, hub: Hub) -> int:
    """Say it, and send again what the hub does not have any more; how many operations that were.

    Raises HubUnreachable, and HubRefused where operations are missing at both ends.
    """
    sent = 0
    for incarnation in journal.earlier_incarnations():
        held = replace(holdings(journal, incarnation=incarnation), whole=False)
        sent += _give_back(journal, hub, held, known=hub.rejoin(held))
    held = holdings(journal)
    known = hub.rejoin(held)
    if known < held.acknowledged:
        sent += _give_back(journal, hub, held, known=known)
        hub.rejoin(held)  # it is all there now: whoever waits for this device goes on
    return sent


def _give_back(journal: Journal, hub: Hub, held: Rejoin, *, known: int) -> int:
    """Send an incarnation's operations from `known` on to where they were acknowledged; how many."""
    sent = 0
    if known < held.acknowledged:
        note_lost(journal, known, incarnation=held.incarnation)
    while known < held.acknowledged:
        earlier = journal.sent_segment(known + 1, incarnation=held.incarnation)
        if earlier is None:
            journal.mark_hole(held.incarnation, known)
            raise HubRefused(
                f"the hub lost operations from {held.incarnation}.{known + 1} on, and they are not here any more",
                status=409,
                error="chain_gap",
                known_seq=known,
            )
        note_given_back(journal, earlier, hub.operations(earlier).cursor)
        sent += len(earlier.bodies)
        known = earlier.last
    return sent
