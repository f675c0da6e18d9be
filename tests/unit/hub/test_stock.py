"""What the office and the kiosks can count on: lease by lease, in words."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select

from hub import tables
from hub.errors import BadRequest
from hub.node import HubNode
from hub.services import certificates, devices, reckoning, stock, sublending
from sync import certificate, granted, grants
from sync.errors import HubUnreachable
from sync.protocol import LeaseAnswer, LeaseRequest, SlotWish
from sync.state import Role
from sync.upload import Uploader
from tests import hubkit
from tests.hubkit import Device, LocalHub, make_device, open_some_slots
from tests.support import postgres
from tickets.clock import FixedClock
from tickets.ids import DeviceId

SLOT = "athletics-2026-11-23-1400"


@pytest.fixture
def kiosk_b(node: HubNode, tmp_path: Path, clock: FixedClock) -> Device:
    return make_device(node, tmp_path, role=Role.KIOSK, label="K3", clock=clock, random_bytes=hubkit.seeded(5))


def wish(more: int = 0, *, lent: int = 0, returned: int = 0, urgent: bool = False, lender: str = "hub") -> SlotWish:
    return SlotWish(SLOT, more, {lender: lent}, {lender: returned}, urgent=urgent)


def ask(device: Device, what: SlotWish, *, incarnation: int = 1) -> tuple[int, int, int, int]:
    (grant,) = device.hub.lease(LeaseRequest(incarnation, (what,))).slots
    return grant.quantity, grant.returned, grant.free, grant.back


def push(device: Device) -> None:
    uploader = Uploader(device.journal, device.state, device.hub, clock=device.clock)
    while uploader.step().operations:
        pass


def sell(device: Device, count: int) -> None:
    device.append(device.sale(variant=20, price=1500, count=count, slot=SLOT))
    push(device)


def stand(node: HubNode) -> tuple[int, int, int, int]:
    """(leased unsold, sold, free, at risk)"""
    with node.read() as connection:
        row = connection.execute(select(tables.slot).where(tables.slot.c.slot == SLOT)).one()
        reckoned = reckoning.reckon(connection, row)
    assert row.leased + row.sold + row.free + row.at_risk == reckoned.stock + reckoned.beyond
    return row.leased, row.sold, row.free, row.at_risk


def test_what_is_returned_is_free_at_once_and_counts_once(kiosk: Device, node: HubNode) -> None:
    open_some_slots(node, capacity=20)
    assert ask(kiosk, wish(10)) == (10, 0, 10, 0)
    sell(kiosk, 4)
    assert stand(node) == (6, 4, 10, 0)
    assert ask(kiosk, wish(lent=10, returned=5)) == (10, 5, 15, 0)
    assert ask(kiosk, wish(lent=10, returned=5)) == (10, 5, 15, 0), "said again it changes nothing"
    assert ask(kiosk, wish(lent=10, returned=2)) == (10, 5, 15, 0), "nor does what comes late"
    assert ask(kiosk, wish(10)) == (10, 5, 15, 0), "nor a first wish that comes late"
    assert stand(node) == (1, 4, 15, 0)


def test_a_hub_that_was_restored_learns_what_it_lent_and_got_back(kiosk: Device, node: HubNode) -> None:
    open_some_slots(node, capacity=20)
    assert ask(kiosk, wish(3, lent=12, returned=2)) == (15, 2, 7, 0)
    assert stand(node) == (13, 0, 7, 0)


def test_taken_back_by_a_person_it_is_at_risk_until_the_kiosk_shows_what_became_of_it(
    kiosk: Device, kiosk_b: Device, node: HubNode
) -> None:
    open_some_slots(node, capacity=20)
    ask(kiosk, wish(15))
    kiosk.append(kiosk.sale(variant=20, price=1500, count=4, slot=SLOT))  # not sent yet
    with pytest.raises(BadRequest), node.write() as connection:
        stock.take_back(connection, SLOT, kiosk.identity.device, by=" ", reason="gone", now=node.clock.now_utc())
    with node.write() as connection:
        taken = stock.take_back(
            connection, SLOT, kiosk.identity.device, by="Sato", reason="stolen", now=node.clock.now_utc()
        )
    assert taken == 15
    assert stand(node) == (0, 0, 5, 15)
    assert ask(kiosk_b, wish(20, urgent=True)) == (20, 0, 0, 0), "others may sell it"
    assert stand(node) == (20, 0, 0, 0)
    with node.read() as connection:
        assert stock.story(connection, SLOT).stand.exposed == 15
    push(kiosk)
    assert stand(node) == (20, 4, 0, 0)
    assert ask(kiosk, wish(5, lent=15)) == (15, 0, 0, 11), "it is to give back first and gets nothing new"
    assert ask(kiosk, wish(5, lent=15, returned=11)) == (15, 11, 0, 0)
    with node.read() as connection:
        told = stock.story(connection, SLOT).stand
    assert (told.exposed, told.beyond, told.oversold) == (0, 4, 0), "4 too many are out, none is oversold yet"
    sell(kiosk_b, 20)
    with node.read() as connection:
        assert stock.story(connection, SLOT).stand.oversold == 4
        kinds = connection.scalars(select(tables.trouble.c.kind)).all()
    assert reckoning.OVERSOLD in kinds, "the real oversell is told"


def test_a_kiosk_that_comes_back_unsold_dissolves_the_risk(kiosk: Device, node: HubNode) -> None:
    open_some_slots(node, capacity=20)
    ask(kiosk, wish(15))
    with node.write() as connection:
        stock.take_back(connection, SLOT, kiosk.identity.device, by="Sato", reason="broken", now=node.clock.now_utc())
    assert ask(kiosk, wish(lent=15)) == (15, 0, 20, 15)
    assert ask(kiosk, wish(lent=15, returned=15)) == (15, 15, 20, 0)
    assert stand(node) == (0, 0, 20, 0)
    assert ask(kiosk, wish(5, lent=15, returned=15)) == (20, 15, 15, 0), "and it sells on"


def test_the_capacity_may_fall_below_what_is_out(kiosk: Device, node: HubNode) -> None:
    open_some_slots(node, capacity=20)
    ask(kiosk, wish(15))
    sell(kiosk, 5)
    with node.write() as connection:
        assert stock.set_capacity(connection, SLOT, 8, by="Sato", now=node.clock.now_utc()).beyond == 7
    with node.read() as connection:
        assert connection.scalar(select(tables.slot.c.wanted).where(tables.slot.c.slot == SLOT)) == 7
    assert ask(kiosk, wish(lent=15, returned=10)) == (15, 10, 3, 0)
    with node.read() as connection:
        assert connection.scalar(select(tables.slot.c.wanted).where(tables.slot.c.slot == SLOT)) == 0


def test_a_cancelled_slot_is_sold_by_nobody(kiosk: Device, node: HubNode) -> None:
    open_some_slots(node, capacity=20)
    ask(kiosk, wish(5))
    with node.write() as connection:
        stock.cancel_slot(connection, SLOT, by="Sato", now=node.clock.now_utc())
    assert ask(kiosk, wish(5, lent=5))[0] == 5
    with kiosk.journal.write() as connection:
        grants.apply(connection, kiosk.hub.changes(None, wait_s=0, rows_max=1000), kiosk.identity)
        assert SLOT not in {lease.slot.slot for lease in granted.slot_leases(connection)}


def test_a_short_stock_is_shared_and_a_guest_is_not_shared_against(
    kiosk: Device, kiosk_b: Device, node: HubNode
) -> None:
    from sync.protocol import Telemetry

    open_some_slots(node, capacity=9)
    for device in (kiosk, kiosk_b):
        device.hub.telemetry(Telemetry(node.clock.now_utc(), "test", 0))
    assert ask(kiosk, wish(10))[0] == 5
    assert ask(kiosk_b, wish(10))[0] == 4
    with node.read() as connection:
        assert connection.scalar(select(tables.slot.c.wanted).where(tables.slot.c.slot == SLOT)) == 0, (
            "a refill takes nothing from a neighbour"
        )
    assert ask(kiosk_b, wish(2, lent=4, urgent=True))[0] == 4
    with node.read() as connection:
        assert connection.scalar(select(tables.slot.c.wanted).where(tables.slot.c.slot == SLOT)) == 2
    ask(kiosk, wish(lent=5, returned=2))
    assert ask(kiosk_b, wish(2, lent=4, urgent=True))[0] == 6


def test_a_venue_node_lends_on_what_it_borrowed(
    kiosk: Device, node: HubNode, tmp_path: Path, clock: FixedClock
) -> None:
    """Two hubs in one process: the hub, and a node whose kiosks' sales come to the hub as they were signed."""
    open_some_slots(node, capacity=20)
    venue_node = make_device(node, tmp_path, role=Role.VENUE, label="N1", clock=clock, random_bytes=hubkit.seeded(6))
    below = hubkit.make_node(tmp_path, clock=clock, random_bytes=hubkit.seeded(7), name="node.db")
    open_some_slots(below, capacity=20)
    _copy_device(node, below, kiosk)
    below.lender = venue_node.identity.device.hex()
    upstream = CuttableHub(node, venue_node.identity.device)
    below.borrower = sublending.Borrower(upstream, incarnation=1, reserve_units=2)
    below.borrower.open(below)
    at_node = LocalHub(below, kiosk.identity.device)

    def ask_node(more: int, lent: int = 0, returned: int = 0) -> tuple[int, int]:
        what = wish(more, lent=lent, returned=returned, lender=below.lender)
        (grant,) = at_node.lease(LeaseRequest(1, (what,))).slots
        return grant.quantity, grant.free

    assert ask_node(6) == (6, 2 + 12), "the node borrowed 8; the hub has 12 more"
    assert stand(node) == (8, 0, 12, 0)
    assert stand(below) == (6, 0, 2, 0)
    kiosk.append(kiosk.sale(variant=20, price=1500, count=5, slot=SLOT))
    kiosk.hub = at_node
    push(kiosk)
    assert stand(below) == (1, 5, 2, 0)
    for segment in _segments(kiosk):  # the node relays them as they are
        with node.read() as connection:
            known = devices.find(connection, kiosk.identity.device)
        assert known is not None
        node.operations(segment, sender=known)
    assert stand(node) == (3, 5, 12, 0), "sold from the node's lease"
    upstream.is_cut = True
    assert ask_node(6, lent=6) == (8, 12), "without a line the node lends what it has"
    upstream.is_cut = False
    assert ask_node(0, lent=8, returned=2) == (8, 2 + 12)
    below.borrower.give_back(below, keep_units=0)
    assert stand(node) == (1, 5, 14, 0)
    # The node is gone: the kiosk borrows at the hub itself, and its sales stay on one account.
    kiosk.hub = LocalHub(node, kiosk.identity.device)
    direct = SlotWish(SLOT, 4, {below.lender: 8}, {below.lender: 2})
    (grant,) = kiosk.hub.lease(LeaseRequest(1, (direct,))).slots
    assert grant.quantity == 4
    assert stand(node) == (5, 5, 10, 0)


