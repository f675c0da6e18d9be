"""The arbiter: groups, reigns, and what takes value from a ticket without anybody passing."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from hub import tables
from hub.errors import BadRequest, EpochPassed, NotFound
from hub.node import HubNode
from hub.services import ledger, reign, venue, withdrawals
from hub.services.arbiter import Asked
from hub.services.withdrawals import Kind
from sync import arbiter as statements
from sync import cache, conflict
from sync.download import Downloader
from sync.errors import HubRefused
from sync.operation import Mode
from sync.state import Role
from sync.upload import Uploader
from tests import hubkit
from tests.hubkit import Device
from tickets.admission import Denied, Granted, Passage, Reason
from tickets.catalogue import Catalogue
from tickets.clock import FixedClock
from tickets.ids import DeviceId, OpId, TicketId
from tickets.life_cycle import TicketState


def push(device: Device) -> None:
    while Uploader(device.journal, device.state, device.hub, clock=device.clock).step().operations:
        pass


def sell(kiosk: Device, **more: Any) -> str:
    kiosk.append(kiosk.sale(**more))
    push(kiosk)
    return kiosk.sold[-1].ticket


def of(ticket: str) -> TicketId:
    return TicketId(bytes.fromhex(ticket))


# Groups


def test_a_group_is_decided_as_if_each_came_alone(kiosk: Device, gate: Device, gate_b: Device, node: HubNode) -> None:
    single, book = sell(kiosk), sell(kiosk, uses=3)
    kiosk.append(kiosk.sale(uses=2))
    unheard = kiosk.sold[-1]
    code, twice = kiosk.code_of(unheard), gate.random_bytes(16).hex()
    one, two = gate.identity.device, gate_b.identity.device
    asked = [
        Asked(gate.claim(single), one),
        Asked(gate_b.claim(single), two),
        Asked(gate.claim(book, units=2), one),
        Asked(gate_b.claim(book, units=2), two),
        Asked(gate.claim(book, op=twice), one),
        Asked(gate.claim(book, op=twice), one),
        Asked(gate_b.claim(book, op=twice), two),
        Asked(gate.claim(unheard.ticket, code=code), one),
        Asked(gate_b.claim(unheard.ticket, code=code), two),
        Asked(gate.claim(unheard.ticket), one),
        Asked(gate.claim("00" * 10), one),
        Asked(gate.claim(book, units=0), one),
        Asked(gate.claim(single, epoch=9), one),
    ]
    found = node.claims(asked)
    said = [one.reason if isinstance(one, Denied) else one for one in found]
    assert said[:4] == [Granted(1, 0), Reason.ALREADY_USED, Granted(1, 1), Reason.EXHAUSTED]
    assert said[4:6] == [Granted(1, 0), Granted(1, 0)], "a known op, in the very same group"
    assert isinstance(said[6], BadRequest)
    assert said[7:11] == [Granted(1, 1), Granted(1, 0), Reason.EXHAUSTED, Reason.UNKNOWN]
    assert isinstance(said[11], BadRequest)
    assert isinstance(said[12], EpochPassed)
    with node.read() as connection:
        assert len(connection.execute(select(tables.used)).all()) == 5
        assert ledger.all_conflicts(connection) == ()


def test_a_tombstone_stops_its_claim_in_a_group_too(kiosk: Device, gate: Device, node: HubNode) -> None:
    ticket, op = sell(kiosk), gate.random_bytes(16).hex()
    from sync.operation import ReleaseReason
    from sync.protocol import ReleaseMessage

    gate.hub.release(
        ReleaseMessage(
            OpId(gate.random_bytes(16)), OpId(bytes.fromhex(op)), ReleaseReason.ABANDONED, "A", gate.clock.now_utc()
        )
    )
    given_up, fresh = gate.claim(ticket, op=op), gate.claim(ticket)
    found = node.claims([Asked(given_up, gate.identity.device), Asked(fresh, gate.identity.device)])
    assert found == [Denied(Reason.NO_ANSWER), Granted(1, 0)]


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_however_claims_are_grouped_the_answers_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sizes: list[int]
) -> None:
    answers = []
    for grouped in (False, True):
        folder, clock = tmp_path_factory.mktemp("hub"), FixedClock(hubkit.NOON)
        node = hubkit.make_node(folder, clock=clock, random_bytes=hubkit.seeded(1))
        kiosk = hubkit.make_device(
            node, folder, role=Role.KIOSK, label="K2", clock=clock, random_bytes=hubkit.seeded(2)
        )
        gate = hubkit.make_device(node, folder, role=Role.GATE, label="A", clock=clock, random_bytes=hubkit.seeded(3))
        tickets = [sell(kiosk, uses=uses) for uses in (1, 2, 5, 0)]
        chance = random.Random(seed)
        asked = []
        for size in sizes:
            group = []
            for _ in range(size):
                kind = chance.choice((Passage.ENTRY, Passage.ENTRY, Passage.EXIT, Passage.REENTRY))
                units = chance.randint(1, 2) if kind is Passage.ENTRY else 0
                op = bytes([chance.randrange(12)]) * 16
                message = gate.claim(chance.choice(tickets), kind=kind, units=units, op=op.hex())
                group.append(Asked(message, gate.identity.device))
            asked.append(group)
        found: list[Any] = []
        for group in asked:
            found += node.claims(group) if grouped else [node.claims([one])[0] for one in group]
        answers.append([(type(one), getattr(one, "left", None), getattr(one, "reason", None)) for one in found])
        node.engine.dispose()
    assert answers[0] == answers[1]


def test_threads_that_ask_at_once_take_no_use_twice(kiosk: Device, gate: Device, node: HubNode) -> None:
    """Through the desk: claims that wait are answered together, each after its commit."""
    tickets = [sell(kiosk, uses=3) for _ in range(4)]
    known = gate.known
    answers: list[Granted | Denied] = []

    def ask(number: int) -> None:
        for ticket in tickets:
            message = replace(gate.claim(ticket), op=bytes([number, tickets.index(ticket)] * 8).hex())
            answers.append(node.claim_soon(message, sender=known).result(20))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    node.close_desk()
    assert sum(isinstance(answer, Granted) for answer in answers) == 12
    with node.read() as connection:
        assert ledger.all_conflicts(connection) == ()


def test_the_desk_hands_on_what_each_comes_to(kiosk: Device, gate: Device, node: HubNode) -> None:
    ticket = sell(kiosk)
    soon = [node.claim_soon(gate.claim(ticket, epoch=epoch), sender=gate.known) for epoch in (1, 2)]
    assert soon[0].result(20) == Granted(1, 0)
    with pytest.raises(EpochPassed):
        soon[1].result(20)
    node.close_desk()
    assert node.claim_soon(gate.claim(ticket), sender=gate.known).result(20) != Granted(1, 0), "it opens again"
    node.close_desk()


# Reigns


def venue_node(node: HubNode, folder: Path, clock: FixedClock) -> Device:
    return hubkit.make_device(node, folder, role=Role.VENUE, label="N1", clock=clock, random_bytes=hubkit.seeded(9))


def test_a_new_hub_rules_itself_and_says_so_in_the_feed(node: HubNode, gate: Device) -> None:
    page = gate.hub.changes(None, wait_s=0, rows_max=100)
    (text,) = [
        row["text"]
        for part in page.tables
        if part.table == "document"
        for row in part.as_mappings()
        if row["name"] == "arbiter"
    ]
    said = statements.check(text, node.public)
    assert (said.epoch, said.node) == (1, None)
    assert node.reign() == reign.Reign(1, rules=True)


def test_handing_over_raises_the_epoch_and_stops_the_one_before(
    node: HubNode, kiosk: Device, gate: Device, tmp_path: Path, clock: FixedClock
) -> None:
    ticket = sell(kiosk)
    other = venue_node(node, tmp_path, clock)
    said = node.hand_over(other.identity.device, urls=["http://192.168.1.10:8443/"], by="三浦")
    assert (said.epoch, said.urls) == (2, ("http://192.168.1.10:8443",))
    for epoch in (1, 2, 3):
        with pytest.raises(HubRefused) as caught:
            gate.hub.claim(gate.claim(ticket, epoch=epoch), deadline_s=1)
        assert (caught.value.status, caught.value.error) == (409, "epoch")
    back = node.hand_over(None, urls=[], by="三浦")
    assert back.epoch == 3
    assert gate.hub.claim(gate.claim(ticket, epoch=3), deadline_s=1) == Granted(3, 0)
    with node.read() as connection:
        assert [(row.epoch, row.by) for row in reign.record(connection)] == [(3, "三浦"), (2, "三浦"), (1, "hub")]
        row = connection.execute(select(tables.trouble).where(tables.trouble.c.kind == "epoch")).one()
    assert "epoch 3" in row.detail, "that a gate has seen a newer reign than its hub is for people to look at"


def test_a_node_rules_only_while_the_newest_statement_names_it(
    node: HubNode, kiosk: Device, gate: Device, tmp_path: Path, clock: FixedClock
) -> None:
    """The same database read as the node's own: what it pulled decides."""
    ticket = sell(kiosk)
    other = venue_node(node, tmp_path, clock)
    its = HubNode(
        node.engine,
        hubkit.Ed25519PrivateKey.from_private_bytes(b"n" * 32),
        clock=clock,
        random_bytes=hubkit.seeded(5),
        device=other.identity.device,
        hub_key=node.public,
    )
    with pytest.raises(EpochPassed):
        its.claim(gate.claim(ticket), sender=gate.known)
    node.hand_over(other.identity.device, urls=["http://node:1"], by="office")
    first = gate.claim(ticket, epoch=2)
    assert its.claim(first, sender=gate.known) == Granted(2, 0)
    with pytest.raises(EpochPassed):
        node.claim(gate.claim(ticket, epoch=2), sender=gate.known)
    node.hand_over(None, urls=[], by="office")
    with pytest.raises(EpochPassed):
        its.claim(gate.claim(ticket, epoch=2), sender=gate.known)
    again = node.claim(replace(first, epoch=3), sender=gate.known)
    assert again == Granted(3, 0), "a known op, in the words of the present reign"


