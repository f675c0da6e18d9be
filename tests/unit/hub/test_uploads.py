from __future__ import annotations

import dataclasses
import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, insert, select
from sqlalchemy.dialects.postgresql.base import ischema_names

from hub import tables
from hub.node import HubNode, load_key
from hub.services import effects
from sync.chain import ZERO_HASH, Segment, cut
from sync.errors import HubRefused
from sync.journal import operation as journal_operation
from sync.operation import Owed, Paid, PaymentDoubt, SaleReversed, to_body
from sync.protocol import LeaseRequest, SlotWish, Status
from sync.state import Role
from sync.upload import Uploader
from tests.hubkit import Device, make_device, make_node, open_some_slots, seeded
from tests.support import postgres
from tickets.clock import FixedClock


def push(device: Device) -> None:
    while Uploader(device.journal, device.state, device.hub, clock=device.clock).step().operations:
        pass


def segment(device: Device, *bodies: str, first: int = 1, before: bytes = ZERO_HASH, incarnation: int = 1) -> Segment:
    return cut(
        device=device.identity.device,
        incarnation=incarnation,
        first=first,
        before=before,
        bodies=bodies,
        key=device.state.identity_key(),
    )


def refused(device: Device, sent: Segment) -> str:
    with pytest.raises(HubRefused) as caught:
        device.hub.operations(sent)
    return caught.value.error


def count(node: HubNode, table: object) -> int:
    with node.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]


