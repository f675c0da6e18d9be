"""A venue node lends on what the hub lent it. To its kiosks it is a hub; at the hub it is one borrower, one account with its kiosks.

What the node may lend is its own lease, never the venue's capacity. It borrows more when a kiosk wants more than it has, and gives back
what nobody there needs; both in totals, and a return is written down before it is sent, so that nothing is lent on that the hub has
again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import structlog
from sqlalchemy import Connection, select, update

from hub.services import feed, reckoning
from hub.tables import lease, slot, stamp
from sync.errors import HubRefused, HubUnreachable
from sync.protocol import HUB, LeaseAnswer, LeaseRequest, SlotWish
from tickets.ids import DeviceId

if TYPE_CHECKING:
    from hub.node import HubNode

RESERVE_UNITS = 10
"""So many units more than its kiosks want a node borrows, so that the next guest need not wait for the hub."""

log = structlog.get_logger()


class Upstream(Protocol):
    """The hub as a node asks it; `sync.client.HttpHub` is one. It should answer or give up within half a second: a guest may wait."""

    def lease(self, wanted: LeaseRequest) -> LeaseAnswer:
        """Raises HubUnreachable, HubRefused."""
        ...


@dataclass(frozen=True, slots=True)
class Borrower:
    """A node's side of its lease. `incarnation` is the number of its database's life: a new database starts with no lease."""

    upstream: Upstream
    incarnation: int
    reserve_units: int = RESERVE_UNITS

    def top_up(self, node: HubNode, wanted: LeaseRequest, *, device: DeviceId) -> None:
        """Before a kiosk's wish is served: borrow what it lacks. No transaction is open while the hub is asked. Without a line the node
        lends what it has.
        """
        with node.read() as connection:
            wishes = tuple(self._missing(connection, node, wanted, device=device))
            members = _members(connection, device)
        if wishes:
            self._ask(node, LeaseRequest(self.incarnation, wishes, members=members))

    def open(self, node: HubNode) -> None:
        """Stand as a borrower on every slot: from now on the node's stock is what it was lent, 0 to begin with."""
        with node.write() as connection:
            connection.execute(update(slot).where(slot.c.borrowed.is_(None)).values(borrowed=0))
            _settle_all(connection, now=node.clock.now_utc())

    def give_back(self, node: HubNode, *, keep_units: int | None = None) -> None:
        """Return what is free here beyond the reserve (all of it where the hub says that somebody waits). Call now and then, and when the
        feed of the hub says `wanted`.
        """
        keep = self.reserve_units if keep_units is None else keep_units
        now = node.clock.now_utc()
        with node.write() as connection:
            wishes = []
            for row in connection.execute(select(slot).where(slot.c.borrowed.is_not(None)).order_by(slot.c.slot)).all():
                locked = reckoning.locked(connection, row.slot)
                assert locked is not None
                spare = locked.free - (0 if locked.wanted else keep)
                if locked.ends_at <= stamp(now) or spare <= 0:
                    continue
                returned = locked.borrowed_returned + spare
                connection.execute(update(slot).where(slot.c.slot == row.slot).values(borrowed_returned=returned))
                reckoning.settle(connection, reckoning.locked(connection, row.slot), now=now, wanted=locked.wanted)
                wishes.append(_wish(locked.slot, lent=locked.borrowed, returned=returned, more=0, urgent=False))
        if wishes:
            self._ask(node, LeaseRequest(self.incarnation, tuple(wishes)))

    def _missing(
        self, connection: Connection, node: HubNode, wanted: LeaseRequest, *, device: DeviceId
    ) -> list[SlotWish]:
        wishes = []
        for wish in wanted.slots:
            row = connection.execute(select(slot).where(slot.c.slot == wish.slot)).first()
            if row is None or row.borrowed is None or row.state != "open":
                continue
            held = connection.scalar(
                select(lease.c.quantity).where(
                    lease.c.slot == wish.slot,
                    lease.c.device == device,
                    lease.c.incarnation == wanted.incarnation,
                )
            )
            said = wish.lent.get(node.lender, 0)
            missing = said + wish.more - max(said, held or 0) - row.free
            if missing > 0:
                wishes.append(
                    _wish(
                        wish.slot,
                        lent=row.borrowed,
                        returned=row.borrowed_returned,
                        more=missing + self.reserve_units,
                        urgent=wish.urgent,
                    )
                )
        return wishes

    def _ask(self, node: HubNode, wanted: LeaseRequest) -> None:
        try:
            answer = self.upstream.lease(wanted)
        except (HubUnreachable, HubRefused) as error:
            log.info("hub_not_asked", why=str(error))
            return
        now = node.clock.now_utc()
        node.transact(lambda connection: take(connection, answer, now=now))


def take(connection: Connection, answer: LeaseAnswer, *, now: datetime) -> None:
    """Put the hub's answer in force at the node. One that comes late never shrinks what was borrowed."""
    for grant in answer.slots:
        row = reckoning.locked(connection, grant.slot)
        if row is None:
            continue
        values = {"borrowed": max(row.borrowed or 0, grant.quantity), "upstream_free": grant.free}
        connection.execute(update(slot).where(slot.c.slot == grant.slot).values(values))
        if grant.free != row.upstream_free:
            feed.touch(connection, "slot", [grant.slot])
        reckoning.settle(connection, reckoning.locked(connection, grant.slot), now=now)


def _wish(name: str, *, lent: int, returned: int, more: int, urgent: bool) -> SlotWish:
    return SlotWish(name, more=more, lent={HUB: lent}, returned={HUB: returned}, urgent=urgent)


def _members(connection: Connection, device: DeviceId) -> tuple[DeviceId, ...]:
    known = connection.scalars(select(lease.c.device).distinct()).all()
    return tuple(sorted({DeviceId(member) for member in known} | {device}))


def _settle_all(connection: Connection, *, now: datetime) -> None:
    for name in connection.scalars(select(slot.c.slot).order_by(slot.c.slot)).all():
        reckoning.settle(connection, reckoning.locked(connection, name), now=now)
