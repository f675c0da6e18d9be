"""What a venue node takes from its hub, gives to its devices, and hands on; and what neither may ever do."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from hub import tables, witness
from hub.database import open_database
from hub.errors import EpochPassed, HubError, NotAllowed
from hub.node import HubNode
from hub.services import devices, feed, ledger, reign, withdrawals
from hub.venue import follow, relay, standing
from hub.venue.node import VenueNode
from hub.venue.tables import relay_segment
from sync import cache as cache_file
from sync import tls
from sync.cache import Cache
from sync.errors import HubRefused
from sync.journal import answer
from sync.operation import Mode
from sync.protocol import HUB, NODE_SCOPE, LeaseRequest, Rejoin, SlotWish, Telemetry
from sync.pruning import note_covered, prune
from sync.rejoin import holdings
from sync.state import Role
from tests.hubkit import Device, LocalHub, make_device, open_some_slots, seeded
from tests.unit.hub.venue.conftest import Venue, make_venue, state_arbiter
from tickets.admission import Denied, Granted, Reason
from tickets.clock import FixedClock
from tickets.ids import OpId, TicketId


def rows(node: HubNode, table: object, *names: str) -> set[tuple[object, ...]]:
    with node.read() as connection:
        columns = [table.c[name] for name in names]  # type: ignore[attr-defined]
        return {tuple(row) for row in connection.execute(select(*columns))}


def same_everywhere(venue: Venue) -> None:
    """Hub and node hold the same of everything that devices follow."""
    for table, names in (
        (tables.ticket, "ticket kid variant uses state not_before expires short_id withdrawn"),
        (tables.used, "op ticket passage units window mode epoch gate released device"),
        (tables.selling_key, "kid certificate signature revoked_at"),
        (tables.device, "device role label gate identity revoked_at"),
        (tables.document, "name text"),
        (tables.slot, "slot product starts_at ends_at capacity state wanted"),
    ):
        assert rows(venue.node, table, *names.split()) == rows(venue.hub, table, *names.split()), table.name
    left = ("free", "at_risk", "upstream_free")
    there, here = (
        {row[0]: sum(row[1:]) for row in rows(at, tables.slot, "slot", *left)} for at in (venue.hub, venue.node)
    )
    assert here == there, "what is left of each slot"


def test_a_node_knows_what_its_hub_knows(venue: Venue, kiosk: Device, gate: Device) -> None:
    open_some_slots(venue.hub)
    kiosk.append(kiosk.sale(count=3, slot=None))
    venue.send(kiosk, to=kiosk.hub)
    gate.append(gate.admission(kiosk.sold[0].ticket))
    venue.send(gate, to=gate.hub)
    venue.hub.cancel_ticket(TicketId(bytes.fromhex(kiosk.sold[1].ticket)), by="office", reason="lost")
    venue.pull()
    same_everywhere(venue)


def test_a_node_knows_what_was_withdrawn_and_so_do_its_devices(
    node: HubNode, venue: Venue, kiosk: Device, gate: Device
) -> None:
    """A ticket of ten uses of which the office took nine is good for one more, whoever is asked."""
    sold = kiosk.sale(uses=10)
    kiosk.append(sold)
    venue.send(kiosk, to=kiosk.hub)
    ticket = TicketId(bytes.fromhex(sold.tickets[0].ticket))
    with node.write() as connection:
        withdrawals.withdraw(
            connection,
            OpId(bytes(16)),
            ticket,
            withdrawals.Kind.REFUND,
            units=9,
            by="office",
            reason="asked for",
            epoch=None,
            now=node.clock.now_utc(),
        )
    venue.pull()
    with venue.node.read() as connection:
        assert connection.scalar(select(tables.ticket.c.withdrawn)) == 9
    puller = venue.downloader(gate)
    while puller.step(wait_s=0).more:
        pass
    cache = Cache.open(gate.state.cache(puller.generation or 0))
    with cache.engine.begin() as connection:
        row = cache_file.find(connection, ticket)
    assert row is not None
    assert row.withdrawn == 9
    cache.close()
    puller.close()


def test_only_a_node_is_told_of_devices(node: HubNode, kiosk: Device, venue: Venue) -> None:
    page = node.changes(None, rows_max=1000, scope="kiosk", sender=kiosk.known)
    assert "device" not in {part.table for part in page.tables}
    page = node.changes(None, rows_max=1000, scope=NODE_SCOPE, sender=venue.line._sender())
    assert "device" in {part.table for part in page.tables}
    at_kiosk = node.changes(None, rows_max=1000, scope="kiosk", sender=kiosk.known)
    with pytest.raises(HubError):
        node.changes(at_kiosk.cursor, rows_max=10, scope=NODE_SCOPE, sender=venue.line._sender())


def test_what_the_hub_did_not_sign_is_left_out(node: HubNode, kiosk: Device, venue: Venue) -> None:
    """A line that lies to the node about who a device is changes nothing."""
    with node.read() as connection:
        page = feed.page(connection, None, rows_max=1000, now=node.clock.now_utc(), scope=NODE_SCOPE)
    forged = json.loads(json.dumps(page.to_row()))
    for part in forged["tables"]:
        if part["table"] == "device":
            place = part["columns"].index("enrolled")
            for row in part["rows"]:
                row[place] = (
                    row[place].replace('"role":"kiosk"', '"role":"venue"').replace('"role":"gate"', '"role":"kiosk"')
                )
    before = rows(venue.node, tables.device, "device", "role", "identity")
    with venue.node.write() as connection:
        wrong = follow.take(connection, type(page).from_json(json.dumps(forged)), hub_key=venue.node.public)
    assert len(wrong) == 3
    assert rows(venue.node, tables.device, "device", "role", "identity") == before


def test_a_sale_counts_at_the_node_at_once_and_reaches_the_hub_to_the_letter(
    venue: Venue, kiosk: Device, gate: Device, gate_b: Device
) -> None:
    venue.line.cut = True
    kiosk.append(kiosk.sale())
    venue.send(kiosk)
    [ticket] = kiosk.sold
    claim = gate.claim(ticket.ticket)
    assert isinstance(venue.of(gate).claim(claim, deadline_s=1), Granted)
    refused = venue.of(gate_b).claim(gate_b.claim(ticket.ticket), deadline_s=1)
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.ALREADY_USED
    gate.append(gate.admission(ticket.ticket, op=claim.op, mode=Mode.CONFIRMED, epoch=1))
    venue.send(gate)
    assert kiosk.journal.unsent() == 0
    assert kiosk.journal.hub_seq() == 0
    assert venue.node.waiting() == 4
    venue.line.cut = False
    assert venue.push() == 4
    assert venue.push() == 0
    assert venue.node.waiting() == 0
    venue.pull()
    same_everywhere(venue)
    signatures = "device incarnation seq body hash status"
    assert rows(venue.node, tables.operation, *signatures.split()) == rows(
        venue.hub, tables.operation, *signatures.split()
    )


def test_the_hubs_later_no_comes_back_to_the_device(venue: Venue, kiosk: Device, gate: Device, gate_b: Device) -> None:
    """Admitted at the node's gate while the hub's other gate had let the same ticket in: accepted here, a conflict there; the device
    learns it, and only then counts it as the hub's.
    """
    kiosk.append(kiosk.sale())
    venue.send(kiosk, to=kiosk.hub)
    venue.pull()
    [ticket] = kiosk.sold
    gate_b.append(gate_b.admission(ticket.ticket))
    venue.send(gate_b, to=gate_b.hub)
    used = gate.admission(ticket.ticket)
    gate.append(used)
    venue.send(gate)
    puller = venue.downloader(gate)
    puller.step(wait_s=0)
    assert gate.journal.hub_seq() == 0
    first = _status(gate, used.op)
    assert first == ("accepted", "")
    venue.push()
    settled = 0
    while not settled:
        settled = puller.step(wait_s=0).settled
    assert gate.journal.hub_seq() == gate.journal.acknowledged_seq()
    with venue.hub.read() as connection:
        said = connection.execute(
            select(tables.operation.c.status, tables.operation.c.reason).where(
                tables.operation.c.op == bytes.fromhex(used.op)
            )
        ).one()
    assert _status(gate, used.op) == tuple(said) == ("conflict", "already_used")
    assert puller.step(wait_s=0).settled == 0, "told once"
    puller.close()


def _status(device: Device, op: str) -> tuple[str, str]:
    with device.journal.read() as connection:
        row = connection.execute(select(answer.c.status, answer.c.reason).where(answer.c.op == bytes.fromhex(op))).one()
    return row.status, row.reason


def test_nobody_but_a_node_speaks_for_others(node: HubNode, venue: Venue, kiosk: Device, gate: Device) -> None:
    kiosk.append(kiosk.sale())
    segment = kiosk.journal.next_segment(kiosk.state)
    assert segment is not None
    from sync.protocol import OnBehalf

    carried = OnBehalf(kiosk.identity.device, node.clock.now_utc())
    for sender, word in ((gate.known, carried), (gate.known, None)):
        with pytest.raises(NotAllowed):
            node.operations(segment, sender=sender, carried=word)
    with pytest.raises(NotAllowed):
        venue.node.operations(segment, sender=kiosk.known, carried=carried)
    assert len(venue.line.relay(segment, received_at=node.clock.now_utc())) == len(segment.bodies)


def test_a_device_that_was_at_the_hub_brings_the_node_up_to_date(venue: Venue, kiosk: Device) -> None:
    """The node was dead for a while: what went past it is filled in from the device, without its effects counting twice."""
    kiosk.append(kiosk.sale())
    venue.send(kiosk)
    venue.push()
    kiosk.append(kiosk.sale())
    venue.send(kiosk, to=kiosk.hub)
    kiosk.append(kiosk.sale())
    venue.send(kiosk)
    venue.push()
    venue.pull()
    same_everywhere(venue)
    assert len(rows(venue.hub, tables.order, "order")) == 3


@pytest.mark.parametrize("hub_there", [True, False])
def test_a_fresh_node_takes_over_a_chain(
    node: HubNode, venue: Venue, kiosk: Device, tmp_path: Path, clock: FixedClock, hub_there: bool
) -> None:
    """A replaced node was not there when the chain grew: it asks the hub how far that has it; without a line the device sends all again."""
    kiosk.append(kiosk.sale())
    venue.send(kiosk)
    venue.push()
    kiosk.append(kiosk.sale())
    venue.send(kiosk)
    fresh = make_venue(
        node, tmp_path, clock=clock, label="V2", seed=78
    )  # and what the old one had not handed on is gone with it
    fresh.pull()
    fresh.line.cut = not hub_there
    kiosk.append(kiosk.sale())
    fresh.send(kiosk)
    fresh.line.cut = False
    fresh.push()
    fresh.pull()
    assert len(rows(node, tables.order, "order")) == 3
    same_everywhere(fresh)


def test_a_restored_hub_gets_back_what_it_lost(venue: Venue, kiosk: Device) -> None:
    for _number in range(2):
        kiosk.append(kiosk.sale())
        venue.send(kiosk)
    venue.push()
    lost = rows(venue.hub, tables.order, "order")
    with venue.hub.write() as connection:  # as a backup from before the sales would have it, under a new feed epoch
        for table in (
            tables.operation,
            tables.chain,
            tables.order,
            tables.order_line,
            tables.order_tax,
            tables.payment,
            tables.ticket,
        ):
            connection.execute(table.delete())
        connection.execute(update(tables.meta).where(tables.meta.c.key == feed.FEED_EPOCH).values(value="restored"))
    venue.pull()
    venue.push()
    assert rows(venue.hub, tables.order, "order") == lost


def test_a_restored_hub_hears_through_the_node_what_devices_hold(
    venue: Venue, kiosk: Device, gate: Device, clock: FixedClock
) -> None:
    """Put back to before everything: what it lost comes from the node, leases from the kiosk's word, each once; then all go on."""
    open_some_slots(venue.hub)
    venue.pull()
    with venue.hub.read() as connection:
        [slot, *_] = connection.scalars(select(tables.slot.c.slot).order_by(tables.slot.c.slot)).all()
    venue.of(kiosk).lease(LeaseRequest(kiosk.journal.incarnation, (SlotWish(slot, more=5, urgent=True),)))
    kiosk.append(kiosk.sale(slot=slot), kiosk.sale())
    venue.send(kiosk)
    gate.append(gate.admission(kiosk.sold[0].ticket))
    venue.send(gate)
    venue.push()
    kept = ((tables.order, "order"), (tables.ticket, "ticket"), (tables.used, "op"), (tables.operation, "op"))
    lost = [rows(venue.hub, table, name) for table, name in kept]
    with venue.hub.write() as connection:
        for table in (*(table for table, _ in kept), tables.chain, tables.lease):
            connection.execute(table.delete())
        for table in (tables.order_line, tables.order_tax, tables.payment):
            connection.execute(table.delete())
        connection.execute(update(tables.slot).values(leased=0))
    venue.hub.begin_again("a test")
    with pytest.raises(HubRefused) as first:
        venue.of(kiosk).lease(LeaseRequest(kiosk.journal.incarnation, (SlotWish(slot, more=1, lent={HUB: 5}),)))
    assert first.value.error == "unreported"
    held = Rejoin(kiosk.journal.incarnation, kiosk.journal.acknowledged_seq(), (SlotWish(slot, lent={HUB: 5}),))
    assert venue.of(kiosk).rejoin(held) == kiosk.journal.acknowledged_seq(), (
        "the node has it all: nothing is asked of the kiosk"
    )
    venue.of(gate).telemetry(Telemetry(clock.now_utc(), "x", 0))
    venue.node.push_telemetry(venue.line)
    with pytest.raises(HubRefused) as asked:
        venue.of(gate).telemetry(Telemetry(clock.now_utc(), "x", 0))
    assert asked.value.error == "unreported"
    assert venue.of(gate).rejoin(Rejoin(1, gate.journal.acknowledged_seq())) == gate.journal.acknowledged_seq()
    venue.push()
    venue.pull()
    venue.push()
    venue.pull()
    with venue.hub.read() as connection:
        assert reign.awaited(connection) == ("A", "B"), (
            "A has said so; that all of it has come is the next word's to say"
        )
    for device in (kiosk, gate):
        assert venue.of(device).rejoin(holdings(device.journal)) == device.journal.acknowledged_seq()
    with venue.hub.read() as connection:
        assert reign.awaited(connection) == ("B",)
    venue.of(gate).telemetry(Telemetry(clock.now_utc(), "x", 1))
    venue.node.push_telemetry(venue.line)
    assert [rows(venue.hub, table, name) for table, name in kept] == lost
    assert rows(venue.hub, tables.lease, "quantity") == {(5,)}
    assert {device for (device,) in rows(venue.hub, tables.telemetry, "device")} == {gate.identity.device}
    same_everywhere(venue)
    venue.of(kiosk).lease(LeaseRequest(kiosk.journal.incarnation, (SlotWish(slot, more=1, lent={HUB: 5}),)))