class CuttableHub(LocalHub):
    is_cut = False

    def lease(self, wanted: LeaseRequest) -> LeaseAnswer:
        if self.is_cut:
            raise HubUnreachable("cut")
        return super().lease(wanted)


def test_two_that_join_each_other_at_once_make_no_ring(tmp_path: Path, clock: FixedClock) -> None:
    """On PostgreSQL both are inside at once: the second waits, and then sees that they are one account already."""
    node = hubkit.make_node(tmp_path, clock=clock, random_bytes=hubkit.seeded(1), engine="postgresql")
    one, two = (
        make_device(node, tmp_path, role=Role.VENUE, label=label, clock=clock, random_bytes=hubkit.seeded(seed)).known
        for seed, label in ((2, "N1"), (3, "N2"))
    )

    def lend(connection: Connection, who: devices.KnownDevice, member: devices.KnownDevice) -> None:
        wanted = LeaseRequest(1, (), members=(member.device,))
        stock.lend(connection, wanted, device=who.device, now=clock.now_utc())

    def late() -> None:
        with node.engine.begin() as connection:
            lend(connection, two, one)

    other = threading.Thread(target=late)
    with node.engine.begin() as connection:
        lend(connection, one, two)
        other.start()
        postgres.until_waiting(str(node.engine.url.database), other)
    other.join(30)
    with node.read() as connection:
        steps = connection.execute(select(tables.lease_member.c.device, tables.lease_member.c.node)).all()
    assert list(map(tuple, steps)) == [(two.device, one.device)]
    node.engine.dispose()


