"""How the stock of a slot stands, reckoned from the facts: what was lent and returned, what was sold, what a person took back.

The one place where the hub counts stock. It holds for every slot, and is asserted each time:

    leased unsold + sold + free + at risk = stock + beyond

`beyond` is 0 unless more is out than there is: the capacity was lowered, or a kiosk that had been given up came back with sales. No
count is moved from one drawer to another, so a message that is lost, doubled, late or out of order cannot make them disagree.

Sales count per *account*, not per journal: a device's own incarnations are one account, because what a new journal sends again was sold
from an old one's lease; and a venue node is one account with the kiosks that sell from what it borrowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from hub.services import feed
from hub.services.attention import note_trouble
from hub.tables import lease, lease_member, lease_taken, order, order_line, slot
from sync.protocol import SlotWish
from tickets.ids import DeviceId

OVERSOLD = "oversold"


@dataclass(frozen=True, slots=True)
class Account:
    """One holder's part of a slot, in units. `lent`, `returned` and `sold` are totals; `taken` what a person took back and has not shown
    up since as returned or sold.
    """

    lent: int = 0
    returned: int = 0
    sold: int = 0
    taken: int = 0

    @property
    def in_hand(self) -> int:
        """What the holder has and has not sold, for all that is known here."""
        return max(0, self.lent - self.returned - self.sold)

    @property
    def at_risk(self) -> int:
        """Of that, what was taken back: it may be sold already, or not."""
        return min(self.taken, self.in_hand)

    @property
    def leased(self) -> int:
        return self.in_hand - self.at_risk


@dataclass(frozen=True, slots=True)
class Stand:
    """How a slot's stock stands. `lendable` may be lent now; what of it is `at_risk` could turn out to be sold twice. `exposed`: so many
    taken-back units have been lent again while nobody knows of them.
    """

    stock: int
    leased: int
    sold: int
    free: int
    at_risk: int
    exposed: int
    beyond: int
    accounts: Mapping[bytes, Account]

    @property
    def lendable(self) -> int:
        return self.free + self.at_risk

    @property
    def oversold(self) -> int:
        """More sold than there is: not a risk any more."""
        return max(0, self.sold - self.stock)


def stand_of(stock: int, accounts: Mapping[bytes, Account]) -> Stand:
    """Pure: the drawers of one slot from its accounts."""
    leased = sum(one.leased for one in accounts.values())
    sold = sum(one.sold for one in accounts.values())
    doubtful = sum(one.at_risk for one in accounts.values())
    left = stock - leased - sold - doubtful
    free, short = max(0, left), max(0, -left)
    exposed = min(doubtful, short)
    beyond, at_risk = short - exposed, doubtful - exposed
    assert leased + sold + free + at_risk == stock + beyond, "the drawers are the stock"
    assert min(leased, sold, free, at_risk, beyond) >= 0
    return Stand(stock, leased, sold, free, at_risk, exposed, beyond, accounts)


def locked(connection: Connection, name: str) -> Any:
    """The slot's row, held until the transaction ends: whoever changes what its stock is reckoned from holds it. None: no such slot."""
    return connection.execute(select(slot).where(slot.c.slot == name).with_for_update()).first()


def roots(connection: Connection) -> dict[bytes, bytes]:
    """Which account a device is on, where it is not its own: the venue node's that a kiosk sells under. A kiosk that moved to another
    node took the old node's account along, so the way may have several steps.
    """
    steps = {row.device: row.node for row in connection.execute(select(lease_member))}
    return {device: _end(steps, device) for device in steps}


def _end(steps: Mapping[bytes, bytes], device: bytes) -> bytes:
    """The root has no step, and a step is only ever added from one root to another (`stock`). Should there be a ring all the same, all
    that lead into it are one account, under the least of its names: a reckoning always ends.
    """
    way = [device]
    while (following := steps.get(way[-1])) is not None:
        if following in way:
            return min(way[way.index(following) :])
        way.append(following)
    return way[-1]