def test_many_operations_of_a_shut_out_device_are_kept_without_effect(node: HubNode, kiosk: Device) -> None:
    """Also where a whole segment is taken together."""
    kiosk.append(*(kiosk.sale() for _ in range(40)))
    segment = kiosk.journal.next_segment(kiosk.state)
    assert segment is not None
    node.revoke(kiosk.identity.device)
    with node.read() as connection:
        sender = devices.find(connection, kiosk.identity.device)
    assert sender is not None
    answers = node.operations(segment, sender=sender)
    assert len(answers) == 41
    assert {(item.status.value, item.reason) for item in answers} == {("rejected", "revoked")}
    assert rows(node, tables.order, "order") == set()
    assert len(rows(node, tables.operation, "op")) == 41


def test_what_people_ruled_and_the_hubs_tls_keys_pass_through(venue: Venue, kiosk: Device, gate: Device) -> None:
    got: list[str] = []
    venue.node.on_pins = got.append
    what = kiosk.sale()
    kiosk.append(what)
    segment = kiosk.journal.next_segment(kiosk.state)
    assert segment is not None
    venue.hub.revoke(kiosk.identity.device)
    with venue.hub.read() as connection:
        sender = devices.find(connection, kiosk.identity.device)
    assert sender is not None
    venue.hub.operations(segment, sender=sender)
    venue.hub.retry_operation(OpId(bytes.fromhex(what.op)), by="office")
    said = tls.signed(tls.Pins(1, (b"p" * 32,), venue.hub.clock.now_utc()), venue.hub.key)
    with venue.hub.write() as connection:
        row = {"name": tls.DOCUMENT, "text": said, "at": tables.stamp(venue.hub.clock.now_utc())}
        connection.execute(tables.document.insert(), row)
        feed.touch(connection, "document", [tls.DOCUMENT])
    venue.pull()
    ruled = rows(venue.node, tables.revised_answer, "op", "status", "reason", "at")
    assert ruled == rows(venue.hub, tables.revised_answer, "op", "status", "reason", "at") != set()
    page = venue.of(gate).changes(None, wait_s=0, rows_max=1000)
    assert [row["op"] for part in page.tables if part.table == "answer" for row in part.as_mappings()] == [what.op]
    assert got == [said]


