"""Stock, lent to kiosks in parts so that they can sell without asking.

A wish names what the kiosk has been lent and has returned *in total*, and how much more it wants on top, so a lost, doubled or late one
changes nothing. A lease ends when it is returned, when its slot is over, or when a named person takes it back; never by itself. How
much there is to lend is reckoned anew from the facts (`reckoning`), under the slot's row lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from hub.database import take_turns
from hub.errors import BadRequest, NotFound
from hub.services import blocks, feed, reckoning, restore
from hub.services.reckoning import Account, Stand
from hub.tables import device, lease, lease_member, lease_taken, slot, slot_change, stamp, telemetry
from sync.protocol import HUB, LeaseAnswer, LeaseRequest, SlotGrant, SlotWish
from sync.state import Role
from tickets.ids import DeviceId

ACTIVE = timedelta(minutes=15)
"""A kiosk that was heard of within this time counts when a short stock is shared."""
CAPACITY_MAX = 100_000
MEMBERS = "members"
"""Whoever joins accounts takes turns under this name, before any slot's lock."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One account's part of a slot, as the office sees it. `heard_at`: when it was last heard of, in telemetry."""

    device: DeviceId
    label: str
    revoked: bool
    heard_at: datetime | None
    account: Account


@dataclass(frozen=True, slots=True)
class SlotStory:
    row: Any
    stand: Stand
    holdings: tuple[Holding, ...]


def lend(
    connection: Connection, wanted: LeaseRequest, *, device: DeviceId, now: datetime, lender: str = HUB
) -> LeaseAnswer:
    """Take what is returned, then lend as much of what is wanted as there is. Slots that do not exist or are over are not in the answer.
    `lender` is this hub's or venue node's own name: of a wish's totals only those under it are meant for it.
    """
    if restore.awaited(connection):
        wanted = _nothing_more(wanted)
    for member in wanted.members:
        _join(connection, member, node=device)
    grants = []
    for wish in sorted(wanted.slots, key=lambda wish: wish.slot):  # one order for everybody: no two wait for each other
        grant = _lend_slot(connection, wish, who=device, incarnation=wanted.incarnation, lender=lender, now=now)
        if grant is not None:
            grants.append(grant)
    numbers = blocks.lend(connection, wanted.blocks, device=device, incarnation=wanted.incarnation, now=now)
    return LeaseAnswer(slots=tuple(grants), blocks=numbers, at=now, lender=lender)


def _nothing_more(wanted: LeaseRequest) -> LeaseRequest:
    """While a restored hub does not know yet what its borrowers hold, it takes what it is told and lends nothing."""
    return replace(
        wanted,
        slots=tuple(replace(wish, more=0, urgent=False) for wish in wanted.slots),
        blocks=tuple((length, 0) for length, _ in wanted.blocks),
    )


def _lend_slot(
    connection: Connection, wish: SlotWish, *, who: DeviceId, incarnation: int, lender: str, now: datetime
) -> SlotGrant | None:
    row = reckoning.locked(connection, wish.slot)
    if row is None or row.ends_at <= stamp(now):
        return None
    lent, returned = reckoning.take_totals(connection, row, wish, device=who, incarnation=incarnation, lender=lender)
    if not (lent or wish.more):
        return SlotGrant(wish.slot, quantity=0, free=_free_of(row), returned=0)
    mine = (lease.c.slot == wish.slot, lease.c.device == who, lease.c.incarnation == incarnation)
    stand = reckoning.reckon(connection, row)
    account = stand.accounts.get(_root(connection, who), Account())
    missing, wanted = 0, None
    if row.state == "open" and account.at_risk == 0:  # what was taken back comes home before anything new goes out
        missing = max(0, wish.lent.get(lender, 0) + wish.more - lent)
        granted = min(missing, stand.lendable)
        if not wish.urgent:
            granted = min(granted, _share(connection, stand, account, who=who, now=now))
        if granted:
            lent, missing = lent + granted, missing - granted
            connection.execute(update(lease).where(*mine).values(quantity=lent))
        if wish.urgent:
            wanted = missing
    stand = reckoning.settle(connection, row, now=now, wanted=wanted)
    account = stand.accounts.get(_root(connection, who), Account())
    return SlotGrant(
        wish.slot,
        quantity=lent,
        free=stand.lendable + row.upstream_free,
        returned=returned,
        back=account.at_risk,
    )


def _free_of(row: Any) -> int:
    return int(row.free + row.at_risk + row.upstream_free)


def _root(connection: Connection, who: DeviceId) -> bytes:
    return reckoning.roots(connection).get(who, who)


def _share(connection: Connection, stand: Stand, account: Account, *, who: DeviceId, now: datetime) -> int:
    """How many units more a refill may bring one kiosk when the stock is short: an equal part among those that sell now. A guest who
    stands there is not shared against, and a venue node borrows for many.
    """
    role = connection.scalar(select(device.c.role).where(device.c.device == who))
    if role == Role.VENUE:
        return stand.lendable
    heard = select(func.count()).select_from(
        select(device.c.device)
        .join(telemetry, telemetry.c.device == device.c.device)
        .where(
            device.c.role == Role.KIOSK,
            device.c.revoked_at.is_(None),
            device.c.device != who,
            telemetry.c.received_at > stamp(now - ACTIVE),
        )
        .subquery()
    )
    kiosks = 1 + int(connection.scalar(heard) or 0)
    part = -(-(stand.lendable + stand.leased) // kiosks)
    return max(0, min(stand.lendable, part - account.in_hand))


def _join(connection: Connection, member: DeviceId, *, node: DeviceId) -> None:
    """A kiosk sells from a node's stock from now on: they are one account. One that moves takes its old node's account along. Who is one
    account stays one; who is not yet becomes it one after another, or two who join each other's at once would make a ring.
    """
    mine, theirs = _roots(connection, member, node)
    if mine == theirs:
        return
    take_turns(connection, MEMBERS)
    mine, theirs = _roots(connection, member, node)
    if mine != theirs:
        connection.execute(
            delete(lease_member).where(lease_member.c.device == mine)
        )  # a root has one only within an old ring
        connection.execute(insert(lease_member), {"device": mine, "node": theirs})


def _roots(connection: Connection, one: DeviceId, other: DeviceId) -> tuple[bytes, bytes]:
    under = reckoning.roots(connection)
    return under.get(one, one), under.get(other, other)


def take_back(connection: Connection, slot_name: str, holder: DeviceId, *, by: str, reason: str, now: datetime) -> int:
    """A named person gives up a lease whose kiosk is gone: all that it has unsold may be sold elsewhere from now on, *at risk* until the
    kiosk shows what became of it. How many units. Raises NotFound, BadRequest.
    """
    if not by.strip() or not reason.strip():
        raise BadRequest("taking a lease back needs a person's name and a reason")
    row = reckoning.locked(connection, slot_name)
    if row is None:
        raise NotFound("no such slot")
    root = DeviceId(_root(connection, holder))
    account = reckoning.reckon(connection, row).accounts.get(root, Account())
    if account.leased == 0:
        raise BadRequest("this device holds nothing of the slot that could be taken back")
    fact = {
        "slot": slot_name,
        "device": root,
        "quantity": account.leased,
        "base": account.returned + account.sold,
        "at": stamp(now),
        "by": by.strip()[:64],
        "reason": reason.strip()[:200],
    }
    connection.execute(insert(lease_taken), fact)
    reckoning.settle(connection, row, now=now)
    return account.leased


def set_capacity(connection: Connection, slot_name: str, capacity: int, *, by: str, now: datetime) -> Stand:
    """Another capacity. Below what is out already nothing is taken from anyone: kiosks are asked to give back what they have not sold, and
    the difference shows as `beyond` until they have. Raises NotFound, BadRequest.
    """
    if not 0 <= capacity <= CAPACITY_MAX:
        raise BadRequest(f"a capacity is from 0 to {CAPACITY_MAX}")
    row = reckoning.locked(connection, slot_name)
    if row is None:
        raise NotFound("no such slot")
    _note(connection, slot_name, f"capacity {row.capacity} -> {capacity}", by=by, now=now)
    connection.execute(update(slot).where(slot.c.slot == slot_name).values(capacity=capacity))
    feed.touch(connection, "slot", [slot_name])
    return reckoning.settle(connection, reckoning.locked(connection, slot_name), now=now)


def cancel_slot(connection: Connection, slot_name: str, *, by: str, now: datetime) -> Stand:
    """Nobody sells this slot any more, as soon as they hear of it. Tickets that were sold stay as they are: each is cancelled by itself.
    Raises NotFound, BadRequest.
    """
    row = reckoning.locked(connection, slot_name)
    if row is None:
        raise NotFound("no such slot")
    _note(connection, slot_name, "cancelled", by=by, now=now)
    connection.execute(update(slot).where(slot.c.slot == slot_name).values(state="cancelled"))
    feed.touch(connection, "slot", [slot_name])
    return reckoning.reckon(connection, row)


def _note(connection: Connection, slot_name: str, what: str, *, by: str, now: datetime) -> None:
    if not by.strip():
        raise BadRequest("changing a slot needs a person's name")
    row = {"slot": slot_name, "at": stamp(now), "by": by.strip()[:64], "what": what}
    connection.execute(insert(slot_change), row)


def stories(
    connection: Connection, *, starts_from: datetime, starts_before: datetime, now: datetime
) -> tuple[SlotStory, ...]:
    """The slots that start within a time and are not over, soonest first, with who holds what of them."""
    rows = connection.execute(
        select(slot)
        .where(slot.c.starts_at >= stamp(starts_from), slot.c.starts_at < stamp(starts_before))
        .where(slot.c.ends_at > stamp(now))
        .order_by(slot.c.starts_at, slot.c.slot)
    ).all()
    return tuple(_story(connection, row) for row in rows)


def story(connection: Connection, slot_name: str) -> SlotStory:
    """Raises NotFound."""
    row = connection.execute(select(slot).where(slot.c.slot == slot_name)).first()
    if row is None:
        raise NotFound("no such slot")
    return _story(connection, row)


def _story(connection: Connection, row: Any) -> SlotStory:
    stand = reckoning.reckon(connection, row)
    known = {
        item.device: item
        for item in connection.execute(
            select(device.c.device, device.c.label, device.c.revoked_at, telemetry.c.received_at)
            .outerjoin(telemetry, telemetry.c.device == device.c.device)
            .where(device.c.device.in_(list(stand.accounts)))
        )
    }
    holdings = []
    for root, account in stand.accounts.items():
        item = known.get(root)
        heard = None if item is None or item.received_at is None else datetime.fromisoformat(item.received_at)
        label = root.hex()[:8] if item is None else item.label
        revoked = item is not None and item.revoked_at is not None
        holdings.append(Holding(DeviceId(root), label, revoked, heard, account))
    return SlotStory(row, stand, tuple(sorted(holdings, key=lambda one: one.label)))
