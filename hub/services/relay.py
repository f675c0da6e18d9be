"""The hub's side of a venue node: what it carries for other devices counts as theirs, because their own keys signed it."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, select

from hub.errors import NotAllowed, NotFound
from hub.services import devices
from hub.services.devices import KnownDevice
from hub.tables import chain, stamp
from sync.protocol import Head, OnBehalf
from sync.state import Role
from tickets.ids import DeviceId


def subject(connection: Connection, sender: KnownDevice, carried: OnBehalf | None) -> KnownDevice:
    """Whose message this is: the sender's own, or the device's that an enrolled node carries it for. Raises NotAllowed, NotFound.

    A device that was shut out since the node took its message in is as it was then: what hub or node knew by that time stays good.
    """
    if carried is None or carried.device == sender.device:
        return sender
    if sender.role is not Role.VENUE:
        raise NotAllowed("only a venue node speaks for others")
    found = devices.find(connection, carried.device)
    if found is None:
        raise NotFound("no such device")
    if found.revoked_at is not None and stamp(carried.received_at) < found.revoked_at:
        return replace(found, revoked=False)
    return found


def heads(connection: Connection, device_id: DeviceId) -> tuple[Head, ...]:
    """Where the hub's copy of each incarnation of a device ends."""
    rows = connection.execute(
        select(chain.c.incarnation, chain.c.seq, chain.c.hash)
        .where(chain.c.device == device_id)
        .order_by(chain.c.incarnation)
    )
    return tuple(Head(row.incarnation, row.seq, row.hash) for row in rows)