def test_a_node_that_is_behind_says_so(venue: Venue, kiosk: Device, gate: Device) -> None:
    """A device that saw a cancellation at the hub is not shown the ticket as good again by a node that has not heard of it."""
    kiosk.append(kiosk.sale())
    venue.send(kiosk)
    venue.push()
    venue.pull()
    [sold] = kiosk.sold
    ticket = TicketId(bytes.fromhex(sold.ticket))
    puller = venue.downloader(gate)
    while puller.step(wait_s=0).more:
        pass
    venue.hub.cancel_ticket(ticket, by="office", reason="lost")
    puller.use(gate.hub, node=None)
    pulled = puller.step(wait_s=0)
    assert pulled.rows == 1, "the hub is asked for what the node had not told, and for nothing else"
    assert _cached_state(gate, puller.generation, ticket) == "cancelled"
    assert not puller.is_ready(venue.of(gate), node=venue.node.identity.device.hex())
    puller.use(venue.of(gate), node=venue.node.identity.device.hex())
    with pytest.raises(HubRefused, match="less of the hub"):
        puller.step(wait_s=0)
    venue.pull()
    assert puller.is_ready(venue.of(gate), node=venue.node.identity.device.hex())
    puller.step(wait_s=0)
    assert _cached_state(gate, puller.generation, ticket) == "cancelled"
    puller.close()


