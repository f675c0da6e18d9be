from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from hub import tables
from hub.node import HubNode
from hub.services import ledger, venue
from sync.errors import HubRefused
from sync.operation import Mode, Release, ReleaseReason
from sync.protocol import ReleaseMessage
from sync.upload import Uploader
from tests.hubkit import VENUE, Device
from tickets.admission import Denied, Granted, Passage, Reason
from tickets.ids import OpId, TicketId


def push(device: Device) -> None:
    while Uploader(device.journal, device.state, device.hub, clock=device.clock).step().operations:
        pass


def sell(kiosk: Device, **more: Any) -> str:
    kiosk.append(kiosk.sale(**more))
    push(kiosk)
    return kiosk.sold[-1].ticket


def ask(gate: Device, ticket: str, **more: Any) -> Granted | Denied:
    return gate.hub.claim(gate.claim(ticket, **more), deadline_s=1)


def give_back(gate: Device, of: str) -> None:
    now = gate.clock.now_utc()
    gate.hub.release(
        ReleaseMessage(OpId(gate.random_bytes(16)), OpId(bytes.fromhex(of)), ReleaseReason.NOT_PASSED, "A", now)
    )


def used(node: HubNode) -> list[tuple[str, str, int]]:
    with node.read() as connection:
        return [
            (row.op.hex(), row.mode, row.released)
            for row in connection.execute(select(tables.used).order_by(tables.used.c.at))
        ]


def test_once_and_then_it_says_when_and_where(kiosk: Device, gate: Device, gate_b: Device) -> None:
    ticket = sell(kiosk)
    assert ask(gate, ticket) == Granted(epoch=1, left=0)
    first_at = gate.clock.now_utc()
    gate.clock.now += timedelta(minutes=3)
    answer = ask(gate_b, ticket)
    assert isinstance(answer, Denied)
    assert answer.reason is Reason.ALREADY_USED
    assert answer.first is not None
    assert (answer.first.gate, answer.first.at) == ("A", first_at)


def test_a_known_operation_gets_its_answer_again(kiosk: Device, gate: Device, gate_b: Device, node: HubNode) -> None:
    ticket = sell(kiosk)
    op = gate.random_bytes(16).hex()
    assert ask(gate, ticket, op=op) == ask(gate, ticket, op=op) == Granted(epoch=1, left=0)
    assert len(used(node)) == 1
    denied = gate.random_bytes(16).hex()
    first = ask(gate, ticket, op=denied)
    give_back(gate, op)
    assert ask(gate, ticket, op=denied) == first, "also a no stays a no"
    with pytest.raises(HubRefused, match="another device"):
        ask(gate_b, ticket, op=op)


def test_several_units_and_no_limit(kiosk: Device, gate: Device) -> None:
    book = sell(kiosk, uses=3)
    assert ask(gate, book, units=2) == Granted(1, 1)
    refused = ask(gate, book, units=2)
    assert isinstance(refused, Denied)
    assert refused.reason is Reason.EXHAUSTED
    assert ask(gate, book) == Granted(1, 0)
    endless = sell(kiosk, uses=0)
    assert [ask(gate, endless) for _ in range(3)] == [Granted(1, None)] * 3
    with pytest.raises(HubRefused, match="at least one unit"):
        ask(gate, endless, units=0)


def test_a_ticket_that_nobody_has_told_of_is_taken_from_its_code(kiosk: Device, gate: Device, node: HubNode) -> None:
    kiosk.append(kiosk.sale(uses=2))  # not pushed: the kiosk has no line
    sold = kiosk.sold[0]
    assert ask(gate, sold.ticket) == Denied(Reason.UNKNOWN)
    code = kiosk.code_of(sold)
    assert ask(gate, sold.ticket, code=code) == Granted(1, 1)
    push(kiosk)
    with node.read() as connection:
        row = connection.execute(select(tables.ticket)).one()
    assert (row.short_id, row.order is not None, row.state) == (sold.short_id, True, "valid")