def test_a_statement_that_the_hub_did_not_sign_lets_nobody_rule(node: HubNode, kiosk: Device, gate: Device) -> None:
    ticket = sell(kiosk)
    forged = statements.Arbiter(7, None, (), None, hubkit.NOON)
    text = statements.signed(forged, hubkit.Ed25519PrivateKey.from_private_bytes(b"x" * 32))
    with node.write() as connection:
        connection.execute(tables.document.update().where(tables.document.c.name == "arbiter").values(text=text))
    assert node.reign() == reign.Reign(0, rules=False)
    with pytest.raises(HubRefused):
        gate.hub.claim(gate.claim(ticket, epoch=7), deadline_s=1)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"urls": []}, "address"),
        ({"urls": ["node:1"]}, "no address"),
        ({"urls": ["http://node:1"], "tls": b"t" * 32}, "only https"),
        ({"urls": ["https://n:1"] * 9}, "at most 8"),
        ({"urls": ["http://node:1"], "by": " "}, "1 to 64"),
    ],
)
def test_what_cannot_be_an_arbiter_is_one_clear_line(
    node: HubNode, tmp_path: Path, clock: FixedClock, changes: dict[str, Any], wrong: str
) -> None:
    other = venue_node(node, tmp_path, clock)
    with pytest.raises(BadRequest, match=wrong):
        node.hand_over(other.identity.device, **{"by": "office", **changes})
    with pytest.raises(NotFound):
        node.hand_over(DeviceId(bytes(16)), urls=["http://node:1"], by="office")
    assert node.reign().epoch == 1