def reckon(connection: Connection, row: Any) -> Stand:
    """How the slot of this row stands now."""
    under = roots(connection)
    lent: Counter[bytes] = Counter()
    returned: Counter[bytes] = Counter()
    for held in connection.execute(select(lease).where(lease.c.slot == row.slot)):
        root = under.get(held.device, held.device)
        lent[root] += held.quantity
        returned[root] += held.returned
    sold: Counter[bytes] = Counter()
    for device, count in connection.execute(
        select(order.c.device, func.sum(order_line.c.count))
        .join(order, order.c.order == order_line.c.order)
        .where(order_line.c.slot == row.slot, order.c.state == "paid")
        .group_by(order.c.device)
    ):
        sold[under.get(device, device)] += int(count)
    taken: Counter[bytes] = Counter()
    for fact in connection.execute(select(lease_taken).where(lease_taken.c.slot == row.slot)):
        root = under.get(fact.device, fact.device)
        shown_since = returned[root] + sold[root] - fact.base
        taken[root] += max(0, fact.quantity - max(0, shown_since))
    everyone = sorted({*lent, *sold, *taken})
    accounts = {root: Account(lent[root], returned[root], sold[root], taken[root]) for root in everyone}
    return stand_of(stock_of(row), accounts)


def stock_of(row: Any) -> int:
    """All there is of a slot here: its capacity; at a venue node what the hub lent it and it has not returned."""
    return int(row.capacity) if row.borrowed is None else int(row.borrowed - row.borrowed_returned)


def settle(connection: Connection, row: Any, *, now: datetime, wanted: int | None = None) -> Stand:
    """Reckon a locked slot, write down how it stands, and tell devices where that is news to them. `wanted`: what a guest waits for from
    now on; None: as before. An oversell is put on record.
    """
    stand = reckon(connection, row)
    wish = row.wanted if wanted is None else wanted
    if wanted is None and stand.lendable > 0:
        wish = 0  # whoever waits is told by the feed that there is some
    values = {
        "leased": stand.leased,
        "sold": stand.sold,
        "free": stand.free,
        "at_risk": stand.at_risk,
        "wanted": max(wish, 0 if stand.stock == 0 and row.borrowed is not None else stand.beyond),
    }
    if any(getattr(row, name) != value for name, value in values.items()):
        connection.execute(update(slot).where(slot.c.slot == row.slot).values(values))
        if stand.lendable != row.free + row.at_risk or values["wanted"] != row.wanted:
            feed.touch(connection, "slot", [row.slot])
    if stand.oversold and row.borrowed is None:  # a node sees only its own part; the hub judges
        detail = f"{row.slot}: more sold than the {stand.stock} there are"
        note_trouble(connection, device=None, kind=OVERSOLD, detail=detail, now=now)
    return stand


def after_sales(connection: Connection, slots: Iterable[str | None], *, now: datetime) -> None:
    """Sales or reversals of these slots have been written in this transaction, under `lock_all`. Once a segment is enough; slots that are
    not known here are passed over.
    """
    for row in lock_all(connection, slots):
        settle(connection, row, now=now)


def lock_all(connection: Connection, slots: Iterable[str | None]) -> list[Any]:
    """The rows of these slots, held until the transaction ends. Everybody locks slots in the order of their names, and before any ticket,
    so that two who lock several wait for each other and never in a ring.
    """
    rows = [locked(connection, name) for name in sorted({name for name in slots if name is not None})]
    return [row for row in rows if row is not None]


def take_totals(
    connection: Connection, row: Any, said: SlotWish, *, device: DeviceId, incarnation: int, lender: str
) -> tuple[int, int]:
    """What a device was lent of a locked slot and has returned, as this hub knew or as the device says, whichever is more: (lent,
    returned). So a hub that was restored from a backup learns what it lent and got back since. The caller settles the slot.
    """
    mine = (lease.c.slot == row.slot, lease.c.device == device, lease.c.incarnation == incarnation)
    held = connection.execute(select(lease).where(*mine)).first()
    lent = max(said.lent.get(lender, 0), 0 if held is None else held.quantity)
    returned = min(lent, max(said.returned.get(lender, 0), 0 if held is None else held.returned))
    if held is not None:
        if (held.quantity, held.returned) != (lent, returned):
            connection.execute(update(lease).where(*mine).values(quantity=lent, returned=returned))
    elif lent or said.more:
        first = {"slot": row.slot, "device": device, "incarnation": incarnation, "quantity": lent, "returned": returned}
        connection.execute(insert(lease), first)
    return lent, returned