def test_whose_code_it_is_decides(kiosk: Device, gate: Device) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    kiosk.append(kiosk.sale(count=2))
    one, two = kiosk.sold
    stranger = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    from tickets.code import TicketCode, sign
    from tickets.ids import Kid

    def code(kid: str) -> str:
        return sign(
            TicketCode(
                Kid(bytes.fromhex(kid)), TicketId(bytes.fromhex(one.ticket)), 1, 1, 0, one.not_before, one.expires
            ),
            stranger,
        )

    assert ask(gate, one.ticket, code=code(one.kid)) == Denied(Reason.FORGED)
    assert ask(gate, one.ticket, code=code("00000000")) == Denied(Reason.ISSUER_UNKNOWN)
    assert ask(gate, one.ticket, code=kiosk.code_of(two)) == Denied(Reason.UNKNOWN), "a code of another ticket"
    assert ask(gate, one.ticket, code="T1:junk") == Denied(Reason.UNKNOWN)


def test_a_cancelled_ticket_and_a_newer_arbiter(kiosk: Device, gate: Device, node: HubNode) -> None:
    ticket = sell(kiosk)
    with pytest.raises(HubRefused) as caught:
        ask(gate, ticket, epoch=2)
    assert caught.value.error == "epoch"
    node.cancel_ticket(TicketId(bytes.fromhex(ticket)), by="office", reason="雨")
    assert ask(gate, ticket) == Denied(Reason.CANCELLED)


def test_in_and_out_follow_the_last_direction(kiosk: Device, gate: Device) -> None:
    ticket = sell(kiosk)

    def go(kind: Passage) -> Granted | Denied:
        gate.clock.now += timedelta(minutes=1)
        return ask(gate, ticket, kind=kind, units=1 if kind is Passage.ENTRY else 0)

    assert go(Passage.EXIT) == Denied(Reason.NOT_INSIDE)
    assert isinstance(go(Passage.ENTRY), Granted)
    assert isinstance(go(Passage.REENTRY), Denied)
    assert isinstance(go(Passage.EXIT), Granted)
    assert go(Passage.EXIT) == Denied(Reason.NOT_INSIDE)
    assert isinstance(go(Passage.REENTRY), Granted)
    assert isinstance(go(Passage.ENTRY), Denied)


def test_where_the_product_limits_the_day_the_cap_is_the_days(kiosk: Device, gate: Device, node: HubNode) -> None:
    document = {
        **VENUE,
        "products": [{**row, "uses_a_day": 2} if row["product"] == "admission" else row for row in VENUE["products"]],
        "variants": [{**row, "uses": 0} if row["product"] == "admission" else row for row in VENUE["variants"]],
    }
    with node.write() as connection:
        venue.publish_catalogue(connection, document, now=node.clock.now_utc())
    ticket = sell(kiosk, uses=1)
    answers = [ask(gate, ticket, window=day) for day in ("2026-11-23",) * 3 + ("2026-11-24",)]
    assert [type(answer) for answer in answers] == [Granted, Granted, Denied, Granted]


@pytest.mark.parametrize("order", ["claim first", "release first"])
def test_both_orders_of_claim_and_release_give_the_same_ledger(
    kiosk: Device, gate: Device, node: HubNode, order: str
) -> None:
    ticket, op = sell(kiosk), gate.random_bytes(16).hex()
    if order == "claim first":
        assert ask(gate, ticket, op=op) == Granted(1, 0)
        give_back(gate, op)
    else:
        give_back(gate, op)
        assert ask(gate, ticket, op=op) == Denied(Reason.NO_ANSWER)
    assert [row for row in used(node) if not row[2]] == []
    assert ask(gate, ticket) == Granted(1, 0), "the use is there again"


def test_an_upload_after_its_claim_counts_once_and_one_before_it_too(
    kiosk: Device, gate: Device, node: HubNode
) -> None:
    one, two = sell(kiosk), sell(kiosk)
    op, other = gate.random_bytes(16).hex(), gate.random_bytes(16).hex()
    ask(gate, one, op=op)
    gate.append(gate.admission(one, op=op, mode=Mode.CONFIRMED, epoch=1), gate.admission(two, op=other))
    push(gate)
    assert ask(gate, two, op=other) == Granted(1, 0), "a claim that came late: counted already"
    assert sorted(row[0] for row in used(node)) == sorted([op, other])


