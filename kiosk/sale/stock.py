"""Stock of this kiosk: its leases less what it took from them. Exact while offline, because nobody else sells from a lease.

Products without slots have no stock limit here and are never counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects.sqlite import insert

from kiosk.sale.errors import StockGone
from kiosk.sale.tables import Taken, stock_taken
from sync import granted
from tickets.order import Order

_TAKEN = (
    select(func.coalesce(func.sum(stock_taken.c.count), 0))
    .where(stock_taken.c.slot == bindparam("slot"), stock_taken.c.state != Taken.RELEASED)
    .where(stock_taken.c.order != bindparam("order"))
)
_SETTLE = (
    update(stock_taken)
    .where(stock_taken.c.order == bindparam("b_order"))
    .values(state=bindparam("b_state"), at=bindparam("b_at"))
)
_OLD_HOLDS = select(stock_taken.c.order).where(
    stock_taken.c.state == Taken.HELD, stock_taken.c.boot != bindparam("boot")
)


def wanted(order: Order) -> Mapping[str, int]:
    """How many of each slot an order takes."""
    counts: dict[str, int] = {}
    for line in order.lines:
        if line.slot is not None:
            counts[line.slot.slot] = counts.get(line.slot.slot, 0) + line.count
    return counts


def left(connection: Connection, slot: granted.SlotLease, *, besides: str = "") -> int:
    """What this kiosk may still sell of a slot; `besides` names an order whose own holds do not count."""
    return slot.quantity - int(connection.execute(_TAKEN, {"slot": slot.slot.slot, "order": besides}).scalar_one())


def hold(connection: Connection, order: str, counts: Mapping[str, int], *, boot: str, now: datetime) -> None:
    """Hold exactly `counts` for `order`, replacing what it held before. Raises StockGone, and then holds nothing new."""
    leases = {lease.slot.slot: lease for lease in granted.slot_leases(connection)}
    for slot, count in counts.items():
        lease = leases.get(slot)
        remaining = 0 if lease is None else left(connection, lease, besides=order)
        if remaining < count:
            raise StockGone(slot, wanted=count, remaining=max(0, remaining))
    release(connection, order, now=now)
    for slot, count in counts.items():
        statement = insert(stock_taken).values(
            order=order, slot=slot, count=count, state=Taken.HELD, boot=boot, at=now.isoformat()
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["order", "slot"],
                set_={"count": count, "state": Taken.HELD, "boot": boot, "at": now.isoformat()},
            )
        )


def wish(connection: Connection, order: str, counts: Mapping[str, int], *, now: datetime) -> None:
    """Say what `order` lacks of its slots, so that the sync daemon asks for it: nobody else knows that a guest stands here."""
    leases = {lease.slot.slot: lease for lease in granted.slot_leases(connection)}
    for slot, count in counts.items():
        lease = leases.get(slot)
        missing = 0 if lease is None else count - left(connection, lease, besides=order)
        if lease is None or missing <= 0:
            continue
        values = {"quantity": lease.quantity + missing, "at": now.isoformat()}
        statement = insert(granted.lease_wish).values(slot=slot, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["slot"], set_=values))


def sell(connection: Connection, order: str, *, now: datetime) -> None:
    """What was held is sold. In the transaction of the sale."""
    held = update(stock_taken).where(stock_taken.c.order == order, stock_taken.c.state == Taken.HELD)
    connection.execute(held.values(state=Taken.SOLD, at=now.isoformat()))


def release(connection: Connection, order: str, *, now: datetime) -> None:
    """Give back whatever the order holds or bought."""
    connection.execute(_SETTLE, {"b_order": order, "b_state": Taken.RELEASED, "b_at": now.isoformat()})


def say_selling(connection: Connection, *, is_open: bool, now: datetime) -> None:
    """Whether this kiosk's program sells, for the sync daemon, which gives back the leases of one that has closed."""
    values = {"is_open": int(is_open), "at": now.isoformat()}
    statement = insert(granted.selling).values(one=1, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["one"], set_=values))


def left_behind(connection: Connection, *, boot: str) -> tuple[str, ...]:
    """Orders whose holds an earlier run of the engine left open."""
    return tuple(dict.fromkeys(connection.execute(_OLD_HOLDS, {"boot": boot}).scalars()))
