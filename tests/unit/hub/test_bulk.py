"""A segment applied in bulk is the segment applied one by one: same answers, same rows, whatever is in it."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, select
from sqlalchemy.exc import DBAPIError

from hub import tables
from hub.database import open_database
from hub.errors import HubError
from hub.node import HubNode
from hub.services import bulk, ledger, restore, venue, withdrawals
from sync.chain import ZERO_HASH, Segment, cut
from sync.claim import ClaimMessage
from sync.operation import (
    Incarnation,
    Mode,
    Owed,
    Paid,
    PaymentDoubt,
    Previous,
    Refusal,
    Release,
    ReleaseReason,
    SaleReversed,
    SoldTicket,
    to_body,
)
from sync.protocol import Answer, Status
from sync.state import Role
from sync.upload import Uploader
from tests import hubkit
from tests.hubkit import Device
from tests.support import postgres
from tickets.admission import Passage, Reason
from tickets.clock import FixedClock
from tickets.ids import OpId, TicketId

SLOTS = ("athletics-2026-11-23-1400", "athletics-2026-11-23-1500")
TABLES = [table for name, table in tables.metadata.tables.items() if name not in ("change", "meta")]


def rows_of(node: HubNode) -> dict[str, list[tuple[Any, ...]]]:
    with node.read() as connection:
        # Without running numbers: a savepoint that is taken back uses them up on PostgreSQL.
        found = {
            table.name: [
                tuple(row)
                for row in connection.execute(
                    select(*(c for c in table.c if c.name != "number" or c.type.python_type is str))
                )
            ]
            for table in TABLES
        }
        change = tables.change
        found["change"] = list({(row.table, row.key) for row in connection.execute(select(change))})
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


class Talk:
    """Random operations of three devices, of every kind and every fault, about few tickets, so that they cross each other."""

    def __init__(self, seed: int, kiosk: Device, gates: tuple[Device, ...]) -> None:
        self.random, self.kiosk, self.gates = random.Random(seed), kiosk, gates
        self.devices = (kiosk, *gates)
        self.ops: list[str] = ["ab" * 16]
        self.asked: list[tuple[bytes, SoldTicket, str]] = []
        self.bodies: dict[bytes, list[str]] = {device.identity.device: [] for device in self.devices}
        self.unsold: list[SoldTicket] = []
        self.ends = {device.identity.device: (0, ZERO_HASH) for device in self.devices}

    def op(self) -> str:
        self.ops.append(self.random.randbytes(16).hex())
        return self.ops[-1]

    def ticket(self) -> SoldTicket:
        if self.random.random() < 0.3 or not self.kiosk.sold:
            sale = self.kiosk.sale(uses=self.random.choice((0, 1, 1, 2)), variant=self.random.choice((1, 1, 7, 40)))
            self.unsold.append(sale.tickets[0])
        return self.random.choice(self.kiosk.sold[-12:])

    def one(self, device: Device) -> str:
        body = self.plain(device)
        if self.random.random() < 0.12:
            mine = self.bodies[device.identity.device]
            return self.random.choice(
                (
                    "no json",
                    json.dumps({"op": self.op(), "kind": "sale", "at": "2026-11-23T03:00:00+00:00"}),
                    body.replace('"v":2', '"v":0'),
                    body.replace("2026-11-23T", "0001-01-01T").replace("+00:00", "+14:00"),
                    body.replace('"ticket":"', '"ticket":"zz'),
                    self.random.choice(mine or [body]),
                    body.replace(json.loads(body)["op"], self.random.choice(self.ops)),
                )
            )
        return body

    def plain(self, device: Device) -> str:
        at, choose = device.clock.now_utc().isoformat(), self.random
        match choose.randrange(12):
            case 0 | 1:
                slot = choose.choice((None, *SLOTS, "no-such-slot"))
                sale = self.kiosk.sale(
                    count=choose.choice((1, 2)), op=self.op(), uses=choose.choice((0, 1, 2)), slot=slot
                )
                if choose.random() < 0.3:
                    sale = dataclasses.replace(sale, tickets=(self.ticket(), *sale.tickets[1:]))
                if choose.random() < 0.1:
                    sale = dataclasses.replace(sale, total_minor=1)
                if choose.random() < 0.1:
                    sale = dataclasses.replace(sale, tax=sale.tax * 2)
                return to_body(sale)
            case 2:
                return to_body(Refusal(self.op(), at, choose.choice((None, "0a" * 10)), Reason.UNKNOWN, "A", "A-0001"))
            case 3 | 4:
                return to_body(Release(self.op(), at, choose.choice(self.ops), ReleaseReason.UNDONE, "A"))
            case 5:
                return to_body(SaleReversed(self.op(), at, choose.choice(("00" * 10, self.order())), "x", Paid("card")))
            case 6:
                doubt = PaymentDoubt(self.op(), at, "a1", "0c" * 10, 1800, "JPY", "card", "unknown", "K2-0001")
                return to_body(choose.choice((doubt, Owed(self.op(), at, "0c" * 10, "K2-0002", ()))))
            case 7:
                kind = json.dumps({"op": self.op(), "kind": "weather", "at": at, "sunny": True})
                return choose.choice((kind, to_body(Incarnation(self.op(), at, "x", Previous(1, 7)))))
            case _:
                sold = self.random.choice(self.asked)[1] if self.asked and choose.random() < 0.3 else self.ticket()
                code = self.kiosk.code_of(sold) if choose.random() < 0.5 else None
                return to_body(
                    device.admission(
                        sold.ticket,
                        code="T1:X" if code and choose.random() < 0.1 else code,
                        op=self.claimed_by(device, sold) if choose.random() < 0.5 else self.op(),
                        units=choose.choice((0, 1, 1, 2, 100_000)),
                        epoch=choose.choice((None, 1, 2)),
                        interrupted=choose.random() < 0.1,
                        window=choose.choice(("", "", "2026-11-23")),
                        mode=choose.choice((Mode.POLICY, Mode.CONFIRMED)),
                        passage=choose.choice(tuple(Passage)),
                        attention=choose.choice((None, Reason.ALREADY_USED)),
                    )
                )

    def order(self) -> str:
        bodies = [body for body in self.bodies[self.kiosk.identity.device] if '"kind":"sale"' in body]
        try:
            return str(json.loads(self.random.choice(bodies))["order"]) if bodies else "0c" * 10
        except ValueError:
            return "0c" * 10

    def segment(self) -> tuple[Device, Segment]:
        device = self.random.choice(self.devices)
        name = device.identity.device
        bodies = tuple(self.one(device) for _ in range(self.random.choice((1, 3, 12, 40))))
        seq, before = self.ends[name]
        made = cut(
            device=name,
            incarnation=1,
            first=seq + 1,
            before=before,
            bodies=bodies,
            key=device.state.identity_key(),
        )
        self.ends[name] = (made.last, made.head)
        self.bodies[name].extend(bodies)
        return device, made

    def claim(self) -> tuple[Device, ClaimMessage]:
        gate, sold = self.random.choice(self.gates), self.ticket()
        op = self.op()
        self.asked.append((gate.identity.device, sold, op))
        return gate, gate.claim(sold.ticket, code=self.kiosk.code_of(sold), op=op)

    def claimed_by(self, device: Device, sold: SoldTicket) -> str:
        """The op under which this gate has claimed this ticket; a fresh one where it has not."""
        ops = [op for who, what, op in self.asked if (who, what) == (device.identity.device, sold)]
        return self.random.choice(ops) if ops else self.op()

    def withdraw(self, nodes: tuple[HubNode, ...]) -> None:
        """A part of a ticket, or all of it, is taken by the office, at each hub; where it cannot be, at none."""
        op, ticket = OpId(bytes.fromhex(self.op())), TicketId(bytes.fromhex(self.ticket().ticket))
        kind, units = self.random.choice(tuple(withdrawals.Kind)), self.random.choice((None, 1))
        told = []
        for node in nodes:
            try:
                with node.write() as connection:
                    now = node.clock.now_utc()
                    given = {"units": units, "by": "x", "reason": "y", "epoch": 1, "now": now}
                    told.append(repr(withdrawals.withdraw(connection, op, ticket, kind, **given)))
            except HubError as error:
                told.append(repr(error))
        assert len(set(told)) == 1


def place(engine: str, folder: Path, clock: FixedClock) -> tuple[HubNode, HubNode, tuple[Device, ...]]:
    """Two hubs that are the same, and three devices enrolled at both."""
    if engine == "sqlite":
        node = hubkit.make_node(folder, clock=clock, random_bytes=hubkit.seeded(1))
    else:
        key = Ed25519PrivateKey.from_private_bytes(hubkit.seeded(9)(32))
        node = HubNode(open_database(postgres.fresh_url()), key, clock=clock, random_bytes=hubkit.seeded(1))
        with node.write() as connection:
            venue.publish_catalogue(connection, hubkit.VENUE, now=clock.now_utc())
    hubkit.open_some_slots(node, capacity=5)
    devices = tuple(
        hubkit.make_device(node, folder, role=role, label=label, clock=clock, random_bytes=hubkit.seeded(number))
        for number, (role, label) in enumerate(((Role.KIOSK, "K2"), (Role.GATE, "A"), (Role.GATE, "B")))
    )
    with node.write() as connection:  # else the copy would be taken for a backup that was put back
        connection.execute(delete(tables.meta).where(tables.meta.c.key == "feed_home"))
    node.engine.dispose()
    if engine == "sqlite":
        shutil.copy(folder / "hub.db", folder / "judge.db")
        url = f"sqlite:///{folder}/judge.db"
    else:
        name = str(node.engine.url.database)
        url = postgres.server().url(postgres.server().fresh(template=name))
    database = open_database(url)
    with database.begin() as connection:  # else it takes itself for a restored one, which it is
        connection.execute(delete(tables.meta).where(tables.meta.c.key == restore.HOME))
    judge = HubNode(database, node.key, clock=clock, random_bytes=hubkit.seeded(9))
    return node, judge, devices


@pytest.mark.parametrize(("engine", "seed"), [("sqlite", 0), ("sqlite", 1), ("sqlite", 2), ("postgresql", 3)])
def test_bulk_and_one_by_one_are_the_same(
    engine: str, seed: int, tmp_path: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, judge, (kiosk, *gates) = place(engine, tmp_path, clock)
    in_bulk, talk = bulk.take, Talk(seed, kiosk, tuple(gates))
    slow: list[int] = []

    def one_by_one(connection: Any, items: Any, *, one: Any, spent: Any, now: Any, **_: Any) -> list[Answer]:
        answers = []
        for item in items:
            answers.append(one(item))
            spent.reckon(connection, now=now)  # the judge counts after each, as a hub without bulk would
        return answers

    def counted(connection: Any, items: Any, *, one: Any, **rest: Any) -> list[Answer]:
        def note(item: Any) -> Answer:
            slow.append(item.number)
            return one(item)

        return in_bulk(connection, items, one=note, **rest)

    seen: set[Status] = set()
    for _ in range(30):
        if talk.random.random() < 0.3:
            gate, claim = talk.claim()
            answers = [each.claim(claim, sender=gate.known) for each in (node, judge)]
            assert answers[0] == answers[1]
        if talk.random.random() < 0.3:
            talk.withdraw((node, judge))
        device, segment = talk.segment()
        monkeypatch.setattr(bulk, "take", counted)
        here = node.operations(segment, sender=device.known)
        monkeypatch.setattr(bulk, "take", one_by_one)
        there = judge.operations(segment, sender=device.known)
        assert here == there
        seen.update(answer.status for answer in here)
    mine, theirs = rows_of(node), rows_of(judge)
    for name, rows in mine.items():
        assert rows == theirs[name], name
    assert seen == set(Status), "every answer has been given"
    with node.read() as connection:
        sold = select(tables.order_line.c.count).where(tables.order_line.c.slot.in_(SLOTS))
        assert connection.scalars(sold).all(), "stock was sold"
    assert 0 < len(slow) < len(mine["operation"]) * 0.9, "both ways were walked"
    for each in (node, judge):
        each.engine.dispose()


def test_two_gates_at_once_with_uses_of_the_same_tickets(tmp_path: Path, clock: FixedClock) -> None:
    """On PostgreSQL both are inside at once: neither is lost, each ticket has a first and a second use, and one of the two is told."""
    node, _, (kiosk, *gates) = place("postgresql", tmp_path, clock)
    sales = [kiosk.sale(count=2) for _ in range(40)]
    kiosk.append(*sales)
    Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=clock).step()
    unknown = [kiosk.sale().tickets[0] for _ in range(20)]
    tickets = [sold for sale in sales for sold in sale.tickets] + unknown
    start, answers = threading.Barrier(2), {}

    def upload(gate: Device, order: list[SoldTicket]) -> None:
        gate.append(*(gate.admission(sold.ticket, code=kiosk.code_of(sold)) for sold in order))
        segment = gate.journal.next_segment(gate.state)
        assert segment is not None
        sender = gate.known
        start.wait()
        while True:  # as a device does: told to come again, it comes again
            try:
                answers[gate.identity.label] = node.operations(segment, sender=sender)
                return
            except DBAPIError:
                continue

    threads = [
        threading.Thread(target=upload, args=(gate, order))
        for gate, order in zip(gates, (tickets, tickets[::-1]), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(answers) == {"A", "B"}
    assert all(item.status in (Status.ACCEPTED, Status.CONFLICT) for part in answers.values() for item in part)
    with node.read() as connection:
        rows = connection.execute(select(tables.used.c.ticket, tables.used.c.arrival)).all()
        found = ledger.all_conflicts(connection)
    assert sorted((row.ticket.hex(), row.arrival) for row in rows) == sorted(
        (sold.ticket, arrival) for sold in tickets for arrival in (1, 2)
    )
    assert sorted(item.ticket.hex() for item in found) == sorted(sold.ticket for sold in tickets)
    node.engine.dispose()
