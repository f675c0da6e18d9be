"""Six digits come back once nobody can stand at a gate with them, and never before."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from hub import tables
from hub.node import HubNode
from hub.services import blocks
from sync import granted
from sync.leasing import LeaseKeeper
from sync.protocol import LeaseRequest
from sync.upload import Uploader
from tests.hubkit import Device

ONE = LeaseRequest(1, (), ((6, 1),))


@pytest.fixture(autouse=True)
def _small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blocks.POOL, 6, 3_000)


def firsts(device: Device, wanted: LeaseRequest = ONE) -> list[int]:
    return [block.first for block in device.hub.lease(wanted).blocks]


def test_a_block_serves_its_days_and_comes_back_after_as_many(kiosk: Device) -> None:
    assert firsts(kiosk) == [0]
    (block,) = kiosk.hub.lease(ONE).blocks
    assert block.until is not None
    assert timedelta(days=2) < block.until - kiosk.clock.now_utc() < timedelta(days=3)
    given = [firsts(kiosk)[0]]
    for _ in range(30):
        kiosk.clock.now += timedelta(days=1)
        (first,) = firsts(kiosk)
        if first != given[-1]:
            given.append(first)
    assert given[:5] == [0, 1000, 2000, 0, 1000], (
        "three days each: the first is back on the seventh day at the earliest"
    )


def test_what_another_kiosk_may_still_print_or_a_guest_still_use_is_not_given_out(kiosk: Device, node: HubNode) -> None:
    every = LeaseRequest(1, (), ((6, 3),))
    assert firsts(kiosk, every) == [0, 1000, 2000]
    other = LeaseRequest(2, (), ((6, 1),))
    for _ in range(5):
        assert firsts(kiosk, other) == []
        kiosk.clock.now += timedelta(days=1)
    sale = kiosk.sale()
    kiosk.append(sale)
    while Uploader(kiosk.journal, kiosk.state, kiosk.hub, clock=kiosk.clock).step().operations:
        pass
    assert sale.tickets[0].short_id == "000100"
    with node.write() as connection:
        until = int((kiosk.clock.now_utc() + timedelta(days=9)).timestamp())
        connection.execute(tables.ticket.update().values(expires=until))
    kiosk.clock.now += timedelta(days=1)
    assert firsts(kiosk, other) == [1000], "the ticket 000100 can still be used"
    kiosk.clock.now += timedelta(days=9)
    assert 0 in firsts(kiosk, LeaseRequest(3, (), ((6, 3),)))


def test_a_kiosk_leaves_an_old_block_and_begins_anew_in_one_that_came_back(kiosk: Device, node: HubNode) -> None:
    keeper = LeaseKeeper(kiosk.journal, kiosk.hub, clock=kiosk.clock)
    keeper.step()

    def taken() -> list[int]:
        with kiosk.journal.read() as connection:
            return list(connection.scalars(select(granted.short_id_taken.c.number)))

    def in_force() -> tuple[range, ...]:
        with kiosk.journal.read() as connection:
            return granted.short_blocks(connection, 6)

    with kiosk.journal.write() as connection:
        rows = [{"length": 6, "number": number, "order": "00" * 10} for number in range(100)]
        connection.execute(insert(granted.short_id_taken), rows)
    assert in_force() == (range(1000),)
    kiosk.clock.now += timedelta(days=3)
    keeper.step()
    assert in_force() == (range(1000, 2000),)
    assert len(taken()) == 100
    for _ in range(12):
        kiosk.clock.now += timedelta(days=1)
        kiosk.clock.elapsed_s += 86_400
        keeper.step()
        if in_force() == (range(1000),):
            break
    assert in_force() == (range(1000),), "it came back"
    assert taken() == []


def test_an_old_block_ends_without_a_line_too_and_a_wrong_clock_is_forgiven(kiosk: Device) -> None:
    keeper = LeaseKeeper(kiosk.journal, kiosk.hub, clock=kiosk.clock)
    keeper.step()
    with kiosk.journal.write() as connection:
        connection.execute(insert(granted.short_id_taken), {"length": 6, "number": 7, "order": "00" * 10})
    keeper.end_old_blocks(kiosk.clock.now_utc() + timedelta(days=400))
    with kiosk.journal.read() as connection:
        assert granted.short_blocks(connection, 6) == ()
        assert granted.short_blocks(connection, 8) == (range(10_000),), "nine digits go on"
    assert keeper.step()
    with kiosk.journal.read() as connection:
        assert granted.short_blocks(connection, 6) == (range(1000),)
        assert granted.short_ids_left(connection, 6) == 999, "no number is given out twice"
