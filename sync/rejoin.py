"""Telling a restored hub what this device holds, and giving back the operations that it lost."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from sync import granted
from sync.client import Hub
from sync.errors import HubRefused
from sync.journal import Journal, anchor
from sync.protocol import BlockGrant, Rejoin
from sync.pruning import note_given_back, note_lost


def holdings(journal: Journal) -> Rejoin:
    """All that this incarnation was lent and has returned, whether sold or not, and how far its operations were acknowledged."""
    with journal.read() as connection:
        done = connection.scalar(select(anchor.c.seq).where(anchor.c.incarnation == journal.incarnation))
        lent = granted.lent_rows(connection, journal.incarnation)
        table = granted.short_block
        blocks = [
            BlockGrant(
                row.length, row.first, row.last, None if row.until is None else datetime.fromisoformat(row.until)
            )
            for row in connection.execute(select(table).order_by(table.c.length, table.c.first))
        ]
    slots = tuple(granted.totals(lent, slot) for slot in sorted({row.slot for row in lent}))
    return Rejoin(journal.incarnation, acknowledged=done or 0, slots=slots, blocks=tuple(blocks))


def rejoin(journal: Journal, hub: Hub) -> int:
    """Say it, and send again what the hub does not have any more; how many operations that were.

    Raises HubUnreachable, and HubRefused where operations are missing at both ends.
    """
    held = holdings(journal)
    known, sent = hub.rejoin(held), 0
    if known < held.acknowledged:
        note_lost(journal, known)
    while known < held.acknowledged:
        earlier = journal.sent_segment(known + 1)
        if earlier is None:
            raise HubRefused(
                f"the hub lost operations from {known + 1} on, and they are not here any more",
                status=409,
                error="chain_gap",
                known_seq=known,
            )
        note_given_back(journal, earlier, hub.operations(earlier).cursor)
        sent += len(earlier.bodies)
        known = earlier.last
    return sent