def test_what_two_reigns_both_confirmed_is_merged_and_its_excess_reported(
    node: HubNode, kiosk: Device, gate: Device, gate_b: Device
) -> None:
    ticket = sell(kiosk)
    gate.append(gate.admission(ticket, mode=Mode.CONFIRMED, epoch=1))
    gate_b.append(gate_b.admission(ticket, mode=Mode.CONFIRMED, epoch=2))
    push(gate)
    push(gate_b)
    with node.read() as connection:
        assert [item.beyond for item in ledger.all_conflicts(connection)] == [1]


# Withdrawals


def withdraw(node: HubNode, ticket: str, kind: Kind, units: int | None = None, op: bytes | None = None) -> Any:
    with node.write() as connection:
        return withdrawals.withdraw(
            connection,
            OpId(op or node.random_bytes(16)),
            of(ticket),
            kind,
            units=units,
            by="office",
            reason="雨",
            epoch=1,
            now=node.clock.now_utc(),
        )


def test_a_cancelled_ticket_loses_what_is_left_and_no_more(kiosk: Device, gate: Device, node: HubNode) -> None:
    book = sell(kiosk, uses=10)
    gate.hub.claim(gate.claim(book, units=3), deadline_s=1)
    node.cancel_ticket(of(book), by="office", reason="雨")
    with node.read() as connection:
        row = connection.execute(select(tables.withdrawal)).one()
        state = connection.scalar(select(tables.ticket.c.state))
        assert ledger.all_conflicts(connection) == ()
    assert (row.kind, row.units, row.by, row.reason, row.epoch, state) == ("cancel", 7, "office", "雨", 1, "cancelled")
    gate.append(gate.admission(book, units=2))  # a gate without a line let two more in
    push(gate)
    with node.read() as connection:
        assert [item.beyond for item in ledger.all_conflicts(connection)] == [2]


