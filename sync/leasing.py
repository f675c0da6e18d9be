"""Keeps a kiosk supplied with what it may sell while offline, and gives back what it does not need: stock of each open slot, and numbers
for short ids.

How much it holds follows from how fast it sells. Every wish names totals, so repeating it is harmless; what is returned is written down
before it is said, in a transaction in which nobody else can hold it, so a kiosk never sells what it has just given back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select, update

from sync import granted, grants
from sync.client import Hub
from sync.journal import Journal
from sync.protocol import BLOCK_LENGTHS, HUB, LeaseRequest
from sync.spending import RATE_TIME, Spending
from tickets.clock import Clock

SLOT_UNITS = 10
"""How many units of a slot a kiosk holds unsold when it is full and sells slowly."""
SLOT_UNITS_MAX = 200
COVER = timedelta(minutes=90)
"""A kiosk that sells fast holds what it would sell in so long a time without a line."""
KEEP_WHEN_WANTED = timedelta(minutes=1)
"""Where another kiosk's guest waits, what this one would sell in so short a time stays here."""
IDLE = timedelta(minutes=10)
"""A slot that sold nothing for so long goes back to what slow selling needs."""
CLOSED = timedelta(seconds=30)
"""A program that stopped may only be starting anew; after this time it has closed, and its leases are given back."""
WISH = timedelta(seconds=30)
"""So long a guest's wish stands, that somebody else may give back what it needs."""
ASK_AGAIN_S, ASK_AGAIN_URGENT_S = 30.0, 1.0
"""What the hub did not give it may have later; so long it is not asked again for the same."""
WISHES_MAX = 16
"""So many slots are asked for in one request."""
LINE_FRESH_S = 60.0
"""Nothing is returned unless the hub was heard of within this time: what is returned into a dead line nobody can sell."""
NUMBERS_MIN = {6: 500, 8: 5_000}
"""So many numbers are left at least, before the first sales say more; after that three times the busiest day's."""
PEAK_DAYS = 3
BLOCK_NUMBERS = {6: 1_000, 8: 10_000}
LENGTHS_PRINTED = {6: (6,), 8: (9, 12)}
"""Which digits on tickets come from blocks of a length; twelve are what a kiosk makes where there are no blocks left."""
_PEAK = granted.SHORT_ID_PEAK


@dataclass(frozen=True, slots=True)
class _Need:
    """What is to be said of one slot: to be asked for on top, to be returned first."""

    slot: str
    more: int
    spare: int
    urgent: bool