def test_a_ring_of_before_is_one_account_and_ends(node: HubNode) -> None:
    """A database may hold one from before joins took turns: A -> B -> C -> B."""
    a, b, c, d = (bytes([number]) * 16 for number in range(1, 5))
    with node.write() as connection:
        steps = ((a, b), (b, c), (c, b))
        connection.execute(insert(tables.lease_member), [{"device": one, "node": two} for one, two in steps])
        assert bounded(lambda: reckoning.roots(connection)) == {a: b, b: b, c: b}
        stock.lend(
            connection, LeaseRequest(1, (), members=(DeviceId(a),)), device=DeviceId(d), now=node.clock.now_utc()
        )
        assert reckoning.roots(connection) == {a: d, b: d, c: d}, "and the next join undoes it"


def bounded(what: Callable[[], dict[bytes, bytes]]) -> dict[bytes, bytes]:
    """What it says, if it comes to an end."""
    found: list[dict[bytes, bytes]] = []
    thread = threading.Thread(target=lambda: found.append(what()), daemon=True)
    thread.start()
    thread.join(10)
    assert found, "it does not end"
    return found[0]


def _copy_device(hub: HubNode, below: HubNode, device: Device) -> None:
    """As the node's own feed brings it: the kiosk and its key."""
    with hub.read() as source, below.write() as target:
        for table in (tables.device, tables.selling_key):
            rows = source.execute(select(table).where(table.c.device == device.identity.device)).mappings().all()
            target.execute(table.insert(), [dict(row) for row in rows])