def test_refund_and_transfer_take_from_the_same_uses(kiosk: Device, gate: Device, node: HubNode) -> None:
    book, op = sell(kiosk, uses=10), node.random_bytes(16)
    assert withdraw(node, book, Kind.REFUND, 4, op) == withdrawals.Withdrawn(4, 6, TicketState.VALID)
    assert withdraw(node, book, Kind.REFUND, 4, op).units == 4, "a known op takes nothing more"
    assert gate.hub.claim(gate.claim(book, units=5), deadline_s=1) == Granted(1, 1)
    with pytest.raises(BadRequest, match="only 1"):
        withdraw(node, book, Kind.TRANSFER, 2)
    assert withdraw(node, book, Kind.TRANSFER, 1) == withdrawals.Withdrawn(1, 0, TicketState.TRANSFERRED)
    assert gate.hub.claim(gate.claim(book), deadline_s=1) == Denied(Reason.TRANSFERRED)
    with pytest.raises(BadRequest, match="cannot be"):
        withdraw(node, book, Kind.CANCEL)


def test_of_a_ticket_without_a_limit_only_all_can_be_taken(kiosk: Device, node: HubNode) -> None:
    endless = sell(kiosk, uses=0)
    with pytest.raises(BadRequest, match="without a limit"):
        withdraw(node, endless, Kind.REFUND, 1)
    assert withdraw(node, endless, Kind.REFUND) == withdrawals.Withdrawn(0, None, TicketState.REFUNDED)
    with pytest.raises(NotFound):
        withdraw(node, "00" * 10, Kind.REFUND)


# Both ends


