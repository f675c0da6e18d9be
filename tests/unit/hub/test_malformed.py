"""Whatever a device has signed, the hub answers each operation, keeps it, and goes on with the next."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from hub import tables
from hub.node import HubNode
from sync.chain import ZERO_HASH, cut
from sync.operation import (
    KINDS,
    Incarnation,
    Owed,
    Paid,
    PaymentDoubt,
    Previous,
    Refusal,
    Release,
    ReleaseReason,
    SaleReversed,
    to_body,
)
from sync.protocol import Answer, Status
from tests.hubkit import Device
from tickets.admission import Reason
from tickets.ids import OpId

AT = "2026-11-23T03:00:00+00:00"


def examples(kiosk: Device) -> dict[str, dict[str, Any]]:
    """One good operation of each kind, as JSON."""
    sale = kiosk.sale(count=2)

    def op() -> str:
        return kiosk.random_bytes(16).hex()

    made = (
        Incarnation(op(), AT, "journal set aside", Previous(1, 4, "00" * 32)),
        sale,
        SaleReversed(op(), AT, sale.order, "no paper", Paid("card")),
        Owed(op(), AT, sale.order, "K2-0001", (sale.tickets[0].ticket,)),
        PaymentDoubt(op(), AT, "a1", sale.order, 1800, "JPY", "card", "unknown", "K2-0001"),
        kiosk.admission(sale.tickets[0].ticket, code="T1:junk"),
        Refusal(op(), AT, sale.tickets[0].ticket, Reason.FORGED, "A", "A-0001"),
        Release(op(), AT, op(), ReleaseReason.UNDONE, "A"),
    )
    assert {type(item) for item in made} == set(KINDS.values())
    return {item.KIND: json.loads(to_body(item)) for item in made}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field, also of fields within lists and objects."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def put(row: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    *way, last = path
    target: Any = row
    for step in way:
        target = target[step]
    if value is MISSING:
        del target[last]
    else:
        target[last] = value


MISSING = object()
WRONG: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([MISSING, None, True, [], {}, [None], {"a": 1}, "", "2", "\x00", "\ud800", -1, 1.5, 1 << 70]),
    st.floats(),
    st.integers(),
    st.text(max_size=20),
    st.recursive(st.none() | st.booleans(), lambda inner: st.lists(inner, max_size=3), max_leaves=5),
)


class Sender:
    """Goes on with the chain of one device, one segment a call."""

    def __init__(self, device: Device) -> None:
        self.device, self.seq, self.head = device, 0, ZERO_HASH

    def send(self, *bodies: str) -> tuple[Answer, ...]:
        sent = cut(
            device=self.device.identity.device,
            incarnation=1,
            first=self.seq + 1,
            before=self.head,
            bodies=bodies,
            key=self.device.state.identity_key(),
        )
        answers = self.device.hub.operations(sent)
        self.seq, self.head = sent.last, sent.head
        return answers


@pytest.fixture
def sender(kiosk: Device) -> Sender:
    return Sender(kiosk)


@settings(
    max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_wrong_field_is_answered_and_holds_nothing_up(data: st.DataObject, sender: Sender, node: HubNode) -> None:
    row = data.draw(st.sampled_from(list(examples(sender.device).values())))
    bad = copy.deepcopy(row)
    for path in data.draw(st.lists(st.sampled_from(list(places(row))), min_size=1, max_size=1)):
        put(bad, path, data.draw(WRONG))
    good = sender.device.sale()
    answers = sender.send(json.dumps(bad), to_body(good))
    assert len(answers) == 2
    assert (answers[1].op.hex(), answers[1].status) == (good.op, Status.ACCEPTED)
    if answers[0].status is Status.REJECTED:
        assert answers[0].reason
        with node.read() as connection:
            kept = connection.scalar(select(tables.operation.c.body).where(tables.operation.c.op == answers[0].op))
        assert kept == json.dumps(bad)


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("sale", ("tickets", 0, "kid"), None, "kid"),
        ("sale", ("lines", 0, "count"), "2", "count"),
        ("sale", ("lines", 0, "count"), True, "count"),
        ("sale", ("paid",), [], "paid"),
        ("sale", ("paid", "tender"), 7, "tender"),
        ("incarnation", ("previous",), {}, "previous"),
        ("owed", ("tickets",), "abc", "tickets"),
        ("owed", ("tickets", 0), 3, "tickets"),
        ("admission", ("units",), 1.0, "units"),
        ("admission", ("interrupted",), "yes", "interrupted"),
        ("release", ("reason",), "bored", "reason"),
        ("refusal", ("op",), None, ""),
    ],
)
def test_the_answer_names_the_field(sender: Sender, kind: str, path: tuple[Any, ...], value: object, said: str) -> None:
    row = examples(sender.device)[kind]
    put(row, path, value)
    (answer,) = sender.send(json.dumps(row))
    assert answer.status is Status.REJECTED
    assert said in answer.reason


def test_what_an_effect_refuses_is_answered_too(kiosk: Device, gate: Device, sender: Sender) -> None:
    """Another device's use is not this one's to give back; the next operation is taken all the same."""
    first = Sender(gate).send(to_body(gate.admission("00" * 10, op="ab" * 16)))
    assert first[0].op == OpId(bytes.fromhex("ab" * 16))
    good = kiosk.sale()
    wrong = Release(kiosk.random_bytes(16).hex(), AT, "ab" * 16, ReleaseReason.UNDONE, "A")
    answers = sender.send(to_body(wrong), to_body(good))
    assert [item.status for item in answers] == [Status.REJECTED, Status.ACCEPTED]
    assert "only the device" in answers[0].reason


def test_fields_of_a_later_version_are_passed_over(sender: Sender) -> None:
    for kind, row in examples(sender.device).items():
        row["later"] = {"deep": [1, None]}
        if kind == "sale":
            row["tickets"][0]["later"] = row["paid"]["later"] = 1
        (answer,) = sender.send(json.dumps(row))
        assert "read" not in answer.reason, (kind, answer)
