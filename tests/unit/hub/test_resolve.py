"""A rejected operation stays, is seen, and is settled or tried again; its device learns of it."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, insert, select

from hub import tables
from hub.errors import BadRequest, NotFound
from hub.node import HubNode
from hub.services import resolve
from hub.services.today import today
from sync.download import Downloader
from sync.journal import answer
from sync.operation import Paid, SaleReversed
from sync.protocol import Status
from sync.upload import Uploader
from tests.hubkit import Device
from tickets.ids import OpId


def push(device: Device) -> None:
    while Uploader(device.journal, device.state, device.hub, clock=device.clock).step().operations:
        pass


def pull(device: Device) -> None:
    downloader = Downloader(device.journal, device.state, device.identity, device.hub, clock=device.clock)
    downloader.open()
    while downloader.step(wait_s=0).more:
        pass
    downloader.close()


def answer_at(device: Device, op: str) -> tuple[str, str]:
    with device.journal.read() as connection:
        row = connection.execute(select(answer).where(answer.c.op == bytes.fromhex(op))).one()
    return row.status, row.reason


def without_key(node: HubNode) -> dict[str, object]:
    """The hub loses the kiosk's selling key, as if its certificate had never been made here."""
    with node.write() as connection:
        row = dict(connection.execute(select(tables.selling_key)).mappings().one())
        connection.execute(delete(tables.selling_key))
    return row


def test_tried_again_after_the_cause_was_mended(kiosk: Device, node: HubNode) -> None:
    key, sale = without_key(node), kiosk.sale(count=2)
    kiosk.append(sale)
    push(kiosk)
    assert answer_at(kiosk, sale.op) == ("rejected", "signed_with_a_key_that_is_not_this_kiosks")
    op = OpId(bytes.fromhex(sale.op))
    assert node.retry_operation(op, by="Sato").status is Status.REJECTED, "nothing was mended yet"
    with node.write() as connection:
        (listed,) = resolve.unsettled(connection, rejected_only=True)
        assert (listed.device, listed.number, listed.kind) == ("K2", "1.2", "sale")
        assert [row.kind for row in today(connection, now=node.clock.now_utc()).troubles] == []
        connection.execute(insert(tables.selling_key), key)
    assert node.retry_operation(op, by="Sato").status is Status.ACCEPTED
    with pytest.raises(NotFound):
        node.retry_operation(op, by="Sato")
    with node.read() as connection:
        assert resolve.unsettled(connection) == ()
        assert [row.settled_by for row in resolve.settled(connection)] == ["Sato"]
        assert connection.scalar(select(func.count()).select_from(tables.ticket)) == 2
        assert connection.scalar(select(tables.operation.c.op).where(tables.operation.c.seq == 2)) == op
    pull(kiosk)
    assert answer_at(kiosk, sale.op) == ("accepted", "")
    again = kiosk.hub.operations(kiosk.journal.sent_segment(1))  # type: ignore[arg-type]
    assert again[1].status is Status.DUPLICATE


def test_the_new_answer_may_come_before_the_old_one(kiosk: Device, node: HubNode) -> None:
    """The line broke after the hub had taken the segment; meanwhile somebody mended it."""
    key, sale = without_key(node), kiosk.sale()
    kiosk.append(sale)
    segment = kiosk.journal.next_segment(kiosk.state)
    assert segment is not None
    lost = kiosk.hub.operations(segment)
    with node.write() as connection:
        connection.execute(insert(tables.selling_key), key)
    node.retry_operation(OpId(bytes.fromhex(sale.op)), by="Sato")
    pull(kiosk)
    rows = [(item.op, item.status.value, item.reason) for item in lost]
    kiosk.journal.acknowledge(segment, rows, at="2026-11-23T03:00:00+00:00")
    assert answer_at(kiosk, sale.op) == ("accepted", "")


def test_settled_by_a_named_person_with_a_reason(kiosk: Device, gate: Device, node: HubNode) -> None:
    sale = kiosk.sale()
    kiosk.append(sale, SaleReversed("ef" * 16, sale.at, "00" * 10, "never sold", Paid("card")))
    push(kiosk)
    code, ticket = kiosk.code_of(sale.tickets[0]), sale.tickets[0].ticket
    gate.append(gate.admission(ticket, op="00" * 16), gate.admission(ticket, code=code, op="ff" * 16))
    push(gate)
    with node.read() as connection:
        rows = resolve.unsettled(connection)
        assert {(row.device, row.status.value, row.reason) for row in rows} == {
            ("K2", "rejected", "no_such_sale"),
            ("A", "conflict", "already_used"),
        }
        assert code not in repr(rows), "a ticket code is shown to nobody"
        assert ("code", "…") in next(row.shown for row in rows if row.kind == "admission")
    op = OpId(b"\xef" * 16)
    for by, because in (("", "x"), ("Sato", " "), ("Sato", "x" * 201), ("a\x07b", "x")):
        with pytest.raises(BadRequest):
            node.settle_operation(op, by=by, because=because)
    node.settle_operation(op, by="Sato", because="the sale was on paper")
    with pytest.raises(NotFound):
        node.settle_operation(op, by="Sato", because="twice")
    with node.read() as connection:
        assert [row.status.value for row in resolve.unsettled(connection)] == ["conflict"]
        assert today(connection, now=node.clock.now_utc() + timedelta(seconds=1)).troubles == ()
        (done,) = resolve.settled(connection)
    assert (done.settled_by, done.settled_because) == ("Sato", "the sale was on paper")


def test_what_cannot_be_read_is_listed_but_not_shown(kiosk: Device, node: HubNode) -> None:
    from tests.unit.hub.test_uploads import segment

    for number, body in enumerate(
        ("T1:NOT JSON", json.dumps({"op": "zz", "code": "T1:X", "nested": [{"token": "t"}]}))
    ):
        sent = segment(kiosk, body) if number == 0 else segment(kiosk, "T1:NOT JSON", body)
        kiosk.hub.operations(sent)
    with node.read() as connection:
        first, second = resolve.unsettled(connection)
    assert first.shown == ()
    assert "T1:" not in repr((first, second))
    assert '"t"' not in repr(second.shown)
    with pytest.raises(BadRequest, match="still no operation"):
        node.retry_operation(first.op, by="Sato")


def test_a_sale_with_a_mask_keeps_it(kiosk: Device) -> None:
    sale = dataclasses.replace(kiosk.sale())
    from sync.operation import to_body

    assert "541333******0013" in repr(resolve.shown(to_body(sale)))


def test_the_hub_applies_what_the_release_before_wrote(kiosk: Device, node: HubNode) -> None:
    from tests.unit.hub.test_uploads import segment

    def of_release_before(body: str) -> str:
        row = json.loads(body)
        del row["v"]
        return json.dumps(row, separators=(",", ":"))

    from sync.operation import to_body

    sale = kiosk.sale(count=2)
    bodies = [of_release_before(to_body(what)) for what in (sale, kiosk.admission(sale.tickets[0].ticket))]
    beyond = json.dumps({"op": "cd" * 16, "kind": "sale", "v": 99, "at": sale.at, "cart": []})
    answers = kiosk.hub.operations(segment(kiosk, *bodies, beyond))
    assert {answer.status for answer in answers} == {Status.ACCEPTED}
    with node.read() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.used)) == 1
        assert connection.scalar(select(func.count()).select_from(tables.operation)) == 3