class LeaseKeeper:
    """One step asks the hub when something runs low, a guest waits, or something is to be returned. For kiosks."""

    def __init__(
        self, journal: Journal, hub: Hub, *, clock: Clock, slot_units: int = SLOT_UNITS, units_max: int = SLOT_UNITS_MAX
    ) -> None:
        self._journal, self._hub, self._clock = journal, hub, clock
        self._units, self._units_max = slot_units, max(slot_units, units_max)
        self._spending = Spending(journal)
        self._asked: dict[str, tuple[int, float]] = {}
        self._asked_blocks: tuple[tuple[tuple[int, int], ...], float] = ((), float("-inf"))
        self._said: dict[str, tuple[int, float]] = {}
        self._heard_s = float("-inf")
        self._lender = HUB

    def heard(self, at_s: float | None = None) -> None:
        """The line is there: something got an answer just now, or at this moment of the device's steady clock."""
        self._heard_s = max(self._heard_s, self._clock.monotonic_s() if at_s is None else at_s)

    def step(self, *, closing: bool = False) -> bool:
        """Whether something new is in force. `closing`: this device goes off, so what a closed kiosk holds is returned without waiting.
        Raises HubUnreachable, HubRefused.
        """
        now, now_s = self._clock.now_utc(), self._clock.monotonic_s()
        self.end_old_blocks(now)
        self._spending.update()
        with self._journal.read() as connection:
            needs = self._needs(connection, now, closing=closing)
        if now_s - self._heard_s > LINE_FRESH_S:
            needs = [_Need(need.slot, need.more, 0, need.urgent) for need in needs]
        if any(need.spare for need in needs):
            with self._journal.write() as connection:
                needs = self._needs(connection, now, closing=closing)  # again, now that nobody else can hold or sell
                for need in needs:
                    if need.spare:
                        grants.give_back(
                            connection,
                            need.slot,
                            need.spare,
                            incarnation=self._journal.incarnation,
                            lender=self._lender,
                        )
        wanted = self._request(needs, now_s)
        if not wanted.slots and not wanted.blocks:
            return False
        answer = self._hub.lease(wanted)
        self._said.update({wish.slot: (wish.returned.get(self._lender, 0), now_s) for wish in wanted.slots})
        self._asked.update({wish.slot: (wish.more, now_s) for wish in wanted.slots if wish.more})
        if wanted.blocks:
            self._asked_blocks = (wanted.blocks, now_s)
        self._lender = answer.lender
        self.heard()
        with self._journal.write() as connection:
            grants.apply_lease(connection, answer, incarnation=wanted.incarnation)
            self._journal.grants_are_in(connection)
            connection.execute(delete(granted.lease_wish).where(granted.lease_wish.c.at <= (now - WISH).isoformat()))
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

    # --- stock

    def _needs(self, connection: Connection, now: datetime, *, closing: bool) -> list[_Need]:
        closed_at = granted.closed_since(connection)
        is_closed = closed_at is not None and (closing or now - closed_at >= CLOSED)
        wishes = {row.slot: row for row in connection.execute(select(granted.lease_wish))}
        wanted = {row.slot: row.units for row in connection.execute(select(granted.slot_wanted))}
        mine = {row.slot: row for row in self._lent_rows(connection) if row.lender == self._lender}
        of_engine = granted.stock_taken_by_slot(connection)
        needs = []
        for held in granted.slot_leases(connection):
            slot = held.slot.slot
            if held.slot.ends_at <= now:
                continue
            # Holds count, and the journal counts where it knows more: a fresh one carries on an old one's sales.
            taken = max(of_engine.get(slot, 0), self._spending.sold[slot])
            left = held.quantity - taken
            row = mine.get(slot)
            returnable = 0 if row is None else max(0, min(left, row.lent - row.returned))
            more, urgent = 0, False
            wish = wishes.get(slot)
            if wish is not None and datetime.fromisoformat(wish.at) > now - WISH and wish.quantity > held.quantity:
                more, urgent = wish.quantity - held.quantity, True
            target = self._target(slot, now)
            if is_closed:
                more, spare, urgent = 0, returnable, False
            elif row is not None and row.back:
                more, spare, urgent = 0, min(returnable, row.back), False
            elif urgent:
                spare = 0
            elif wanted.get(slot):
                keep = self._sold_in(KEEP_WHEN_WANTED, slot, now)
                spare = min(returnable, max(0, left - keep))
            else:
                last = self._spending.last_sale(slot)
                is_idle = last is None or now - last >= IDLE
                spare = min(returnable, max(0, left - target)) if is_idle else 0
                if held.free > 0 and left * 2 < target:
                    more = target - left
            needs.append(_Need(slot, more, spare, urgent))
        return needs

    def _target(self, slot: str, now: datetime) -> int:
        return min(self._units_max, max(self._units, self._sold_in(COVER, slot, now)))

    def _sold_in(self, time: timedelta, slot: str, now: datetime) -> int:
        """So many units would be sold in this time, at the pace of the last hour; rounded up."""
        return -(-self._spending.recent(slot, now=now) * int(time.total_seconds()) // int(RATE_TIME.total_seconds()))

    def _lent_rows(self, connection: Connection) -> list[granted.LentRow]:
        return granted.lent_rows(connection, self._journal.incarnation)

    def _may_ask(self, need: _Need, now_s: float) -> bool:
        """What was asked for and not given is asked for again after a while; anything else at once."""
        more, asked_s = self._asked.get(need.slot, (0, float("-inf")))
        pause_s = ASK_AGAIN_URGENT_S if need.urgent else ASK_AGAIN_S
        return need.more > 0 and (need.more != more or now_s >= asked_s + pause_s)

    def _may_say(self, row: granted.LentRow, now_s: float) -> bool:
        """A return that got an answer without a word about it (its slot is over there) is said again after a while."""
        total, said_s = self._said.get(row.slot, (0, float("-inf")))
        return row.returned != total or now_s >= said_s + ASK_AGAIN_S

    def _request(self, needs: list[_Need], now_s: float) -> LeaseRequest:
        """Totals of every slot of which there is something to say, and of a few to be asked for: a guest's first, then the soonest. The
        hub has one writer, and claims wait behind it.
        """
        asked = sorted((need for need in needs if self._may_ask(need, now_s)), key=lambda need: not need.urgent)
        more = {need.slot: need for need in asked[:WISHES_MAX]}
        with self._journal.read() as connection:
            rows = self._lent_rows(connection)
            blocks = self._blocks(connection)
        if blocks == self._asked_blocks[0] and now_s < self._asked_blocks[1] + ASK_AGAIN_S:
            blocks = ()
        unsaid = {
            row.slot
            for row in rows
            if row.returned > row.told and row.lender == self._lender and self._may_say(row, now_s)
        }
        wishes = []
        for slot in sorted({*more, *unsaid}):
            need = more.get(slot, _Need(slot, more=0, spare=0, urgent=False))
            wishes.append(replace(granted.totals(rows, slot), more=need.more, urgent=need.urgent))
        return LeaseRequest(self._journal.incarnation, slots=tuple(wishes), blocks=blocks)

    # --- numbers

    def _blocks(self, connection: Connection) -> tuple[tuple[int, int], ...]:
        wanted = []
        for length in BLOCK_LENGTHS:
            need = max(NUMBERS_MIN[length], PEAK_DAYS * self._peak(connection, length))
            missing = need - granted.short_ids_left(connection, length)
            ranges = granted.short_blocks(connection, length)
            if missing > 0 or not ranges:
                wanted.append((length, len(ranges) + max(1, -(-missing // BLOCK_NUMBERS[length]))))
        return tuple(wanted)

    def _peak(self, connection: Connection, length: int) -> int:
        """The busiest day's need, as far back as this device remembers: its journal may be shorter than its life."""
        text = connection.scalar(select(granted.document.c.text).where(granted.document.c.name == _PEAK))
        before = json.loads(text).get(str(length), 0) if text else 0
        return max(int(before), self._spending.peak(LENGTHS_PRINTED[length]))

    def remember_peak(self) -> None:
        """Keep the busiest day's need where it outlives the operations it was counted from."""
        with self._journal.read() as connection:
            text = connection.scalar(select(granted.document.c.text).where(granted.document.c.name == _PEAK))
            now = json.dumps({str(length): self._peak(connection, length) for length in BLOCK_LENGTHS})
        if now != text:
            with self._journal.write() as connection:
                grants.remember(connection, _PEAK, now, at=self._clock.now_utc())
