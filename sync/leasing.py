"""Keeps a kiosk supplied with what it may sell while offline: stock of each open slot, and numbers for short ids.

What was sold of a slot is counted from the journal's own operations, read once each; what was taken of the numbers from the rows
that the sale engine writes when it takes them. A request names totals, so repeating it is harmless.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from sqlalchemy import bindparam, select, update

from sync import granted, grants
from sync.client import Hub
from sync.errors import MessageError
from sync.journal import Journal, operation
from sync.operation import Sale, SaleReversed, from_body
from sync.protocol import BLOCK_LENGTHS, LeaseRequest
from tickets.clock import Clock

SLOT_UNITS = 10
"""How many units of a slot a kiosk holds unsold when it is full."""
ASK_AGAIN_S = 30.0
"""What the hub did not give it may have later; so long it is not asked again for the same."""

_NEW = (
    select(operation.c.seq, operation.c.kind, operation.c.body)
    .where(operation.c.incarnation == bindparam("incarnation"), operation.c.seq > bindparam("seq"))
    .order_by(operation.c.seq)
)


class Spending:
    """What a journal's sales have taken of leases. Reads only operations it has not seen."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._seq = journal, 0
        self._sales: dict[str, Sale] = {}
        self.sold: Counter[str] = Counter()
        """Units sold by slot, reversed sales given back."""

    def update(self) -> None:
        with self._journal.read() as connection:
            rows = connection.execute(_NEW, {"incarnation": self._journal.incarnation, "seq": self._seq}).all()
        for row in rows:
            self._seq = row.seq
            if row.kind not in (Sale.KIND, SaleReversed.KIND):
                continue
            try:
                what = from_body(row.body)
            except MessageError:
                continue  # the hub will say so; counting goes on
            if isinstance(what, Sale):
                self._count(what)
            elif isinstance(what, SaleReversed) and what.order in self._sales:
                for line in self._sales.pop(what.order).lines:
                    if line.slot is not None:
                        self.sold[line.slot] -= line.count

    def _count(self, sale: Sale) -> None:
        if any(line.slot for line in sale.lines):
            self._sales[sale.order] = sale
        for line in sale.lines:
            if line.slot is not None:
                self.sold[line.slot] += line.count


class LeaseKeeper:
    """One step asks the hub when anything is below half. For kiosks."""

    def __init__(self, journal: Journal, hub: Hub, *, clock: Clock, slot_units: int = SLOT_UNITS) -> None:
        self._journal, self._hub, self._clock, self._units = journal, hub, clock, slot_units
        self._spending = Spending(journal)
        self._asked: LeaseRequest | None = None
        self._asked_s = float("-inf")

    def step(self) -> bool:
        """Whether something new is in force. Raises HubUnreachable, HubRefused."""
        now = self._clock.now_utc()
        self.end_old_blocks(now)
        self._spending.update()
        wanted = self._wanted(now)
        now_s = self._clock.monotonic_s()
        if not wanted.slots and not wanted.blocks:
            return False
        if wanted == self._asked and now_s < self._asked_s + ASK_AGAIN_S:
            return False
        answer = self._hub.lease(wanted)
        self._asked, self._asked_s = wanted, now_s
        with self._journal.write() as connection:
            grants.apply_lease(connection, answer)
            self._journal.grants_are_in(connection)
        return True

    def end_old_blocks(self, now: datetime) -> None:
        """Leave blocks whose time is over, with or without a line: soon they are somebody else's."""
        table = granted.short_block
        with self._journal.read() as connection:
            rows = connection.execute(
                select(table.c.length, table.c.first, table.c.until).where(
                    table.c.over == 0, table.c.until.is_not(None)
                )
            ).all()
        old = [row for row in rows if datetime.fromisoformat(row.until) <= now]
        if not old:
            return
        with self._journal.write() as connection:
            for row in old:
                here = (table.c.length == row.length, table.c.first == row.first)
                connection.execute(update(table).where(*here).values(over=1))

    def _wanted(self, now: datetime) -> LeaseRequest:
        slots, blocks = [], []
        with self._journal.read() as connection:
            before = {row.slot: row.quantity for row in connection.execute(select(granted.sold_before))}
            for held in granted.slot_leases(connection):
                quantity = held.quantity - before.get(held.slot.slot, 0)
                sold = self._spending.sold[held.slot.slot]
                if held.slot.ends_at > now and held.free > 0 and (quantity - sold) * 2 < self._units:
                    slots.append((held.slot.slot, sold + self._units))
            for length in BLOCK_LENGTHS:
                ranges = granted.short_blocks(connection, length)
                if not ranges or granted.short_ids_left(connection, length) * 2 < len(ranges[-1]):
                    blocks.append((length, len(ranges) + 1))
        return LeaseRequest(self._journal.incarnation, slots=tuple(slots), blocks=tuple(blocks))
