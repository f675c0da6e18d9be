"""A claim that no database takes is answered alone: those that wait beside it are guests at other gates."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from hub.claim_desk import ClaimDesk
from hub.errors import BadRequest
from hub.node import HubNode
from hub.services import arbiter
from hub.services.arbiter import Asked, Result
from sync.claim import ClaimMessage
from sync.errors import MessageError
from sync.operation import Release, ReleaseReason, from_body, to_body
from sync.protocol import ReleaseMessage
from tests.hubkit import NOON, Device
from tickets.admission import Granted
from tickets.ids import OpId

BAD = ["A\x00", "A\udcff", "A\n", "\x9b", "x" * 65]


def poison(engine: str) -> str:
    """What got past the edge all the same, and the driver does not take."""
    return "A\x00" if engine == "postgresql" else "A\udcff"


def test_a_claim_that_cannot_be_kept_spoils_none_beside_it(
    node: HubNode, engine: str, kiosk: Device, gate: Device, gate_b: Device
) -> None:
    sale = kiosk.sale(count=4)
    kiosk.append(sale)
    segment = kiosk.journal.next_segment(kiosk.state)
    assert segment is not None
    kiosk.hub.operations(segment)
    began, open_ = threading.Event(), threading.Event()

    def later(asked: Sequence[Asked]) -> Sequence[Result]:
        began.set()
        open_.wait(5)
        return node.claims(asked)

    def asked(device: Device, number: int, **more: Any) -> Asked:
        return Asked(device.claim(sale.tickets[number].ticket, **more), device.identity.device)

    desk = ClaimDesk(later)
    try:
        first = desk.ask(asked(gate, 0))
        assert began.wait(5)
        good = desk.ask(asked(gate, 1))
        bad_gate = desk.ask(asked(gate_b, 2, gate=poison(engine)))
        bad_window = desk.ask(asked(gate_b, 2, window=poison(engine)))
        after = desk.ask(asked(gate, 3))
        open_.set()
        assert [type(one.result(5)) for one in (first, good, after)] == [Granted] * 3
        for bad in (bad_gate, bad_window):
            with pytest.raises(BadRequest):
                bad.result(5)
    finally:
        open_.set()
        desk.close()
    assert isinstance(node.claim(gate_b.claim(sale.tickets[2].ticket), sender=gate_b.known), Granted)
    assert not isinstance(node.claim(gate_b.claim(sale.tickets[1].ticket), sender=gate_b.known), Granted)


def test_a_database_that_is_away_is_asked_once_and_not_for_each(
    node: HubNode, gate: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def away(_: Connection, asked: Sequence[Asked], **__: Any) -> list[Result]:
        calls.append(len(asked))
        raise OperationalError("x", None, Exception("disk"))

    monkeypatch.setattr(arbiter, "claims", away)
    with pytest.raises(OperationalError):
        node.claims([Asked(gate.claim("00" * 10), gate.identity.device) for _ in range(5)])
    assert calls == [5]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("field", ["window", "gate"])
def test_the_edge_takes_only_names_that_can_be_kept(field: str, bad: str) -> None:
    row = {"op": "00" * 16, "kind": "entry", "ticket": "00" * 10, "code": None, "units": 1, "epoch": 1}
    row |= {"window": "2026-11-23", "gate": "東\u3000門"}
    assert ClaimMessage.from_json(json.dumps(row)).gate == "東\u3000門"
    with pytest.raises(MessageError, match=field):
        ClaimMessage.from_json(json.dumps(row | {field: bad}))
    others: list[object] = [None, 7, [], {}]
    for other in others:
        with pytest.raises(MessageError, match=field):
            ClaimMessage.from_json(json.dumps(row | {field: other}))


@pytest.mark.parametrize("bad", BAD)
def test_a_release_too(bad: str) -> None:
    row = ReleaseMessage(OpId(b"a" * 16), OpId(b"b" * 16), ReleaseReason.ABANDONED, "A", NOON).to_row()
    assert ReleaseMessage.from_json(json.dumps(row)).gate == "A"
    with pytest.raises(MessageError, match="gate"):
        ReleaseMessage.from_json(json.dumps(row | {"gate": bad}))


@pytest.mark.parametrize("bad", ["A\x00", "A\udcff"])
def test_an_operation_s_text_is_one_that_every_database_takes(bad: str) -> None:
    row = json.loads(to_body(Release("00" * 16, NOON.isoformat(), "11" * 16, ReleaseReason.UNDONE, "A")))
    with pytest.raises(MessageError):
        from_body(json.dumps(row | {"gate": bad}))