def both_ends(node: HubNode, gate: Device) -> tuple[set[conflict.Conflict], set[conflict.Conflict]]:
    """The conflicts by the hub's tables, and by a gate's cache that the feed has filled."""
    downloader = Downloader(gate.journal, gate.state, gate.identity, gate.hub, clock=gate.clock)
    downloader.open()
    while downloader.step(wait_s=0).more:
        pass
    assert downloader.generation is not None
    held = cache.Cache.open(gate.state.cache(downloader.generation))
    found: set[conflict.Conflict] = set()
    with node.read() as connection:
        catalogue: Catalogue = venue.catalogue(connection)
        of_hub = set(ledger.all_conflicts(connection))
    with held.engine.begin() as connection:
        for row in connection.execute(select(cache.ticket)).all():
            ticket = cache.find(connection, TicketId(row.ticket))
            assert ticket is not None
            uses = cache.counted(connection, ticket.ticket)
            product = catalogue.product_of(ticket.variant)
            for window in {use.window for use in uses}:
                cap = product.uses_a_day if window and product and product.uses_a_day else ticket.uses
                gone = 0 if window else ticket.withdrawn
                found.update(conflict.conflicts([use for use in uses if use.window == window], cap=cap, withdrawn=gone))
    held.close()
    downloader.close()
    return of_hub, found


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_hub_and_gate_name_the_same_conflicts(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance, folder, clock = random.Random(seed), tmp_path_factory.mktemp("hub"), FixedClock(hubkit.NOON)
    node = hubkit.make_node(folder, clock=clock, random_bytes=hubkit.seeded(1))
    kiosk = hubkit.make_device(node, folder, role=Role.KIOSK, label="K2", clock=clock, random_bytes=hubkit.seeded(2))
    gates = [
        hubkit.make_device(
            node, folder, role=Role.GATE, label=label, clock=clock, random_bytes=hubkit.seeded(ord(label))
        )
        for label in "AB"
    ]
    tickets = [sell(kiosk, uses=uses) for uses in (1, 2, 6)]
    claimed: list[tuple[Device, Any]] = []
    for _ in range(25):
        gate, ticket = chance.choice(gates), chance.choice(tickets)
        match chance.choice(("claim", "claim", "policy", "answered late", "settled", "withdraw", "undo")):
            case "claim":
                message = gate.claim(ticket, units=chance.randint(1, 2))
                gate.hub.claim(message, deadline_s=1)
                claimed.append((gate, message))
            case "policy":
                gate.append(gate.admission(ticket, units=chance.randint(1, 2)))
            case "answered late":  # policy for its gate, granted or not at the arbiter, in either order
                admission = gate.admission(ticket)
                gate.append(admission)
                if chance.random() < 0.5:
                    push(gate)
                gate.hub.claim(gate.claim(ticket, op=admission.op), deadline_s=1)
            case "settled" if claimed:
                gate, message = claimed.pop(chance.randrange(len(claimed)))
                gate.append(
                    gate.admission(message.ticket, op=message.op, units=message.units, mode=Mode.CONFIRMED, epoch=1)
                )
            case "withdraw":
                try:
                    withdraw(node, ticket, chance.choice(list(Kind)), chance.choice((1, 1, 2, None)))
                except BadRequest:
                    continue
            case _:
                continue
    for gate in gates:
        push(gate)
    hub_says, gate_says = both_ends(node, gates[0])
    assert hub_says == gate_says
    node.engine.dispose()


@pytest.mark.parametrize("claim_first", [True, False])
def test_a_late_answer_leaves_the_same_ledger_in_both_orders(
    kiosk: Device, gate: Device, node: HubNode, claim_first: bool
) -> None:
    """The gate let in by policy while its claim was on its way: that is what everyone ranks it by."""
    ticket, op = sell(kiosk), gate.random_bytes(16).hex()
    gate.append(gate.admission(ticket, op=op))
    if claim_first:
        gate.hub.claim(gate.claim(ticket, op=op), deadline_s=1)
        push(gate)
    else:
        push(gate)
        gate.hub.claim(gate.claim(ticket, op=op), deadline_s=1)
    with node.read() as connection:
        row = connection.execute(select(tables.used)).one()
    assert (row.mode, row.epoch, row.released) == ("policy", None, 0)