def _segments(device: Device):  # type: ignore[no-untyped-def]
    segment = device.journal.sent_segment(1)
    while segment is not None:
        yield segment
        segment = device.journal.sent_segment(segment.last + 1)


def test_a_certificate_counts_its_tickets_and_is_renewed_for_the_same_key(
    kiosk: Device, node: HubNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kiosk.hub.certificate()
    assert kiosk.hub.certificate() == first, "nothing to renew"
    monkeypatch.setattr(certificates, "TICKETS", 5)
    with node.write() as connection:
        held = certificate.read(first.text)
        short = certificates.replace(held, tickets_max=5)
        text, signature = certificate.issue(short, node.key)
        connection.execute(tables.selling_key.update().values(certificate=text, signature=signature))
    sale = kiosk.sale(count=3)
    kiosk.append(sale)
    push(kiosk)
    assert kiosk.hub.certificate().text == text
    kiosk.append(kiosk.sale(count=3))
    push(kiosk)
    with node.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.ticket)) == 6, "the sixth is honoured"
        (told,) = connection.scalars(select(tables.trouble.c.kind)).all()
    assert told == certificates.BEYOND
    fresh = certificate.check(kiosk.hub.certificate().text, kiosk.hub.certificate().signature, node.public)
    assert (fresh.kid, fresh.public, fresh.tickets_max) == (held.kid, held.public, 11)


def test_a_certificate_is_renewed_by_the_kiosk_before_it_ends(kiosk: Device, node: HubNode) -> None:
    from sync.renewal import Renewal

    with kiosk.journal.write() as connection:
        grants.apply(connection, kiosk.hub.changes(None, wait_s=0, rows_max=1000), kiosk.identity)
    renewal = Renewal(kiosk.journal, kiosk.identity, kiosk.hub, clock=kiosk.clock)
    assert not renewal.step()
    kiosk.clock.now += timedelta(days=320)
    assert not renewal.step(), "asked a moment ago"
    kiosk.clock.elapsed_s += 7 * 3600
    assert renewal.step()
    assert kiosk.identity.kid is not None
    with kiosk.journal.read() as connection:
        key = granted.key(connection, hubkit.Kid(kiosk.identity.kid))
    assert key is not None
    assert key.expires > (kiosk.clock.now + timedelta(days=390)).timestamp()
