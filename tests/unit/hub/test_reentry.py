"""The arbiter goes by what reached it when, never by what a gate's clock says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from hub import tables
from hub.node import HubNode
from sync.operation import Mode
from sync.upload import Uploader
from tests.hubkit import Device
from tickets.admission import Denied, Granted, Passage, Reason


def push(device: Device) -> None:
    while Uploader(device.journal, device.state, device.hub, clock=device.clock).step().operations:
        pass


def sell(kiosk: Device) -> str:
    kiosk.append(kiosk.sale())
    push(kiosk)
    return kiosk.sold[-1].ticket


def pass_through(gate: Device, ticket: str, kind: Passage, *, skew: timedelta) -> Granted | Denied:
    """Ask; where the answer is yes, upload the admission with the time on this gate's own clock."""
    gate.clock.now += timedelta(minutes=1)
    op, units = gate.random_bytes(16).hex(), int(kind is Passage.ENTRY)
    answer = gate.hub.claim(gate.claim(ticket, op=op, kind=kind, units=units), deadline_s=1)
    if isinstance(answer, Granted):
        at = (gate.clock.now_utc() + skew).isoformat()
        gate.append(
            gate.admission(ticket, op=op, passage=kind, units=units, mode=Mode.CONFIRMED, epoch=1, at=at),
        )
        push(gate)
    return answer


@pytest.mark.parametrize("minutes", [-30, 0, 30])
@pytest.mark.parametrize("minutes_b", [-30, 0, 30])
def test_an_exit_buys_one_reentry_under_any_clock(
    kiosk: Device, gate: Device, gate_b: Device, minutes: int, minutes_b: int
) -> None:
    ticket = sell(kiosk)
    one, two = timedelta(minutes=minutes), timedelta(minutes=minutes_b)
    assert isinstance(pass_through(gate, ticket, Passage.ENTRY, skew=one), Granted)
    for _ in range(2):
        assert isinstance(pass_through(gate_b, ticket, Passage.EXIT, skew=two), Granted)
        assert pass_through(gate_b, ticket, Passage.EXIT, skew=two) == Denied(Reason.NOT_INSIDE)
        assert isinstance(pass_through(gate, ticket, Passage.REENTRY, skew=one), Granted)
        for again in (gate, gate_b):
            skew = one if again is gate else two
            answer = pass_through(again, ticket, Passage.REENTRY, skew=skew)
            assert isinstance(answer, Denied)
            assert answer.reason is Reason.ALREADY_USED


def test_the_time_that_the_arbiter_gave_stays(kiosk: Device, gate: Device, node: HubNode) -> None:
    ticket = sell(kiosk)
    pass_through(gate, ticket, Passage.ENTRY, skew=timedelta(minutes=30))
    with node.read() as connection:
        assert connection.scalar(select(tables.used.c.at)) == tables.stamp(gate.clock.now_utc())


def test_a_reentry_belongs_to_the_window_of_its_exit(kiosk: Device, gate: Device) -> None:
    """Else a pass of one use a day would enter free of it on the next."""
    ticket = sell(kiosk)
    for kind in (Passage.ENTRY, Passage.EXIT):
        units = int(kind is Passage.ENTRY)
        gate.clock.now += timedelta(minutes=1)
        asked = gate.claim(ticket, kind=kind, units=units, window="2026-11-23")
        assert isinstance(gate.hub.claim(asked, deadline_s=1), Granted)
    asked = gate.claim(ticket, kind=Passage.REENTRY, units=0, window="2026-11-24")
    assert isinstance(gate.hub.claim(asked, deadline_s=1), Denied)


def test_no_admission_takes_less_than_nothing(kiosk: Device, gate: Device, node: HubNode) -> None:
    ticket = sell(kiosk)
    gate.append(gate.admission(ticket, units=-5))
    push(gate)
    with node.read() as connection:
        statuses = connection.scalars(select(tables.operation.c.status).where(tables.operation.c.kind == "admission"))
        assert statuses.all() == ["rejected"]
        assert connection.scalars(select(tables.used.c.units)).all() == []
