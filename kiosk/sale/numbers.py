"""Numbers that people say: short ids from the kiosk's blocks, order numbers, claim numbers.

All are taken inside the transaction that makes them true, so none is ever given twice; a number taken for a sale that failed is
simply not used again.
"""

from __future__ import annotations

from datetime import date, datetime
from math import gcd

from sqlalchemy import Connection, bindparam, func, insert, select, update

from kiosk.sale.tables import claim_number, sale_order, short_id_taken
from sync import granted
from tickets import short_id
from tickets.ids import RandomBytes

SIX, EIGHT, ELEVEN = 6, 8, 11
"""Lengths of the blocks that the hub grants: six digits as they are, eight that get a check digit; eleven are of this kiosk's making."""

_TAKEN = select(func.count()).where(
    short_id_taken.c.length == bindparam("length"),
    short_id_taken.c.number.between(bindparam("first"), bindparam("last")),
)
_HELD = (
    select(short_id_taken.c.number)
    .where(short_id_taken.c.length == bindparam("length"), short_id_taken.c.order == bindparam("order"))
    .order_by(short_id_taken.c.number)
)
_KNOWN = select(short_id_taken.c.number).where(
    short_id_taken.c.length == bindparam("length"), short_id_taken.c.number == bindparam("number")
)
_FREE = update(short_id_taken).where(short_id_taken.c.order == bindparam("b_order")).values(order=bindparam("b_free"))
_REUSE = (
    update(short_id_taken)
    .where(short_id_taken.c.length == bindparam("b_length"), short_id_taken.c.number == bindparam("b_number"))
    .values(order=bindparam("b_order"))
)
NOBODY = granted.NOBODY
"""Holds the digits that were given back."""

_COUNTER = select(func.coalesce(func.max(sale_order.c.counter), 0)).where(sale_order.c.business_day == bindparam("day"))
_CLAIM = select(claim_number.c.claim).where(claim_number.c.order == bindparam("order"))


def take_short_ids(
    connection: Connection, order: str, *, six: int, nine: int, random_bytes: RandomBytes
) -> tuple[list[str], list[str]]:
    """`six` short ids of six digits and `nine` of nine. When the blocks of six are used up, nine digits serve instead; when those are gone
    too, twelve that this kiosk makes by chance. A sale never stops for digits.
    """
    sixes = [short_id.six(number) for number in _take(connection, order, SIX, six)]
    missing = six - len(sixes)
    nines = [short_id.nine(number) for number in _take(connection, order, EIGHT, nine + missing)]
    nines += _made(connection, order, nine + missing - len(nines), random_bytes=random_bytes)
    return sixes + nines[:missing], nines[missing:]


def _made(connection: Connection, order: str, count: int, *, random_bytes: RandomBytes) -> list[str]:
    """Twelve digits of chance, kept so that this kiosk makes none twice. Two kiosks could make the same:
    among ten thousand such tickets in force one pair in two thousand venues; then the desk is shown both.
    """
    numbers = _held(connection, ELEVEN, order)[:count]
    while len(numbers) < count:
        number = int.from_bytes(random_bytes(8)) % 10**ELEVEN
        if connection.scalar(_KNOWN, {"length": ELEVEN, "number": number}) is None:
            connection.execute(insert(short_id_taken), {"length": ELEVEN, "number": number, "order": order})
            numbers.append(number)
    return [short_id.twelve(number) for number in numbers]


def next_counter(connection: Connection, day: date) -> int:
    return int(connection.execute(_COUNTER, {"day": day.isoformat()}).scalar_one()) + 1


def order_number(label: str, day: date, counter: int) -> str:
    """As people say and print it: device, date, counter of the day."""
    return f"{label}-{day:%y%m%d}-{counter:04d}"


def claim(connection: Connection, order: str, counter: int, *, label: str, reason: str, now: datetime) -> str:
    """The claim number of an order; the same one each time. It carries the order's own counter, so a guest and the desk say one
    number for one thing.
    """
    known = connection.scalar(_CLAIM, {"order": order})
    if known is not None:
        return str(known)
    base = f"{label}-{counter:04d}"
    taken = connection.scalar(select(func.count()).where(claim_number.c.claim.like(f"{base}%"))) or 0
    text = base if taken == 0 else f"{base}-{taken + 1}"
    connection.execute(insert(claim_number), {"claim": text, "order": order, "reason": reason, "at": now.isoformat()})
    return text


def give_back(connection: Connection, order: str) -> None:
    """The order will not be sold: its digits are free for the next one."""
    connection.execute(_FREE, {"b_order": order, "b_free": NOBODY})


def _take(connection: Connection, order: str, length: int, count: int) -> list[int]:
    """First what the order has from an attempt that failed, then what others gave back, then numbers never given."""
    own = _held(connection, length, order)[:count]
    blocks = granted.short_blocks(connection, length)
    # Digits of a block whose time is over stay where they are: by now they may be on another kiosk's ticket.
    back = [number for number in _held(connection, length, NOBODY) if any(number in block for block in blocks)]
    freed = back[: count - len(own)]
    taken: list[int] = []
    for block in blocks:
        used = _used(connection, length, block)
        missing = count - len(own) - len(freed) - len(taken)
        taken.extend(_scattered(block, place) for place in range(used, min(len(block), used + missing)))
    for number in freed:
        connection.execute(_REUSE, {"b_length": length, "b_number": number, "b_order": order})
    if taken:
        connection.execute(
            insert(short_id_taken), [{"length": length, "number": number, "order": order} for number in taken]
        )
    return own + freed + taken


def _held(connection: Connection, length: int, order: str) -> list[int]:
    return list(connection.scalars(_HELD, {"length": length, "order": order}))


def _used(connection: Connection, length: int, block: range) -> int:
    """How many numbers of a block were given out; they are its first places in scattered order."""
    return int(
        connection.execute(_TAKEN, {"length": length, "first": block.start, "last": block.stop - 1}).scalar_one()
    )


def _scattered(block: range, place: int) -> int:
    """The number at a place of a block's order of giving: a walk in steps that share no factor with the block's size, so that each
    number comes once and neighbours in a queue do not hold neighbouring numbers.
    """
    size = len(block)
    step = next(step for step in range(size * 618 // 1000 | 1, size * 2 + 1) if gcd(step, size) == 1)
    return block.start + (block.start + 1 + place * step) % size
