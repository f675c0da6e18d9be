"""`kaisatsu hub lease` and `kaisatsu hub slot`: stock from the command line. One JSON line each on standard output.

They write to the database beside a hub that serves; its devices hear of it at their next call, not at once as from the office's page.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from hub.errors import NotFound
from hub.node import HubNode
from hub.opening import open_node, say
from hub.services import devices, stock, venue
from hub.services.stock import SlotStory
from tickets.ids import DeviceId


def show(*, database_url: str, key_file: Path | None = None) -> None:
    """Today's slots that are not over, a line each, with who holds what."""
    with _opened(database_url, key_file) as node, node.read() as connection:
        now = node.clock.now_utc()
        day = venue.catalogue(connection).venue.day
        start = day.starts(day.of(now))
        for told in stock.stories(connection, starts_from=start, starts_before=start + timedelta(days=1), now=now):
            say(_line(told))


def take_back(
    *,
    database_url: str,
    slot: str,
    device: str,
    by: str,
    reason: str,
    sure: bool,
    key_file: Path | None = None,
) -> None:
    """Say how many may be sold twice; with `sure`, take them back. `device`: its label, or the start of its id.

    Raises NotFound, BadRequest.
    """
    with _opened(database_url, key_file) as node:
        with node.read() as connection:
            holder = _find(connection, device)
            told = stock.story(connection, slot)
        held = next((one for one in told.holdings if one.device == holder), None)
        if held is None or not held.account.leased:
            raise NotFound(f"{device} holds nothing of {slot} that could be taken back")
        line: dict[str, Any] = {"slot": slot, "device": held.label, "may_oversell": held.account.leased}
        if not sure:
            say({"event": "would_take_back", **line})
            return
        with node.write() as connection:
            taken = stock.take_back(connection, slot, holder, by=by, reason=reason, now=node.clock.now_utc())
        say({"event": "taken_back", **line, "at_risk": taken})


def set_capacity(*, database_url: str, slot: str, capacity: int, by: str, key_file: Path | None = None) -> None:
    """Raises NotFound, BadRequest."""
    with _opened(database_url, key_file) as node:
        with node.write() as connection:
            stock.set_capacity(connection, slot, capacity, by=by, now=node.clock.now_utc())
        _say_slot(node, slot)


def cancel(*, database_url: str, slot: str, by: str, key_file: Path | None = None) -> None:
    """Raises NotFound, BadRequest."""
    with _opened(database_url, key_file) as node:
        with node.write() as connection:
            stock.cancel_slot(connection, slot, by=by, now=node.clock.now_utc())
        _say_slot(node, slot)


@contextmanager
def _opened(database_url: str, key_file: Path | None) -> Iterator[HubNode]:
    node = open_node(database_url, key_file=key_file)
    try:
        yield node
    finally:
        node.engine.dispose()


def _say_slot(node: HubNode, slot: str) -> None:
    with node.read() as connection:
        say(_line(stock.story(connection, slot)))


def _find(connection: Connection, name: str) -> DeviceId:
    found = [
        known.device
        for known in devices.all_devices(connection)
        if known.label == name or (len(name) >= 8 and known.device.hex().startswith(name.lower()))
    ]
    if len(found) != 1:
        raise NotFound(f"{name}: {'no such device' if not found else 'several devices; give the start of its id'}")
    return found[0]


def _line(told: SlotStory) -> dict[str, Any]:
    stand = told.stand
    return {
        "slot": told.row.slot,
        "state": told.row.state,
        "stock": stand.stock,
        "sold": stand.sold,
        "leased": stand.leased,
        "free": stand.free,
        "at_risk": stand.at_risk + stand.exposed,
        "beyond": stand.beyond,
        "oversold": stand.oversold,
        "holders": {
            one.label: {"sold": one.account.sold, "leased": one.account.leased, "at_risk": one.account.at_risk}
            for one in told.holdings
        },
    }