def _cached_state(device: Device, generation: int | None, ticket: TicketId) -> str:
    assert generation is not None
    held = Cache.open(device.state.cache(generation))
    with held.engine.begin() as connection:
        found = cache_file.find(connection, ticket)
    held.close()
    assert found is not None
    return found.state.value


def test_a_device_from_the_hub_goes_on_in_the_nodes_feed(
    venue: Venue, kiosk: Device, gate: Device, gate_b: Device
) -> None:
    """With everything of the hub in its cache it is sent what is new here, not everything again; nothing that only the node has is missed."""
    puller = venue.downloader(gate)
    puller.use(gate.hub, node=None)
    for _number in range(5):
        kiosk.append(kiosk.sale(count=20))
    venue.send(kiosk, to=kiosk.hub)
    while puller.step(wait_s=0).more:
        pass
    venue.pull()
    gate_b.append(gate_b.admission(kiosk.sold[3].ticket))
    venue.send(gate_b)
    for sold in kiosk.sold[:3]:  # granted here, and nobody else has heard of it
        assert isinstance(venue.of(gate_b).claim(gate_b.claim(sold.ticket), deadline_s=1), Granted)
    venue.hub.cancel_ticket(TicketId(bytes.fromhex(kiosk.sold[4].ticket)), by="office", reason="lost")
    while puller.step(wait_s=0).more:
        pass
    venue.pull()  # the node's mark for this place of the hub's feed comes after all that it did itself
    puller.use(venue.of(gate), node=venue.node.identity.device.hex())
    came = 0
    while (pulled := puller.step(wait_s=0)).more or pulled.rows:
        came += pulled.rows
    assert came == 5, f"{came} rows came: three claims, an admission, the cancelled one again"
    puller.close()