def test_the_migrated_schema_is_the_one_in_the_code(node: HubNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ischema_names, "xid8", tables.Xid8)

    def known(found: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
        return name != "change_by_xid"  # PostgreSQL's alone

    with node.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": known})
        assert compare_metadata(context, tables.metadata) == []


def test_only_the_device_itself_and_only_what_it_signed(kiosk: Device, gate: Device, node: HubNode) -> None:
    good = segment(kiosk, to_body(kiosk.sale()))
    assert refused(gate, good) == "not_allowed", "another device's segment"
    forged = dataclasses.replace(good, signature=gate.state.identity_key().sign(good.signed_text()))
    assert refused(kiosk, forged) == "segment"
    changed = dataclasses.replace(good, bodies=(good.bodies[0].replace("1800", "0001"),))
    assert refused(kiosk, changed) == "segment"
    assert count(node, tables.operation) == 0


def test_a_gap_is_named_and_nothing_after_it_is_taken(kiosk: Device, node: HubNode) -> None:
    one = segment(kiosk, to_body(kiosk.sale()))
    two = segment(kiosk, to_body(kiosk.sale()), first=2, before=one.head)
    with pytest.raises(HubRefused) as caught:
        kiosk.hub.operations(two)
    assert (caught.value.error, caught.value.known_seq) == ("chain_gap", 0)
    assert count(node, tables.operation) == 0
    kiosk.hub.operations(one)
    kiosk.hub.operations(two)
    assert count(node, tables.order) == 2


def test_a_segment_that_overlaps_what_is_known_adds_only_the_rest(kiosk: Device, node: HubNode) -> None:
    """As a relay might cut it anew."""
    bodies = [to_body(kiosk.sale()) for _ in range(3)]
    kiosk.hub.operations(segment(kiosk, *bodies[:2]))
    answers = kiosk.hub.operations(segment(kiosk, *bodies))
    assert [item.status for item in answers] == [Status.DUPLICATE, Status.DUPLICATE, Status.ACCEPTED]
    assert refused(kiosk, segment(kiosk, bodies[1], bodies[0])) == "chain_fork"


def test_a_chain_that_goes_on_from_something_else_is_a_fork(kiosk: Device, node: HubNode) -> None:
    kiosk.hub.operations(segment(kiosk, to_body(kiosk.sale())))
    assert refused(kiosk, segment(kiosk, to_body(kiosk.sale()), first=2, before=b"x" * 32)) == "chain_fork"
    assert count(node, tables.order) == 1


def test_what_cannot_be_read_or_applied_is_kept_and_the_rest_goes_on(kiosk: Device, node: HubNode) -> None:
    sale = kiosk.sale()
    bodies = (
        "no json",
        json.dumps({"op": "zz", "kind": "sale"}),
        json.dumps({"op": "ab" * 16, "kind": "weather", "at": "2026-11-23T03:00:00+00:00", "sunny": True}),
        to_body(dataclasses.replace(kiosk.sale(), tickets=kiosk.sold[:1])).replace(
            kiosk.identity.kid.hex(), "00000000"
        ),  # type: ignore[union-attr]
        to_body(sale),
        to_body(dataclasses.replace(kiosk.sale(), tickets=sale.tickets)),
        to_body(kiosk.sale(op=sale.op)),
        json.dumps({**json.loads(to_body(kiosk.sale())), "total_minor": 1 << 70, "lines": []}),
    )
    answers = kiosk.hub.operations(segment(kiosk, *bodies))
    assert [item.status.value for item in answers] == [
        "rejected",
        "rejected",
        "accepted",
        "rejected",
        "accepted",
        "rejected",
        "conflict",
        "rejected",
    ]
    assert "kind" in answers[2].reason
    with node.read() as connection:
        assert tuple(connection.scalars(select(tables.operation.c.body).order_by(tables.operation.c.seq))) == bodies
        assert connection.scalars(select(tables.order.c.number)).all() == [sale.number], "half a sale is no sale"
    again = kiosk.hub.operations(segment(kiosk, *bodies))
    assert again[0].status is Status.REJECTED, "the same answer again"


def test_a_gate_sells_nothing(gate: Device, kiosk: Device) -> None:
    (answer,) = gate.hub.operations(segment(gate, to_body(kiosk.sale())))
    assert (answer.status, answer.reason) == (Status.REJECTED, "not_a_kiosk")


def test_a_sale_taken_back_doubts_and_what_is_owed(kiosk: Device, node: HubNode) -> None:
    sale, at = kiosk.sale(count=2), kiosk.clock.now_utc().isoformat()

    def op() -> str:
        return kiosk.random_bytes(16).hex()

    kiosk.append(
        sale,
        SaleReversed(op(), at, sale.order, "no paper", Paid("card", receipt="2")),
        PaymentDoubt(op(), at, "a1", sale.order, 1800, "JPY", "card", "unknown", "K2-0001"),
        Owed(op(), at, sale.order, "K2-0002", (sale.tickets[0].ticket,)),
        SaleReversed(op(), at, "00" * 10, "never sold", Paid("card")),
    )
    push(kiosk)
    from hub.services.today import today

    with node.read() as connection:
        shown = today(connection, now=node.clock.now_utc())
        states = set(connection.scalars(select(tables.ticket.c.state)))
    assert states == {"cancelled"}
    assert shown.gross == {"JPY": 0}
    assert shown.sales[0].state == "reversed"
    assert [row.claim for row in shown.doubts] == ["K2-0001"]
    assert [row.claim for row in shown.owed] == ["K2-0002"]
    assert [row.kind for row in shown.troubles] == ["rejected"]
    kiosk.append(PaymentDoubt(op(), at, "a1", sale.order, 1800, "JPY", "card", "not_paid", "K2-0001"))
    push(kiosk)
    with node.read() as connection:
        assert today(connection, now=node.clock.now_utc()).doubts == ()


def test_the_money_of_a_sale_goes_back_once(kiosk: Device, node: HubNode) -> None:
    """Two words of the same reversal under two operations: in one segment, in a later one, in another incarnation."""
    sale, other, at = kiosk.sale(count=2), kiosk.sale(), kiosk.clock.now_utc().isoformat()

    def back() -> str:
        return to_body(SaleReversed(kiosk.random_bytes(16).hex(), at, sale.order, "no paper", sale.paid))

    first = segment(kiosk, to_body(sale), back(), to_body(other), back())
    answers = kiosk.hub.operations(first)
    assert [(one.status, one.reason) for one in answers] == [
        (Status.ACCEPTED, ""),
        (Status.ACCEPTED, ""),
        (Status.ACCEPTED, ""),
        (Status.CONFLICT, "already_reversed"),
    ]
    later = segment(kiosk, back(), first=5, before=first.head)
    for sent in (later, later, segment(kiosk, back(), incarnation=2)):
        (answer,) = kiosk.hub.operations(sent)
        assert (answer.status, answer.reason) == (Status.CONFLICT, "already_reversed")
    with node.read() as connection:
        money = connection.execute(select(tables.payment.c.kind, tables.payment.c.amount_minor)).all()
    assert sorted(map(tuple, money)) == [("charge", 1800), ("charge", 3600), ("reversal", -3600)]


def test_two_journals_take_a_sale_back_at_once_and_one_does(tmp_path: Path, clock: FixedClock) -> None:
    """On PostgreSQL both are inside at once: the second waits for the first and then sees what it did."""
    node = make_node(tmp_path, clock=clock, random_bytes=seeded(1), engine="postgresql")
    kiosk = make_device(node, tmp_path, role=Role.KIOSK, label="K2", clock=clock, random_bytes=seeded(2))
    sale, sender = kiosk.sale(), kiosk.known
    kiosk.append(sale)
    push(kiosk)
    first, second = (SaleReversed(seeded(n)(16).hex(), sale.at, sale.order, "x", sale.paid) for n in (3, 4))
    found: list[effects.Outcome] = []

    def late() -> None:
        with node.engine.begin() as connection:
            found.append(effects.apply(connection, second, sender=sender, now=clock.now_utc()))

    other = threading.Thread(target=late)
    with node.engine.begin() as connection:
        assert effects.apply(connection, first, sender=sender, now=clock.now_utc()) == effects.ACCEPTED
        other.start()
        postgres.until_waiting(str(node.engine.url.database), other)
    other.join(30)
    assert found == [(Status.CONFLICT, "already_reversed")]
    assert count(node, tables.payment) == 2
    node.engine.dispose()


def test_a_payment_that_began_and_was_never_heard_of_again_shows_up(
    kiosk: Device, node: HubNode, clock: FixedClock
) -> None:
    """A kiosk that died with the card in the terminal: its replacement knows nothing, the office does."""
    from hub.services.today import today

    def begun(attempt: str, state: str = "begun") -> PaymentDoubt:
        at = clock.now_utc().isoformat()
        return PaymentDoubt(kiosk.random_bytes(16).hex(), at, attempt, "ab" * 10, 1800, "JPY", "card", state, "")

    def shown() -> list[str]:
        with node.read() as connection:
            return [row.attempt for row in today(connection, now=node.clock.now_utc()).doubts]

    kiosk.append(begun("dead"), begun("sold"), begun("declined"))
    push(kiosk)
    assert shown() == [], "a guest may still stand there"
    kiosk.append(kiosk.sale(paid=Paid("card", attempt="sold")), begun("declined", "not_paid"))
    push(kiosk)
    clock.now += timedelta(minutes=6)
    assert shown() == ["dead"]
    kiosk.append(begun("dead", "not_paid"))
    push(kiosk)
    assert shown() == []


def test_a_journal_that_began_anew_says_what_is_missing(kiosk: Device, node: HubNode) -> None:
    from sync.journal import open_journal, set_aside

    push(kiosk)
    kiosk.append(kiosk.sale(), kiosk.sale())
    kiosk.journal.engine.dispose()
    set_aside(kiosk.state)
    kiosk.journal = open_journal(kiosk.state, clock=kiosk.clock, random_bytes=seeded(8))
    push(kiosk)
    with node.read() as connection:
        (detail,) = connection.scalars(select(tables.trouble.c.detail))
    assert "2 of its operations have not come" in detail


def test_leases_name_totals_and_belong_to_an_incarnation(kiosk: Device, node: HubNode) -> None:
    open_some_slots(node, capacity=15)
    with node.read() as connection:
        slot = connection.scalars(select(tables.slot.c.slot)).first()
    assert slot is not None
    wanted = LeaseRequest(1, (SlotWish(slot, 10), SlotWish("no such slot", 5)), ((6, 2),))
    first = kiosk.hub.lease(wanted)
    assert kiosk.hub.lease(wanted) == first, "a doubled request changes nothing"
    assert [(item.quantity, item.free) for item in first.slots] == [(10, 5)]
    assert [(item.first, item.last) for item in first.blocks] == [(0, 999), (1000, 1999)]
    anew = kiosk.hub.lease(LeaseRequest(2, (SlotWish(slot, 10),), ((6, 1),)))
    assert [(item.quantity, item.free) for item in anew.slots] == [(5, 0)], (
        "what the last one may have sold is not lent twice"
    )
    assert [(item.first, item.last) for item in anew.blocks] == [(2000, 2999)]
    at = tables.stamp(node.clock.now_utc())
    with node.write() as connection:
        connection.execute(
            insert(tables.short_block),
            {"length": 6, "first": 999_000, "last": 999_999, "device": b"", "incarnation": 1, "at": at},
        )
    assert kiosk.hub.lease(LeaseRequest(3, (), ((6, 1),))).blocks == (), "used up: nine digits then"


def test_the_hubs_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "hub.key"
    key = load_key(path, random_bytes=seeded(1))
    assert path.stat().st_mode & 0o077 == 0
    assert load_key(path, random_bytes=seeded(2)).private_bytes_raw() == key.private_bytes_raw()
    assert isinstance(key, Ed25519PrivateKey)
    assert [file.name for file in tmp_path.iterdir()] == ["hub.key"]
    path.write_bytes(b"short")
    from hub.errors import HubError

    with pytest.raises(HubError, match="not a hub key"):
        load_key(path, random_bytes=seeded(2))


def test_journal_and_hub_keep_the_same_text(kiosk: Device, node: HubNode) -> None:
    kiosk.append(kiosk.sale(language="日本語 \\u0000 ✓"))
    push(kiosk)
    with kiosk.journal.read() as connection:
        mine = connection.scalars(select(journal_operation.c.body).order_by(journal_operation.c.seq)).all()
    with node.read() as connection:
        assert connection.scalars(select(tables.operation.c.body).order_by(tables.operation.c.seq)).all() == mine
