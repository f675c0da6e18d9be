from __future__ import annotations

from datetime import timedelta

from sqlalchemy import insert

from hub.node import HubNode
from sync import granted
from sync.download import Downloader
from sync.leasing import LeaseKeeper
from sync.operation import Paid, SaleReversed
from sync.protocol import LeaseAnswer, LeaseRequest
from tests.hubkit import Device, LocalHub, open_some_slots


def pull(device: Device) -> None:
    downloader = Downloader(device.journal, device.state, device.identity, device.hub, clock=device.clock)
    downloader.open()
    while downloader.step(wait_s=0).more:
        pass
    downloader.close()


def held(device: Device) -> dict[str, tuple[int, int]]:
    with device.journal.read() as connection:
        return {item.slot.slot: (item.quantity, item.free) for item in granted.slot_leases(connection)}


def test_filled_at_the_start_and_topped_up_below_half(kiosk: Device, node: HubNode) -> None:
    open_some_slots(node, capacity=25)
    pull(kiosk)
    keeper = LeaseKeeper(kiosk.journal, kiosk.hub, clock=kiosk.clock)
    assert keeper.step()
    slot, other = held(kiosk)
    assert held(kiosk) == {slot: (10, 15), other: (10, 15)}
    with kiosk.journal.read() as connection:
        assert granted.short_blocks(connection, 6) == (range(1000),)
        assert granted.short_blocks(connection, 8) == (range(10_000),)
    assert not keeper.step(), "full: nobody is asked"
    kiosk.append(kiosk.sale(variant=20, price=1500, count=5, slot=slot))
    assert not keeper.step(), "half is enough"
    sale = kiosk.sale(variant=20, price=1500, count=1, slot=slot)
    kiosk.append(sale)
    assert keeper.step()
    assert held(kiosk)[slot] == (16, 9)
    kiosk.append(SaleReversed(kiosk.random_bytes(16).hex(), sale.at, sale.order, "no paper", Paid("card")))
    kiosk.append(kiosk.sale(variant=20, price=1500, count=3, slot=slot))
    assert not keeper.step(), "a reversed sale gives its units back"


def test_no_more_is_lent_than_there_is_and_nobody_is_pestered(kiosk: Device, node: HubNode) -> None:
    asked: list[LeaseRequest] = []

    class Counting(LocalHub):
        def lease(self, wanted: LeaseRequest) -> LeaseAnswer:
            asked.append(wanted)
            return super().lease(wanted)

    open_some_slots(node, capacity=3)
    pull(kiosk)
    keeper = LeaseKeeper(kiosk.journal, Counting(node, kiosk.identity.device), clock=kiosk.clock)
    keeper.step()
    assert set(held(kiosk).values()) == {(3, 0)}
    for _ in range(5):
        keeper.step()
    assert len(asked) == 1


def take(kiosk: Device, numbers: range) -> None:
    """As the sale engine does when an order needs them; whether anything is sold then is another matter."""
    rows = [{"length": 6, "number": number, "order": "00" * 10} for number in numbers]
    with kiosk.journal.write() as connection:
        connection.execute(insert(granted.short_id_taken), rows)


def test_a_second_block_of_numbers_when_the_first_is_half_used(kiosk: Device) -> None:
    pull(kiosk)
    keeper = LeaseKeeper(kiosk.journal, kiosk.hub, clock=kiosk.clock)
    keeper.step()
    take(kiosk, range(500))
    assert not keeper.step()
    take(kiosk, range(500, 501))
    assert keeper.step()
    with kiosk.journal.read() as connection:
        assert granted.short_blocks(connection, 6) == (range(1000), range(1000, 2000))


def test_a_late_answer_never_shrinks_a_lease(kiosk: Device, node: HubNode) -> None:
    from sync import grants
    from sync.protocol import SlotGrant

    open_some_slots(node)
    pull(kiosk)
    LeaseKeeper(kiosk.journal, kiosk.hub, clock=kiosk.clock).step()
    slot = next(iter(held(kiosk)))
    with kiosk.journal.write() as connection:
        late = LeaseAnswer((SlotGrant(slot, 4, 16),), (), kiosk.clock.now_utc() - timedelta(seconds=1))
        grants.apply_lease(connection, late, incarnation=kiosk.journal.incarnation)
    assert held(kiosk)[slot] == (10, 10)