def test_a_new_generation_from_the_hub_keeps_what_only_the_node_knew(venue: Venue, kiosk: Device, gate: Device) -> None:
    kiosk.append(kiosk.sale())
    venue.send(kiosk, to=kiosk.hub)
    venue.pull()
    [sold] = kiosk.sold
    assert isinstance(venue.of(gate).claim(gate.claim(sold.ticket), deadline_s=1), Granted)
    puller = venue.downloader(gate)
    while puller.step(wait_s=0).more:
        pass
    with venue.hub.write() as connection:
        connection.execute(update(tables.meta).where(tables.meta.c.key == feed.FEED_EPOCH).values(value="restored"))
    puller.use(gate.hub, node=None)
    before = puller.generation
    while puller.step(wait_s=0).more:
        pass
    assert puller.generation != before
    assert puller.generation is not None
    held = Cache.open(gate.state.cache(puller.generation))
    with held.engine.begin() as connection:
        assert len(cache_file.uses(connection, TicketId(bytes.fromhex(sold.ticket)))) == 1
    held.close()
    for _ in range(40):
        puller.step(wait_s=0)
    assert puller.diverged == 0, "what the hub has not heard of yet, or was carried over, counts as a damaged cache"
    with Cache.open(gate.state.cache(puller.generation)).engine.begin() as connection:
        assert cache_file.uncounted(connection) == 0, "what was carried over is never counted"
    puller.close()


def test_only_the_named_node_rules(node: HubNode, venue: Venue, kiosk: Device, gate: Device) -> None:
    kiosk.append(kiosk.sale())
    venue.send(kiosk)
    [sold] = kiosk.sold
    state_arbiter(node, epoch=2, node=None)
    venue.pull()
    with pytest.raises(HubRefused) as refused:
        venue.of(gate).claim(gate.claim(sold.ticket), deadline_s=1)
    assert refused.value.error == "epoch"
    state_arbiter(node, epoch=1, node=venue.node.identity.device)  # a restored hub with an old statement
    venue.pull()
    with pytest.raises(HubRefused):
        venue.of(gate).claim(gate.claim(sold.ticket), deadline_s=1)


