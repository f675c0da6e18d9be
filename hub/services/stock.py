"""Stock and short ids, lent to kiosks in parts so that they can sell without asking.

A request names totals, so a lost or doubled one changes nothing. What is lent is never taken back by itself: a lease ends when it
is returned, when its slot is over, or when a named person takes it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from hub.services import feed
from hub.tables import lease, short_block, slot, stamp
from sync.protocol import BlockGrant, LeaseAnswer, LeaseRequest, SlotGrant
from tickets.ids import DeviceId

BLOCK_SIZE = {6: 1_000, 8: 10_000}
"""How many numbers a block has: a kiosk's busiest day fits into one block of six."""
POOL = {6: 1_000_000, 8: 100_000_000}


@dataclass(frozen=True, slots=True)
class _Holder:
    device: DeviceId
    incarnation: int


def lend(connection: Connection, wanted: LeaseRequest, *, device: DeviceId, now: datetime) -> LeaseAnswer:
    """Lend as much of what is wanted as there is. Slots that do not exist or are over are not in the answer."""
    who = _Holder(device, wanted.incarnation)
    slots = [_lend_slot(connection, name, quantity, who=who, now=now) for name, quantity in wanted.slots]
    for length, count in wanted.blocks:
        _lend_blocks(connection, length, count, who=who, now=now)
    lengths = [length for length, _ in wanted.blocks]
    blocks = connection.execute(
        select(short_block)
        .where(
            short_block.c.device == device,
            short_block.c.incarnation == wanted.incarnation,
            short_block.c.length.in_(lengths),
        )
        .order_by(short_block.c.length, short_block.c.first)
    )
    return LeaseAnswer(
        slots=tuple(item for item in slots if item is not None),
        blocks=tuple(BlockGrant(row.length, row.first, row.last) for row in blocks),
        at=now,
    )


def _lend_slot(connection: Connection, name: str, quantity: int, *, who: _Holder, now: datetime) -> SlotGrant | None:
    found = connection.execute(select(slot).where(slot.c.slot == name).with_for_update()).first()
    if found is None or found.ends_at <= stamp(now):
        return None
    mine = (lease.c.slot == name, lease.c.device == who.device, lease.c.incarnation == who.incarnation)
    held = connection.scalar(select(lease.c.quantity).where(*mine))
    more = max(0, min(quantity - (held or 0), found.capacity - found.leased))
    if more:
        if held is None:
            row = {"slot": name, "device": who.device, "incarnation": who.incarnation, "quantity": more}
            connection.execute(insert(lease), row)
        else:
            connection.execute(update(lease).where(*mine).values(quantity=held + more))
        connection.execute(update(slot).where(slot.c.slot == name).values(leased=slot.c.leased + more))
        feed.touch(connection, "slot", [name])
    return SlotGrant(slot=name, quantity=(held or 0) + more, free=found.capacity - found.leased - more)


def _lend_blocks(connection: Connection, length: int, count: int, *, who: _Holder, now: datetime) -> None:
    mine = select(func.count()).where(
        short_block.c.length == length,
        short_block.c.device == who.device,
        short_block.c.incarnation == who.incarnation,
    )
    held = int(connection.scalar(mine.select_from(short_block)) or 0)
    last = connection.scalar(select(func.max(short_block.c.last)).where(short_block.c.length == length))
    first = 0 if last is None else last + 1
    size = BLOCK_SIZE[length]
    while held < count and first + size <= POOL[length]:
        block = {
            "length": length,
            "first": first,
            "last": first + size - 1,
            "device": who.device,
            "incarnation": who.incarnation,
            "at": stamp(now),
        }
        connection.execute(insert(short_block), block)
        held, first = held + 1, first + size
