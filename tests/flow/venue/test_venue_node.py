"""The promises of the venue node, each proven with real processes over real wires."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hub import tables
from sync import granted
from sync.errors import HubRefused
from tests.flow.sync.processes import until
from tests.flow.sync.test_daemon import generation
from tests.flow.venue.place import NodeProcess, Place, timed
from tickets.admission import Denied, Granted, Reason

pytestmark = pytest.mark.flow


def held_lease(place: Place) -> granted.SlotLease | None:
    with place.kiosk_hands.journal.read() as connection:
        return next((held for held in granted.slot_leases(connection) if held.quantity), None)


def test_with_the_hub_cut_a_sale_is_admitted_at_one_gate_and_refused_at_the_other(place: Place) -> None:
    """Hub gone: the node takes the sale, lets it in once, refuses it the second time; back: everything is up, nothing doubled."""
    lease = until(lambda: held_lease(place), why="the kiosk got no lease through the node")
    place.hub_line.cut()
    [ticket] = place.sell()
    took = timed(lambda: place.cached(place.gate_a, ticket) and place.cached(place.gate_b, ticket))
    assert took < 4, f"a gate learned of a sale after {took:.2f} s: it waited for a poll of ten to end"
    assert isinstance(place.claim("A", ticket, code=False), Granted)
    again = place.claim("B", ticket, code=False)
    assert isinstance(again, Denied)
    assert again.reason is Reason.ALREADY_USED
    assert again.first is not None
    assert again.first.gate == "A"
    until(lambda: place.cached_uses(place.gate_b, ticket), why="the other gate never saw the use")
    assert place.hub_rows(tables.order) == []
    for _ in range(3):  # more than half of its lease: it would like more, which only the hub can give
        place.sell(count=3, slot=lease.slot.slot)
    for _ in range(17):
        place.sell(count=3)
    until(lambda: place.kiosk_hands.journal.unsent() == 0)
    routes = set()
    ends_s = time.monotonic() + 4
    until(lambda: routes.add(place.kiosk.health()["route"]) or time.monotonic() > ends_s)
    assert routes == {"venue node"}, "a lease that only the hub could renew drove the kiosk from its node"
    [more] = place.sell()
    took = timed(lambda: place.cached(place.gate_a, more))
    assert took < 4, f"a gate learned of a sale after {took:.2f} s: it waited for a poll of ten to end"

    place.node.stop(kill=True)  # with everything in it, and the hub still gone
    place.node.start()
    place.hub_line.mend()
    took = timed(place.everything_is_up)
    assert took < 8, f"{took:.1f} s until the hub had everything"
    assert len(place.hub_rows(tables.order)) == 22
    assert len(place.hub_rows(tables.ticket)) == 62
    [use] = place.hub_rows(tables.used)
    assert (use.mode, use.gate, use.released) == ("confirmed", "A", 0)
    until(lambda: place.kiosk_hands.journal.hub_seq() == place.kiosk_hands.journal.acknowledged_seq())


def test_a_dead_node_is_gone_round_and_gone_back_to(place: Place) -> None:
    """Node killed: devices push and pull at the hub, and forget nothing that they saw; node back: they return."""
    place.hub_line.cut()
    [ticket] = place.sell()
    assert isinstance(place.claim("A", ticket), Granted)
    until(lambda: place.cached_uses(place.gate_b, ticket))
    until(lambda: place.hands["A"].journal.unsent() == 0)
    place.node.stop(kill=True)  # what it had taken never reached the hub
    place.hub_line.mend()
    for device in place.devices:
        until(lambda device=device: device.health()["route"] == "venue node down: at the hub", why=device.log()[-3000:])
        assert device.health()["state"] == "warning"
    until(place.everything_is_up, why="what only the dead node had never reached the hub")
    [later] = place.sell()
    until(lambda: place.cached(place.gate_b, later), why="a sale did not go round the dead node")
    assert place.cached_uses(place.gate_b, ticket), "a use that was seen was forgotten"

    place.node.start()
    for device in place.devices:
        until(lambda device=device: device.health()["route"] == "venue node", why=device.log()[-3000:])
    [last] = place.sell()
    until(lambda: place.cached(place.gate_b, last))
    assert isinstance(place.claim("B", last, code=False), Granted)
    assert isinstance(place.claim("B", ticket, code=False), Denied), (
        "a use that reached the hub past the node counts there too"
    )
    until(place.everything_is_up)
    assert len(place.hub_rows(tables.order)) == 3
    assert place.hub_rows(tables.trouble) == []


def test_a_node_that_is_dead_for_good_is_replaced_by_hand_and_keeps_a_dead_kiosks_sales(place: Place) -> None:
    """Another machine, another node, the next reign: its devices go there, and the hub gets what the dead one kept to itself."""
    place.hub_line.cut()
    [ticket] = place.sell()
    assert isinstance(place.claim("A", ticket), Granted)
    until(lambda: place.hands["A"].journal.unsent() == 0 and place.kiosk_hands.journal.unsent() == 0)
    place.node.stop(kill=True)
    place.node_line.cut()
    place.hub_line.mend()
    fresh = NodeProcess(place.folder / "node-2", place.link(place.node.identity.role, "V2"))
    fresh.start()
    place.node, line = fresh, place.node_line
    line._to = fresh.port
    line.mend()
    place.state_arbiter(fresh, line)
    for device in place.devices:
        until(lambda device=device: device.health()["route"] == "venue node", why=device.log()[-3000:])
    [second] = place.sell()
    until(lambda: place.cached(place.gate_b, second))
    until(place.everything_is_up)
    until(lambda: isinstance(place.claim("B", ticket, code=False), Denied), why="the new arbiter let in twice")
    assert len(place.hub_rows(tables.order)) == 2

    place.hub_line.cut()  # and the kiosk's disk is gone for ever: what it sold meanwhile is at the node
    last = [place.sell()[0] for _ in range(5)]
    until(lambda: place.kiosk_hands.journal.unsent() == 0)
    place.kiosk.stop(kill=True)
    place.hub_line.mend()
    until(
        lambda: len(place.hub_rows(tables.ticket)) == 2 + len(last),
        why="a dead kiosk's sales did not come from the node",
    )


def test_a_revoked_device_is_refused_at_once_by_both_and_forgets_the_guests(place: Place) -> None:
    """Revoked at the hub: the node knows within a second or two; the cache goes; unsent work is kept without effect, never lost."""
    [known] = place.sell()
    until(place.everything_is_up)
    until(lambda: place.cached(place.gate_b, known))
    place.kiosk.stop()  # it sells on without a line; this is not sent yet
    [unsent] = place.sell()
    place.at_hub.revoke(place.kiosk.identity.device)
    place.at_hub.revoke(place.gate_b.identity.device)
    took = timed(lambda: place.gate_b.health()["shut_out"] and generation(place.gate_b.state) is None)
    assert took < 6, f"{took:.1f} s until a shut-out gate knew: it waited for a poll of ten to end"
    assert place.gate_b.health()["refused"] == "revoked"
    secret = bytes.fromhex(known.ticket)
    for file in place.gate_b.state.path.glob("cache-*"):
        assert secret not in file.read_bytes(), f"{file.name} still knows a guest's ticket"
    with pytest.raises(HubRefused) as refused:
        place.claim("B", unsent)
    assert refused.value.error == "revoked"
    answer = place.claim("A", unsent)
    assert isinstance(answer, Denied)
    assert answer.reason is Reason.BLOCKED, "a ticket that nobody knew under that key"
    assert isinstance(place.claim("A", known), Granted), "what was known before stays valid"
    place.kiosk.start()
    until(place.everything_is_up, why="what a shut-out kiosk had sold was lost")
    rows = place.hub_rows(tables.operation, tables.operation.c.status == "rejected")
    assert [row.reason for row in rows] == ["revoked"]
    assert len(place.hub_rows(tables.order)) == 1
    until(lambda: place.kiosk.health()["shut_out"])


def test_a_node_with_a_tls_key_of_its_own_is_gone_to_under_its_pin_alone(tmp_path: Path) -> None:
    """The hub states the pin that the node showed; after a restart it is the same; another pin is another machine, and nobody goes there."""
    place = Place(tmp_path, secured=True)
    try:
        place.start()
        pin = place.node.pin
        [ticket] = place.sell()
        until(lambda: place.cached(place.gate_b, ticket))
        assert isinstance(place.claim("A", ticket), Granted)
        until(place.everything_is_up)
        node = place.node.identity.device
        told = until(lambda: place.hub_rows(tables.telemetry, tables.telemetry.c.device == node))
        assert pin is not None
        assert pin.hex() in told[0].body, "the hub does not know what to state"
        place.node.stop(kill=True)
        place.node.start()
        assert place.node.pin == pin
        place.node.pin = bytes(32)
        place.state_arbiter(place.node, place.node_line)
        for device in place.devices:
            until(
                lambda device=device: device.health()["route"] == "venue node down: at the hub",
                why=device.log()[-3000:],
            )
        [later] = place.sell()
        until(lambda: place.cached(place.gate_b, later), why="a sale did not go round the stranger")
    finally:
        place.close()