def test_a_node_that_was_put_back_confirms_nothing_until_the_hub_names_a_new_epoch(
    node: HubNode, venue: Venue, kiosk: Device, gate: Device, gate_b: Device, tmp_path: Path, clock: FixedClock
) -> None:
    """It granted a ticket after its backup; in the same epoch it would grant that again. The statement that names it may itself be one that
    the backup lacks, and says nothing of when it was made: only one after it does.
    """
    key, url = tmp_path / "venue", f"sqlite:///{tmp_path / 'V1.db'}"
    kiosk.append(kiosk.sale())
    venue.send(kiosk)
    venue.push()
    venue.pull()
    witness.watch(venue.node, key)
    with sqlite3.connect(tmp_path / "V1.db") as live, sqlite3.connect(tmp_path / "old.db") as old:
        live.backup(old)
    state_arbiter(node, epoch=2, node=venue.node.identity.device)
    venue.pull()
    [sold] = kiosk.sold
    assert isinstance(venue.of(gate).claim(gate.claim(sold.ticket, epoch=2), deadline_s=1), Granted)
    witness.keep(venue.node)
    venue.node.engine.dispose()

    def opened() -> Venue:
        was = venue.node
        made = VenueNode(
            open_database(url), was.identity, was.key, upstream=venue.line, clock=clock, random_bytes=seeded(79)
        )
        witness.watch(made, key)
        return Venue(node, made, venue.line)

    for leftover in tmp_path.glob("V1.db*"):
        leftover.unlink()
    shutil.copy(tmp_path / "old.db", tmp_path / "V1.db")
    again = opened()
    for _start in range(2):  # and it knows that after it was started once more
        assert again.node.put_back
        for _pull in range(2):
            again.pull()
            assert not again.node.reign().rules
            with pytest.raises(HubRefused) as refused:
                again.of(gate_b).claim(gate_b.claim(sold.ticket, epoch=2), deadline_s=1)
            assert refused.value.error == "epoch"
            with pytest.raises(EpochPassed) as soon:
                again.node.claim_soon(gate_b.claim(sold.ticket, epoch=2), sender=gate_b.known).result(5)
            assert soon.value.epoch == 2, "the newest that is known there: the gate pulls what came after"
        again.node.close_desk()
        again.node.engine.dispose()
        again = opened()
    state_arbiter(node, epoch=3, node=again.node.identity.device)
    again.pull()
    assert again.node.reign().rules
    assert isinstance(again.of(gate_b).claim(gate_b.claim(sold.ticket, epoch=3), deadline_s=1), Granted)
    again.node.engine.dispose()
    assert not opened().node.put_back


