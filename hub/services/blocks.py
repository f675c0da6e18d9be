"""Numbers for short ids, lent to kiosks in blocks so that no ticket waits for a line to get its digits.

A request names how many blocks in force a kiosk wants, so a lost or doubled one changes nothing. Six digits are unique among the
tickets usable on one day, so blocks of six go round: a kiosk prints from one for a few business days, and once no ticket with its
digits can be used any more it is lent again. Nine digits are for tickets that last, and never come back. Where both pools are used up
a kiosk gets none, and makes longer ones of its own (kiosk.sale.numbers).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from hub.database import take_turns
from hub.services import venue
from hub.tables import short_block, stamp, ticket
from sync.protocol import BlockGrant
from tickets import short_id
from tickets.business_day import BusinessDay
from tickets.ids import DeviceId
from tickets.short_id import SIX

BLOCK_SIZE = {6: 1_000, 8: 10_000}
"""How many numbers a block has. A kiosk asks for as many blocks as its three busiest days need."""
POOL = {6: 1_000_000, 8: 100_000_000}
PRINT_DAYS = 3
"""On so many business days, that of the grant counted, a kiosk prints from a block of six."""
REST_DAYS = 3
"""So many business days more it rests before anybody gets it again: sales may still be waiting for a line."""


@dataclass(frozen=True, slots=True)
class _Holder:
    device: DeviceId
    incarnation: int


def lend(
    connection: Connection,
    wanted: tuple[tuple[int, int], ...],
    *,
    device: DeviceId,
    incarnation: int,
    now: datetime,
) -> tuple[BlockGrant, ...]:
    """Lend until the device holds as many blocks in force of each (length, count) as it wants, or as there are. All it holds of them."""
    who = _Holder(device, incarnation)
    for length, count in wanted:
        _lend_blocks(connection, length, count, who=who, now=now)
    lengths = [length for length, _ in wanted]
    if not lengths:
        return ()
    blocks = connection.execute(
        select(short_block)
        .where(*_held_by(who), short_block.c.length.in_(lengths))
        .order_by(short_block.c.length, short_block.c.first)
    ).all()
    day = _business_day(connection)
    grants = [
        BlockGrant(row.length, row.first, row.last, until=_prints_until(day, row) if row.length == SIX else None)
        for row in blocks
    ]
    return tuple(grant for grant in grants if grant.until is None or grant.until > now)


def _held_by(who: _Holder) -> tuple[ColumnElement[bool], ...]:
    return short_block.c.device == who.device, short_block.c.incarnation == who.incarnation


def _business_day(connection: Connection) -> BusinessDay:
    catalogue = venue.find_catalogue(connection)
    return BusinessDay("UTC", 0) if catalogue is None else catalogue.venue.day


def _prints_until(day: BusinessDay, row: Any) -> datetime:
    granted_on = day.of(datetime.fromisoformat(row.at))
    return day.starts(granted_on + timedelta(days=PRINT_DAYS))


def _lend_blocks(connection: Connection, length: int, count: int, *, who: _Holder, now: datetime) -> None:
    """Lend blocks until `who` holds `count` in force: new ones while there are any, then those that rested longest."""
    take_turns(connection, "short blocks")
    day = _business_day(connection)
    mine = connection.execute(select(short_block).where(*_held_by(who), short_block.c.length == length)).all()
    held = sum(length != SIX or _prints_until(day, row) > now for row in mine)
    last = connection.scalar(select(func.max(short_block.c.last)).where(short_block.c.length == length))
    first = 0 if last is None else last + 1
    size = BLOCK_SIZE[length]
    values = {"device": who.device, "incarnation": who.incarnation, "at": stamp(now)}
    while held < count and first + size <= POOL[length]:
        block = {"length": length, "first": first, "last": first + size - 1, **values}
        connection.execute(insert(short_block), block)
        held, first = held + 1, first + size
    if length != SIX:
        return
    while held < count and (rested := _rested(connection, day, now=now)) is not None:
        connection.execute(
            update(short_block).where(short_block.c.length == SIX, short_block.c.first == rested).values(values)
        )
        held += 1


def _rested(connection: Connection, day: BusinessDay, *, now: datetime) -> int | None:
    """The first number of the block of six that was granted longest ago, if its time is over and no ticket known here that bears its
    digits can still be used. None where there is none.
    """
    before = day.starts(day.of(now) - timedelta(days=PRINT_DAYS + REST_DAYS - 1))
    old = connection.execute(
        select(short_block.c.first, short_block.c.last)
        .where(short_block.c.length == SIX, short_block.c.at < stamp(before))
        .order_by(short_block.c.at, short_block.c.first)
    )
    for row in old.all():
        usable = select(ticket.c.ticket).where(
            ticket.c.short_id.between(short_id.six(row.first), short_id.six(row.last)),
            func.length(ticket.c.short_id) == SIX,
            ticket.c.expires > int(now.timestamp()),
        )
        if connection.execute(usable.limit(1)).first() is None:
            return int(row.first)
    return None