def test_two_gates_without_a_line_make_one_conflict(kiosk: Device, gate: Device, gate_b: Device, node: HubNode) -> None:
    ticket = sell(kiosk)
    gate.append(gate.admission(ticket))
    gate_b.append(gate_b.admission(ticket))
    push(gate)
    push(gate_b)
    with node.read() as connection:
        found = ledger.all_conflicts(connection)
        assert [(item.ticket.hex(), item.beyond) for item in found] == [(ticket, 1)]
        statuses = list(
            connection.scalars(
                select(tables.operation.c.status)
                .where(tables.operation.c.kind == "admission")
                .order_by(tables.operation.c.received_at, tables.operation.c.device)
            )
        )
    assert statuses.count("accepted") >= 1
    later = max(used(node))[0]
    gate_of = gate if found[0].op.hex() in {row.op for row in _admissions(gate)} else gate_b
    gate_of.append(
        Release(
            gate.random_bytes(16).hex(), gate.clock.now_utc().isoformat(), found[0].op.hex(), ReleaseReason.UNDONE, "A"
        )
    )
    push(gate_of)
    with node.read() as connection:
        assert ledger.all_conflicts(connection) == ()
    assert later


def _admissions(gate: Device) -> list[Any]:
    from sync.journal import operation
    from sync.operation import Admission, from_body

    with gate.journal.read() as connection:
        bodies = connection.scalars(select(operation.c.body)).all()
    return [what for what in map(from_body, bodies) if isinstance(what, Admission)]


def test_an_admission_with_a_code_brings_its_ticket_with_it(kiosk: Device, gate: Device, node: HubNode) -> None:
    """The gate's line is back before the kiosk's."""
    kiosk.append(kiosk.sale())
    sold = kiosk.sold[0]
    gate.append(gate.admission(sold.ticket, code=kiosk.code_of(sold)))
    push(gate)
    assert isinstance(ask(gate, sold.ticket), Denied)
    push(kiosk)
    with node.read() as connection:
        assert connection.execute(select(tables.ticket.c.short_id)).scalar_one() == sold.short_id


def test_a_tombstone_also_waits_for_an_admission(kiosk: Device, gate: Device, node: HubNode) -> None:
    """The release was called, its own operation is not uploaded yet: the admission that comes counts for nothing."""
    ticket, op = sell(kiosk), gate.random_bytes(16).hex()
    give_back(gate, op)
    gate.append(gate.admission(ticket, op=op))
    push(gate)
    assert used(node) == [(op, "policy", 1)]


def test_nobody_gives_back_anothers_use(kiosk: Device, gate: Device, gate_b: Device) -> None:
    ticket, op = sell(kiosk), gate.random_bytes(16).hex()
    ask(gate, ticket, op=op)
    with pytest.raises(HubRefused, match="only the device"):
        give_back(gate_b, op)


def daily_pass() -> dict[str, Any]:
    """The venue with a pass of one use a day and no other limit."""
    text = {"ja": "年間パス"}
    product = {
        "product": "annual",
        "kind": "pass",
        "tax_bp": 1000,
        "picture": "castle",
        "name": text,
        "note": text,
        "validity_days": 365,
        "uses_a_day": 1,
    }
    return {
        **VENUE,
        "gates": [{**row, "products": [*row["products"], "annual"]} for row in VENUE["gates"]],
        "products": [*VENUE["products"], product],
        "variants": [*VENUE["variants"], {"number": 90, "product": "annual", "price": 9000, "uses": 0}],
    }


def test_a_pass_used_twice_on_one_day_is_a_conflict(kiosk: Device, gate: Device, gate_b: Device, node: HubNode) -> None:
    """Its own cap is no limit; the day's is one."""
    with node.write() as connection:
        venue.publish_catalogue(connection, daily_pass(), now=node.clock.now_utc())
    ticket, endless = sell(kiosk, variant=90, price=9000, uses=0), sell(kiosk, uses=0)
    for device in (gate, gate_b):
        device.append(device.admission(ticket, window="2026-11-23"), device.admission(endless))
    gate.append(gate.admission(ticket, window="2026-11-24"))
    push(gate)
    push(gate_b)
    with node.read() as connection:
        found = ledger.all_conflicts(connection)
    assert [(item.ticket.hex(), item.window, item.beyond) for item in found] == [(ticket, "2026-11-23", 1)]


def test_a_pass_counts_what_is_left_by_the_day(kiosk: Device, gate: Device, node: HubNode) -> None:
    """Also where its admission was uploaded before its claim came."""
    with node.write() as connection:
        venue.publish_catalogue(connection, daily_pass(), now=node.clock.now_utc())
    ticket, op = sell(kiosk, variant=90, price=9000, uses=0), gate.random_bytes(16).hex()
    gate.append(gate.admission(ticket, op=op, window="2026-11-23"))
    push(gate)
    assert ask(gate, ticket, op=op, window="2026-11-23") == Granted(1, 0)
