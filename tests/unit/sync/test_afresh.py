"""A kiosk's disk that was put back goes on in a new incarnation: nothing lost, nothing twice, nothing sold from a lease of before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sqlalchemy import func, select

from hub import tables
from hub.node import HubNode
from sync import granted
from sync.afresh import begin_afresh
from sync.download import Downloader
from sync.errors import HubRefused, JournalBroken
from sync.journal import Journal, anchor, open_for_grants, open_journal, operation
from sync.leasing import LeaseKeeper
from sync.state import Role
from sync.upload import Uploader
from tests import hubkit
from tests.hubkit import Device, open_some_slots, seeded
from tickets.clock import FixedClock


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(hubkit.NOON)


@pytest.fixture
def node(tmp_path: Path, clock: FixedClock) -> HubNode:
    made = hubkit.make_node(tmp_path, clock=clock, random_bytes=seeded(1))
    open_some_slots(made, capacity=30)
    return made


@pytest.fixture
def kiosk(node: HubNode, tmp_path: Path, clock: FixedClock) -> Device:
    return hubkit.make_device(node, tmp_path, role=Role.KIOSK, label="K2", clock=clock, random_bytes=seeded(2))


def push(device: Device) -> None:
    uploader = Uploader(device.journal, device.state, device.hub, clock=device.clock)
    while uploader.step().operations:
        pass


def supply(device: Device) -> LeaseKeeper:
    """Feed, then leases."""
    downloader = Downloader(device.journal, device.state, device.identity, device.hub, clock=device.clock)
    downloader.open()
    while downloader.step(wait_s=0).more:
        pass
    downloader.close()
    keeper = LeaseKeeper(device.journal, device.hub, clock=device.clock)
    keeper.step()
    return keeper


def slots(journal: Journal) -> dict[str, int]:
    with journal.read() as connection:
        return {held.slot.slot: held.quantity for held in granted.slot_leases(connection)}


def numbers(journal: Journal) -> set[tuple[int, int]]:
    with journal.read() as connection:
        return {(length, block.start) for length in (6, 8) for block in granted.short_blocks(connection, length)}


def put_back(device: Device, copy: Path) -> None:
    """The journal's file as it was, opened by the sale engine as after a start."""
    device.journal.engine.dispose()
    for file in device.state.path.glob("journal.db*"):
        file.unlink()
    shutil.copy(copy, device.state.journal)
    device.journal = open_journal(device.state, clock=device.clock, random_bytes=device.random_bytes)


def backup(device: Device, tmp_path: Path) -> Path:
    device.journal.engine.dispose()
    copy = tmp_path / "backup.db"
    shutil.copy(device.state.journal, copy)
    assert not device.state.journal.with_name("journal.db-wal").exists()
    return copy


def fork(device: Device) -> None:
    with pytest.raises(HubRefused) as caught:
        push(device)
    assert caught.value.error == "chain_fork"
    assert device.journal.mark_forked("put back")


def afresh(device: Device) -> bool:
    """As the sync daemon does it, with an object of its own."""
    journal = open_for_grants(device.state)
    assert journal is not None
    done = begin_afresh(device.state, journal, clock=device.clock, random_bytes=device.random_bytes)
    journal.engine.dispose()
    return done


def count(node: HubNode, table: object) -> int:
    with node.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())  # type: ignore[arg-type]


