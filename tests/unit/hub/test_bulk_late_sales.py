"""A kiosk that was offline while its tickets were used comes back: its sales go as fast as any, and what they count is counted once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, insert, select, update

from hub import tables
from hub.node import HubNode
from hub.services import bulk, effects
from sync.operation import Incarnation, SaleReversed, UnknownKind
from sync.protocol import Answer, Status
from tests import hubkit
from tests.hubkit import Device
from tickets.ids import TicketId
from tickets.life_cycle import TicketState

SLOT = "athletics-2026-11-23-1400"
COUNT = 60


def upload(node: HubNode, device: Device) -> tuple[Answer, ...]:
    segment = device.journal.next_segment(device.state)
    assert segment is not None
    answers = node.operations(segment, sender=device.known)
    assert len(answers) == len(segment.bodies)
    return answers


@contextmanager
def statements_of(node: HubNode) -> Iterator[list[str]]:
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    event.listen(node.engine, "before_cursor_execute", note)
    try:
        yield said
    finally:
        event.remove(node.engine, "before_cursor_execute", note)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of the operations that go one by one, but for a journal's first, which always does."""
    kinds: list[str] = []
    real = effects.apply

    def counted(connection: Any, what: Any, **rest: Any) -> effects.Outcome:
        if not isinstance(what, Incarnation):
            kinds.append(what.kind if isinstance(what, UnknownKind) else what.KIND)
        return real(connection, what, **rest)

    monkeypatch.setattr("hub.services.uploads.apply", counted)
    return kinds


def key_tickets(node: HubNode, kiosk: Device) -> int:
    with node.read() as connection:
        key = tables.selling_key
        return int(connection.scalar(select(key.c.tickets).where(key.c.device == kiosk.identity.device)) or 0)


def test_sales_of_tickets_that_gates_have_told_of_go_in_bulk(
    node: HubNode, kiosk: Device, gate: Device, slow: list[str]
) -> None:
    hubkit.open_some_slots(node, capacity=COUNT * 2)
    sales = [kiosk.sale(count=2, slot=SLOT) for _ in range(COUNT)]
    gate.append(*(gate.admission(sale.tickets[0].ticket, code=kiosk.code_of(sale.tickets[0])) for sale in sales))
    upload(node, gate)
    blocked = bytes.fromhex(sales[0].tickets[0].ticket)
    with node.write() as connection:
        mine = tables.ticket.c.ticket == blocked
        connection.execute(update(tables.ticket).where(mine).values(state="blocked", withdrawn=1))
    kiosk.append(*sales)
    with statements_of(node) as said:
        answers = upload(node, kiosk)
    assert {answer.status for answer in answers} == {Status.ACCEPTED}
    assert slow == []
    assert len(said) < COUNT, "statements by the table, not by the sale"
    with node.read() as connection:
        rows = {row.ticket: row for row in connection.execute(select(tables.ticket))}
        sold = connection.scalar(select(tables.slot.c.sold).where(tables.slot.c.slot == SLOT))
    assert len(rows) == sold == key_tickets(node, kiosk) == COUNT * 2
    for sale in sales:
        for one in sale.tickets:
            row = rows[bytes.fromhex(one.ticket)]
            assert (row.order.hex(), row.line, row.short_id, row.slot) == (sale.order, 0, one.short_id, SLOT)
    assert (rows[blocked].state, rows[blocked].withdrawn) == ("blocked", 1), "what happened to it since stays"


def test_what_goes_one_by_one_is_counted_once_a_segment_too(node: HubNode, kiosk: Device, slow: list[str]) -> None:
    hubkit.open_some_slots(node, capacity=1)
    sales = [kiosk.sale(slot=SLOT) for _ in range(COUNT)]
    line = dataclasses.replace(sales[7].lines[0], unit_minor=2**70)
    sales[7] = dataclasses.replace(sales[7], lines=(line,), total_minor=2**70)  # no database takes this number
    now = kiosk.clock.now_utc().isoformat()
    back = [SaleReversed(f"{number:032x}", now, sale.order, "x", sale.paid) for number, sale in enumerate(sales, 1)]
    kiosk.append(*sales, *(one for number, one in enumerate(back) if number != 7))
    with statements_of(node) as said:
        answers = upload(node, kiosk)
    assert [answer.op.hex() for answer in answers if answer.status is Status.REJECTED] == [sales[7].op]
    assert len(slow) >= COUNT * 2 - 1, "the whole of it went one by one"
    assert sum(text.startswith("UPDATE selling_key") for text in said) <= 2
    assert key_tickets(node, kiosk) == COUNT - 1
    with node.read() as connection:
        row = connection.execute(select(tables.slot).where(tables.slot.c.slot == SLOT)).one()
        told = connection.scalars(select(tables.trouble.c.kind)).all()
    assert (row.sold, row.free) == (0, 1)
    assert "oversold" in told, "sold too much is told, though all of it came back in the same segment"


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_ticket_that_another_worker_inserts_meanwhile_does_not_send_all_one_by_one(
    node: HubNode, kiosk: Device, slow: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sales = [kiosk.sale() for _ in range(COUNT)]
    kiosk.append(*sales)
    ticket_id = TicketId(bytes.fromhex(sales[3].tickets[0].ticket))
    real, inserted = bulk.insert_rows, []

    def late(connection: Any, table: Any, rows: Any) -> None:
        if table is tables.ticket and rows and not inserted:
            inserted.append(ticket_id)
            row = next(row for row in rows if row["ticket"] == ticket_id)
            bare = row | {"order": None, "line": None, "short_id": "", "slot": None, "book": None}
            with node.write() as other:  # another worker, from a gate's code
                other.execute(insert(tables.ticket), bare | {"state": TicketState.BLOCKED})
        real(connection, table, rows)

    monkeypatch.setattr(bulk, "insert_rows", late)
    assert {answer.status for answer in upload(node, kiosk)} == {Status.ACCEPTED}
    assert inserted
    assert slow == []
    with node.read() as connection:
        row = connection.execute(select(tables.ticket).where(tables.ticket.c.ticket == ticket_id)).one()
    assert (row.order.hex(), row.state) == (sales[3].order, "blocked")
    assert key_tickets(node, kiosk) == COUNT