def test_a_gate_that_died_with_a_claim_holds_no_device_far_back(
    venue: Venue, kiosk: Device, gate: Device, gate_b: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim is told again, so that who comes from the hub is sent that and not everything since; and it is not lost."""
    monkeypatch.setattr(standing, "CLAIM_BEHIND_MAX", 10)
    kiosk.append(kiosk.sale(count=20), kiosk.sale(count=20))
    venue.send(kiosk, to=kiosk.hub)
    venue.pull()
    dead = gate_b.claim(kiosk.sold[0].ticket)
    assert isinstance(venue.of(gate_b).claim(dead, deadline_s=1), Granted)
    kiosk.append(kiosk.sale(count=20), kiosk.sale(count=20))
    venue.send(kiosk, to=kiosk.hub)
    venue.pull()
    seen = gate.hub.changes(None, wait_s=0, rows_max=1000).cursor
    for _again in range(2):
        venue.node.bring_forward()
        page = venue.node.changes(None, rows_max=1000, scope="gate", sender=gate.known, seen=seen)
        told = [(part.table, row[0]) for part in page.tables for row in part.rows]
        assert told == [("used", dead.op)]


def test_a_chain_goes_back_within_its_own_incarnation(venue: Venue, kiosk: Device) -> None:
    """And what waits is listed without its operations: a venue has hundreds of chains."""
    for _number in range(2):
        kiosk.append(kiosk.sale())
        venue.send(kiosk)
    device = kiosk.identity.device
    with venue.node.write() as connection:
        [item] = relay.waiting(connection)
        segment = relay.load(connection, item)
        assert (segment.device, segment.first, len(segment.bodies)) == (device, item.first, segment.last)
        relay.keep(connection, replace(segment, incarnation=2), position=0, now=venue.node.clock.now_utc())
        for incarnation in (1, 2):
            found = relay.first_waiting(connection, device, incarnation)
            assert found is not None
            assert (found.incarnation, found.first) == (incarnation, 1)
        assert relay.first_waiting(connection, device, 3) is None


def test_what_was_refunded_at_the_hub_is_no_use_left_at_the_node(
    venue: Venue, kiosk: Device, gate: Device, gate_b: Device
) -> None:
    """A book of three, two of them paid back: the node grants one, and tells its gates' caches why."""
    kiosk.append(kiosk.sale(uses=3))
    venue.send(kiosk)
    venue.push()
    venue.pull()
    [sold] = kiosk.sold
    with venue.hub.write() as connection:
        withdrawals.withdraw(
            connection,
            OpId(b"r" * 16),
            TicketId(bytes.fromhex(sold.ticket)),
            withdrawals.Kind.REFUND,
            units=2,
            by="office",
            reason="rain",
            epoch=None,
            now=venue.hub.clock.now_utc(),
        )
    venue.pull()
    [told] = [
        row["withdrawn"]
        for part in venue.of(gate).changes(None, wait_s=0, rows_max=1000).tables
        if part.table == "ticket"
        for row in part.as_mappings()
    ]
    assert told == 2
    assert isinstance(venue.of(gate).claim(gate.claim(sold.ticket), deadline_s=1), Granted)
    beyond = venue.of(gate_b).claim(gate_b.claim(sold.ticket), deadline_s=1)
    assert isinstance(beyond, Denied)
    assert beyond.reason is Reason.EXHAUSTED


def test_on_whose_word_a_guest_went_in_is_the_same_at_node_and_hub(
    venue: Venue, kiosk: Device, gate: Device, gate_b: Device
) -> None:
    """A claim that its gate did not hear in time becomes policy by the gate's own word, whichever of the two gets that first; else both
    would name another guest of the two as the one too many.
    """
    kiosk.append(kiosk.sale(count=2))
    venue.send(kiosk)
    venue.push()
    venue.pull()
    state_arbiter(venue.hub, epoch=2, node=None)
    first, second = (gate.claim(sold.ticket, epoch=2) for sold in kiosk.sold)
    for claim in (first, second):
        assert isinstance(gate.hub.claim(claim, deadline_s=1), Granted)
    venue.pull()  # so far both are confirmed, at both
    for claim, to in ((first, gate.hub), (second, None)):
        gate.append(gate.admission(claim.ticket, op=claim.op, mode=Mode.POLICY, epoch=1))
        venue.send(gate, to=to)
        venue.pull()
    with venue.hub.write() as connection:  # the hub says again what it knows of the second, which is the claim alone
        feed.touch(connection, "used", [bytes.fromhex(second.op)])
    venue.pull()
    assert rows(venue.node, tables.used, "mode", "epoch") == {(Mode.POLICY, 1)}
    venue.push()
    venue.pull()
    same_everywhere(venue)
    late = gate_b.admission(first.ticket, mode=Mode.CONFIRMED, epoch=2)
    for at in (venue.hub, venue.node):
        with at.write() as connection:
            ledger.admit(connection, late, device=gate_b.identity.device, now=at.clock.now_utc())
            assert [item.op.hex() for item in ledger.all_conflicts(connection)] == [first.op]


def test_leases_are_the_hubs_and_come_through_the_node(venue: Venue, kiosk: Device) -> None:
    open_some_slots(venue.hub, capacity=20)
    venue.pull()
    slot = sorted(name for (name,) in rows(venue.node, tables.slot, "slot"))[0]
    got = venue.of(kiosk).lease(LeaseRequest(1, (SlotWish(str(slot), more=7, urgent=True),), ((6, 1),)))
    assert (got.slots[0].quantity, len(got.blocks)) == (7, 1)
    assert rows(venue.hub, tables.lease, "device", "quantity") == {(kiosk.identity.device, 7)}
    assert got.lender == HUB, "what comes through the node is the hub's, and stays so when the kiosk asks there itself"
    kiosk.append(kiosk.sale(slot=str(slot)))
    venue.send(kiosk)
    venue.push()
    venue.pull()
    [(free, wanted)] = {
        (row["free"], row["wanted"])
        for part in venue.of(kiosk).changes(None, wait_s=0, rows_max=1000).tables
        if part.table == "slot"
        for row in part.as_mappings()
        if row["slot"] == slot
    }
    assert (free, wanted) == (13, 0), "the node tells of the hub's stock, and reckons none of its own"
    assert venue.of(kiosk).certificate() == kiosk.hub.certificate()
    venue.line.cut = True
    for call in (lambda: venue.of(kiosk).lease(LeaseRequest(1, (), ())), lambda: venue.of(kiosk).certificate()):
        with pytest.raises(HubRefused) as refused:
            call()
        assert refused.value.error == "hub_away"


def test_what_a_node_had_of_a_device_before_it_was_shut_out_stays_good(
    venue: Venue, kiosk: Device, clock: FixedClock
) -> None:
    """At the node before: valid, though the hub hears of it after. Sent after: kept by both, without effect."""
    kiosk.append(kiosk.sale())
    venue.send(kiosk)
    clock.now += timedelta(seconds=5)
    venue.hub.revoke(kiosk.identity.device)
    clock.now += timedelta(seconds=5)
    venue.push()
    assert len(rows(venue.hub, tables.order, "order")) == 1
    kiosk.append(kiosk.sale())
    venue.pull()
    with venue.node.read() as connection:
        known = devices.find(connection, kiosk.identity.device)
    assert known is not None
    assert known.revoked
    segment = kiosk.journal.next_segment(kiosk.state)
    assert segment is not None
    answers = venue.node.operations(segment, sender=known)
    assert [(item.status, item.reason) for item in answers] == [("rejected", "revoked")]
    venue.push()
    assert len(rows(venue.hub, tables.order, "order")) == 1
    assert ("rejected", "revoked", segment.last) in rows(venue.hub, tables.operation, "status", "reason", "seq")
    same_everywhere(venue)


def test_a_stuck_chain_holds_up_no_other(venue: Venue, kiosk: Device, gate: Device) -> None:
    """The hub holds another history of the kiosk: that is told, the kiosk learns it at the node, and the gate's work goes on."""
    copy = kiosk.state.path.parent / "copied"
    shutil.copytree(kiosk.state.path, copy)
    from sync.journal import open_journal
    from sync.state import StateDir

    twin_state = StateDir(copy)
    twin = Device(
        twin_state,
        kiosk.identity,
        open_journal(twin_state, clock=kiosk.clock, random_bytes=seeded(9)),
        kiosk.hub,
        kiosk.clock,
        seeded(9),
    )
    twin.append(twin.sale())
    venue.send(twin, to=kiosk.hub)
    kiosk.append(kiosk.sale())
    gate.append(gate.admission(kiosk.sold[0].ticket, code=kiosk.code_of(kiosk.sold[0])))
    venue.line.cut = True
    venue.send(kiosk)
    venue.send(gate)
    venue.line.cut = False
    assert venue.push() == 2, "the gate's two"
    kiosk.append(kiosk.sale())
    with pytest.raises(HubRefused) as refused:
        venue.send(kiosk)
    assert refused.value.error == "chain_fork"
    assert ("relay",) in rows(venue.node, tables.trouble, "kind")


def test_telemetry_comes_through(venue: Venue, kiosk: Device, clock: FixedClock) -> None:
    venue.of(kiosk).telemetry(Telemetry(at=clock.now_utc(), software="x", unsent=3))
    venue.node.push_telemetry(venue.line)
    assert (kiosk.identity.device,) in rows(venue.hub, tables.telemetry, "device")


def test_a_segment_is_kept_for_the_hub_in_the_transaction_that_applied_it(
    venue: Venue, kiosk: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    kiosk.append(kiosk.sale())

    def broken(*_: object, **__: object) -> None:
        raise OSError("disk")

    monkeypatch.setattr(relay, "keep", broken)
    with pytest.raises(OSError, match="disk"):
        venue.send(kiosk)
    assert rows(venue.node, tables.operation, "seq") == set() == rows(venue.node, relay_segment, "first")
    monkeypatch.undo()
    venue.send(kiosk)
    assert venue.push() == 2


def test_a_link_of_role_venue_makes_a_node(node: HubNode, tmp_path: Path, clock: FixedClock) -> None:
    who = make_device(node, tmp_path, role=Role.VENUE, label="V9", clock=clock, random_bytes=seeded(5))
    assert who.identity.role is Role.VENUE
    assert who.identity.kid is None
    assert isinstance(who.hub, LocalHub)


def test_a_row_is_laid_over_until_the_hub_has_it_and_the_cache_too(venue: Venue, kiosk: Device) -> None:
    """A mark of the node's feed counts by the node's cursor, and only up to what the hub has: until then nothing is deleted either."""
    kiosk.append(kiosk.sale(), kiosk.sale())
    venue.send(kiosk)
    end = kiosk.journal.acknowledged_seq()
    puller, late = venue.downloader(kiosk), kiosk.clock.now_utc() + timedelta(days=400)
    assert note_covered(kiosk.journal, puller.cursors()) == 0
    while puller.step(wait_s=0).more:
        pass
    assert note_covered(kiosk.journal, puller.cursors()) == 0, "in the cache, but only the node has it"
    assert prune(kiosk.journal, now=late).operations == 0
    venue.push()
    assert note_covered(kiosk.journal, puller.cursors()) == 0, "nobody has said that the hub has it"
    while puller.step(wait_s=0).more:
        pass
    assert kiosk.journal.hub_seq() == end
    assert note_covered(kiosk.journal, puller.cursors()) == end
    assert prune(kiosk.journal, now=late).operations == end - 1
    puller.close()