def test_nothing_is_lost_or_counted_twice_and_old_leases_are_over(kiosk: Device, node: HubNode, tmp_path: Path) -> None:
    push(kiosk)
    supply(kiosk)
    slot = next(iter(slots(kiosk.journal)))
    early, waiting = kiosk.sale(slot=slot), kiosk.sale(slot=slot, count=2)
    kiosk.append(early)
    push(kiosk)
    kiosk.append(waiting)  # not sent when the copy is made, sent by the life that is lost
    held, blocks = slots(kiosk.journal), numbers(kiosk.journal)
    copy = backup(kiosk, tmp_path)
    kiosk.append(lost := kiosk.sale(slot=slot, count=3))
    push(kiosk)
    put_back(kiosk, copy)
    kiosk.append(again := kiosk.sale(slot=slot))
    fork(kiosk)
    engine = kiosk.journal  # the sale engine's object, open all the while
    assert afresh(kiosk)
    assert not afresh(kiosk), "once"
    assert engine.forked() == "put back", "no sale until the hub has lent something"
    assert numbers(engine) == set()
    with engine.write() as connection:
        engine.append(connection, late := kiosk.sale())
    assert engine.incarnation == 2, "a sale that was under way goes into the new incarnation"
    kiosk.journal = open_journal(kiosk.state, clock=kiosk.clock, random_bytes=kiosk.random_bytes)
    push(kiosk)
    assert count(node, tables.order) == 5
    with node.read() as connection:
        orders = {row.hex() for row in connection.scalars(select(tables.order.c.order))}
        statuses = connection.execute(
            select(tables.operation.c.status, func.count())
            .where(tables.operation.c.incarnation == 2)
            .group_by(tables.operation.c.status)
        )
        assert {row[0]: row[1] for row in statuses} == {"accepted": 3, "duplicate": 1}
        kinds = set(connection.scalars(select(tables.trouble.c.kind)))
    assert orders == {sale.order for sale in (early, waiting, lost, again, late)}
    assert "incarnation" in kinds
    supply(kiosk)
    assert engine.forked() == "", "and goes on by itself"
    fresh = numbers(engine)
    assert fresh
    assert not fresh & blocks, "digits that may be on somebody's ticket are not given out again"
    with node.read() as connection:
        stand = connection.execute(select(tables.slot).where(tables.slot.c.slot == slot)).one()
        mine = connection.scalar(
            select(tables.lease.c.quantity).where(tables.lease.c.slot == slot, tables.lease.c.incarnation == 2)
        )
    assert stand.leased + stand.sold == held[slot] + mine <= 30, "what was lent before stays lent"
    assert stand.leased + stand.sold + stand.free + stand.at_risk == 30
    sold_here = 1 + 2 + 1  # early, waiting, again: what this file knows of; the lost sale is the old lease's
    assert slots(engine)[slot] == 1 + mine
    assert slots(engine)[slot] - sold_here >= 0


def test_a_power_cut_on_the_way_is_made_good(
    kiosk: Device, node: HubNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(kiosk)
    copy = backup(kiosk, tmp_path)
    kiosk.append(kiosk.sale())
    push(kiosk)
    put_back(kiosk, copy)
    kiosk.append(sale := kiosk.sale())
    fork(kiosk)
    real = Journal.append_body

    def cut(*_: object) -> None:
        raise OSError("the power is gone")

    monkeypatch.setattr(Journal, "append_body", cut)
    with pytest.raises(OSError, match="power"):
        afresh(kiosk)
    monkeypatch.setattr(Journal, "append_body", real)
    with pytest.raises(JournalBroken, match="put back"):
        open_journal(kiosk.state, clock=kiosk.clock, random_bytes=kiosk.random_bytes)
    assert afresh(kiosk)
    kiosk.journal = open_journal(kiosk.state, clock=kiosk.clock, random_bytes=kiosk.random_bytes)
    push(kiosk)
    with node.read() as connection:
        assert sale.op in {op.hex() for op in connection.scalars(select(tables.operation.c.op))}
    with kiosk.journal.read() as connection:
        assert connection.scalar(select(func.max(anchor.c.incarnation))) == kiosk.journal.incarnation
        assert connection.scalar(select(func.count()).where(operation.c.op == bytes.fromhex(sale.op))) == 1
    assert len(list(kiosk.state.path.glob("journal.0*.db"))) == 2, "both copies are kept"


def test_two_of_one_device_are_told_again_and_again_and_nothing_is_lost(
    kiosk: Device, node: HubNode, tmp_path: Path
) -> None:
    """A disk was cloned and both run: each finds the other under its numbers."""
    push(kiosk)
    kiosk.journal.engine.dispose()
    other_path = tmp_path / "clone"
    shutil.copytree(kiosk.state.path, other_path)
    from sync.state import StateDir

    twin_state = StateDir(other_path)
    twin = Device(
        twin_state,
        kiosk.identity,
        open_journal(twin_state, clock=kiosk.clock, random_bytes=seeded(77)),
        kiosk.hub,
        kiosk.clock,
        seeded(77),
        counter=500,
    )
    sales = []
    for _ in range(3):
        for device in (kiosk, twin):
            sale = device.sale()
            sales.append(sale.order)
            device.append(sale)
            for _ in range(8):
                try:
                    push(device)
                    break
                except HubRefused as refused:
                    if refused.error != "chain_fork":
                        raise
                    device.journal.mark_forked("two of one")
                    assert afresh(device)
                    device.journal = open_journal(device.state, clock=device.clock, random_bytes=device.random_bytes)
    with node.read() as connection:
        assert sorted(row.hex() for row in connection.scalars(select(tables.order.c.order))) == sorted(sales)
        assert "chain_fork" in set(connection.scalars(select(tables.trouble.c.kind)))
