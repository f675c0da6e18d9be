"""Stock under everything that can happen to it, with the real services and the real keeper: whatever is lost, doubled, late or restored,
the hub's drawers are its stock, and nothing is sold twice that nobody gave up by name.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from hub import tables
from hub.errors import BadRequest
from hub.node import HubNode
from hub.services import reckoning, stock, venue
from kiosk.sale import stock as kiosk_stock
from kiosk.sale.errors import StockGone
from sync import granted, grants
from sync.errors import HubUnreachable
from sync.journal import open_journal, set_aside
from sync.leasing import LeaseKeeper
from sync.operation import Paid, SaleReversed
from sync.protocol import LeaseAnswer, LeaseRequest
from sync.state import Role
from sync.store import open_engine
from sync.upload import Uploader
from tests import hubkit
from tests.hubkit import Device, LocalHub
from tickets.clock import FixedClock

CAPACITY = 12
SLOT = "athletics-2026-11-23-1400"
FATES = st.sampled_from(["ok", "ok", "ok", "late", "doubled", "answer lost"])
KIOSKS = ("K1", "K2", "K3")


class LossyHub(LocalHub):
    """Loses what the test says, and keeps copies of requests to deliver them late."""

    def __init__(self, node: HubNode, device: bytes, late: list[Any]) -> None:
        super().__init__(node, device)
        self.late, self.fate = late, "ok"

    def lease(self, wanted: LeaseRequest) -> LeaseAnswer:
        fate, self.fate = self.fate, "ok"
        if fate == "late":
            self.late.append((self, wanted))
            raise HubUnreachable("late")
        if fate == "doubled":
            self.late.append((self, wanted))
        answer = super().lease(wanted)
        if fate == "answer lost":
            raise HubUnreachable("the answer was lost")
        return answer


class Kiosk:
    """A kiosk's journal, keeper and stock, without screen and paper."""

    def __init__(self, device: Device, hub: LossyHub) -> None:
        self.device, self.hub = device, hub
        self.open_sales: list[Any] = []
        self.restart()

    def restart(self) -> None:
        self.keeper = LeaseKeeper(self.device.journal, self.hub, clock=self.device.clock)
        self.keeper.heard()

    def left(self) -> int:
        with self.device.journal.read() as connection:
            held = {lease.slot.slot: lease for lease in granted.slot_leases(connection)}[SLOT]
            return kiosk_stock.left(connection, held)

    def sell(self, count: int) -> bool:
        """As the sale engine commits it."""
        now = self.device.clock.now_utc()
        sale = self.device.sale(variant=20, price=1500, count=count, slot=SLOT)
        try:
            with self.device.journal.write() as connection:
                kiosk_stock.hold(connection, sale.order, {SLOT: count}, boot="b", now=now)
                self.device.journal.append(connection, sale)
                kiosk_stock.sell(connection, sale.order, now=now)
        except StockGone:
            return False
        self.open_sales.append(sale)
        return True

    def reverse(self) -> None:
        sale, now = self.open_sales.pop(), self.device.clock.now_utc()
        with self.device.journal.write() as connection:
            op = self.device.random_bytes(16).hex()
            self.device.journal.append(connection, SaleReversed(op, now.isoformat(), sale.order, "paper", Paid("card")))
            kiosk_stock.release(connection, sale.order, now=now)

    def upload(self) -> None:
        uploader = Uploader(self.device.journal, self.device.state, self.hub, clock=self.device.clock)
        while uploader.step().operations:
            pass

    def units_sold(self) -> int:
        return sum(sale.lines[0].count for sale in self.open_sales)


class StockMachine(RuleBasedStateMachine):
    template: Path
    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        shutil.copytree(self.template, self.folder / "w")
        self.clock = FixedClock(hubkit.NOON)
        work = self.folder / "w"
        key = hubkit.Ed25519PrivateKey.from_private_bytes(hubkit.seeded(1)(32))
        self.node = HubNode(open_engine(work / "hub.db"), key, clock=self.clock, random_bytes=hubkit.seeded(9))
        self.late: list[Any] = []
        self.kiosks: list[Kiosk] = []
        for number, label in enumerate(KIOSKS):
            state = hubkit.StateDir(work / f"kiosk-{label}")
            random_bytes = hubkit.seeded(20 + number)
            journal = open_journal(state, clock=self.clock, random_bytes=random_bytes)
            identity = state.identity()
            hub = LossyHub(self.node, identity.device, self.late)
            device = Device(state, identity, journal, hub, self.clock, random_bytes)
            device.counter = 100 * number
            self.kiosks.append(Kiosk(device, hub))
        self.gave_up = 0
        self.lowered = False
        self.restored = False
        self.sold_before = 0

    def teardown(self) -> None:
        with self.node.read() as connection:
            returned = connection.scalar(select(func.sum(tables.lease.c.returned)))
            oversold = connection.scalar(select(func.count()).select_from(tables.trouble))
        self.seen.update(returned=returned or 0, taken=self.gave_up, reported=oversold)
        for kiosk in self.kiosks:
            kiosk.device.journal.engine.dispose()
        self.node.engine.dispose()
        shutil.rmtree(self.folder)

    which = st.integers(0, len(KIOSKS) - 1)

    @rule(which=which, fate=FATES, pull=st.booleans())
    def step(self, which: int, fate: str, pull: bool) -> None:
        """As the sync daemon goes round: operations, then leases, then the feed."""
        kiosk = self.kiosks[which]
        self.clock.now += hubkit.timedelta(seconds=40)
        self.clock.elapsed_s += 40
        kiosk.keeper.heard()
        if pull:
            self._pull(kiosk)
        kiosk.upload()
        kiosk.hub.fate = fate
        with contextlib.suppress(HubUnreachable):
            kiosk.keeper.step()
        kiosk.hub.fate = "ok"

    def _pull(self, kiosk: Kiosk) -> None:
        page = kiosk.hub.changes(None, wait_s=0, rows_max=10_000)
        with kiosk.device.journal.write() as connection:
            grants.apply(connection, page, kiosk.device.identity)

    @rule(which=which, count=st.integers(1, 5))
    def sell_offline(self, which: int, count: int) -> None:
        kiosk = self.kiosks[which]
        left = kiosk.left()
        assert kiosk.sell(count) == (count <= left)

    @rule(which=which)
    def reverse(self, which: int) -> None:
        if self.kiosks[which].open_sales:
            self.kiosks[which].reverse()

    @rule(which=which, count=st.integers(1, 6))
    def a_guest_waits(self, which: int, count: int) -> None:
        with self.kiosks[which].device.journal.write() as connection:
            kiosk_stock.wish(connection, "ff" * 10, {SLOT: count}, now=self.clock.now_utc())

    @rule(which=which, is_open=st.booleans())
    def close_or_open(self, which: int, is_open: bool) -> None:
        with self.kiosks[which].device.journal.write() as connection:
            kiosk_stock.say_selling(connection, is_open=is_open, now=self.clock.now_utc())

    @rule(which=which, other=which, fate=FATES)
    def a_neighbour_gives(self, which: int, other: int, fate: str) -> None:
        """A guest waits at one kiosk, and another one hears of it."""
        self.a_guest_waits(which, self.kiosks[which].left() + 2)
        self.step(which, "ok", pull=True)
        self.step(other, fate, pull=True)
        self.a_guest_waits(which, self.kiosks[which].left() + 2)
        self.step(which, "ok", pull=True)

    @rule(which=which, fate=FATES)
    def close_for_the_day(self, which: int, fate: str) -> None:
        self.close_or_open(which, is_open=False)
        self.step(which, fate, pull=False)
        self.step(which, "ok", pull=False)
        self.close_or_open(which, is_open=True)

    @rule(which=which)
    def killed_between(self, which: int) -> None:
        """Whatever the process knew is gone; what it had written is there."""
        self.kiosks[which].restart()

    @rule()
    def deliver_late(self) -> None:
        if self.late:
            hub, wanted = self.late.pop(0)
            LocalHub.lease(hub, wanted)  # nobody hears the answer

    @rule(which=which)
    @precondition(lambda self: self.gave_up == 0)
    def take_back(self, which: int) -> None:
        kiosk = self.kiosks[which]
        with contextlib.suppress(BadRequest), self.node.write() as connection:
            self.gave_up += stock.take_back(
                connection, SLOT, kiosk.device.identity.device, by="Sato", reason="gone", now=self.clock.now_utc()
            )

    @rule(which=which)
    @precondition(lambda self: not self.restored)
    def journal_lost(self, which: int) -> None:
        """A new journal begins; what the old one had not sent is gone, what it had been lent stays out."""
        kiosk = self.kiosks[which]
        kiosk.upload()
        kiosk.device.journal.engine.dispose()
        set_aside(kiosk.device.state)
        kiosk.device.journal = open_journal(
            kiosk.device.state, clock=self.clock, random_bytes=kiosk.device.random_bytes
        )
        kiosk.restart()
        self._pull(kiosk)
        self.restored = True
        self.sold_before = kiosk.units_sold()
        kiosk.open_sales = []

    @rule(capacity=st.integers(0, CAPACITY))
    @precondition(lambda self: not self.lowered)
    def lower_capacity(self, capacity: int) -> None:
        with self.node.write() as connection:
            stock.set_capacity(connection, SLOT, capacity, by="Sato", now=self.clock.now_utc())
        self.lowered = True

    def _sold_anywhere(self) -> int:
        return sum(kiosk.units_sold() for kiosk in self.kiosks) + self.sold_before

    @invariant()
    def the_drawers_are_the_stock(self) -> None:
        with self.node.read() as connection:
            row = connection.execute(select(tables.slot).where(tables.slot.c.slot == SLOT)).one()
            stand = reckoning.reckon(connection, row)
            sold = connection.scalar(
                select(func.coalesce(func.sum(tables.order_line.c.count), 0))
                .join(tables.order, tables.order.c.order == tables.order_line.c.order)
                .where(tables.order.c.state == "paid")
            )
        assert (row.leased, row.sold, row.free, row.at_risk) == (stand.leased, stand.sold, stand.free, stand.at_risk)
        assert row.leased + row.sold + row.free + row.at_risk == row.capacity + stand.beyond
        assert row.sold == sold
        assert stand.beyond == 0 or self.lowered or self.gave_up

    @invariant()
    def nothing_is_sold_that_is_not_there(self) -> None:
        """What is sold anywhere, what every kiosk could still sell without asking, and what the hub could still lend, together."""
        in_hands = sum(max(0, kiosk.left()) for kiosk in self.kiosks)
        with self.node.read() as connection:
            row = connection.execute(select(tables.slot).where(tables.slot.c.slot == SLOT)).one()
        assert all(kiosk.left() >= 0 for kiosk in self.kiosks)
        most = self._sold_anywhere() + in_hands + (0 if self.lowered else row.free + row.at_risk)
        assert most <= CAPACITY + self.gave_up, "more could be sold than there is, and nobody took it on themselves"


def _template(folder: Path) -> None:
    clock = FixedClock(hubkit.NOON)
    node = hubkit.make_node(folder, clock=clock, random_bytes=hubkit.seeded(1))
    with node.write() as connection:
        day = venue.catalogue(connection).venue.day.of(clock.now)
        venue.open_slots(connection, "athletics", day=day, times=[(14, 0)], minutes=30, capacity=CAPACITY)
    for number, label in enumerate(KIOSKS):
        made = hubkit.make_device(
            node, folder, role=Role.KIOSK, label=label, clock=clock, random_bytes=hubkit.seeded(10 + number)
        )
        page = made.hub.changes(None, wait_s=0, rows_max=10_000)
        with made.journal.write() as connection:
            grants.apply(connection, page, made.identity)
        made.journal.engine.dispose()
    node.engine.dispose()


@pytest.fixture(scope="module", autouse=True)
def _opened() -> Iterator[None]:
    """Hub and kiosks, enrolled once, on a disk that need not sync."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name) / "template"
        folder.mkdir()
        _template(folder)
        StockMachine.template = folder
        yield


def play(*, examples: int) -> None:
    how = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        database=None,
        print_blob=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(StockMachine, settings=how)


def test_stock_holds_under_everything() -> None:
    StockMachine.seen.clear()
    play(examples=40)
    assert StockMachine.seen["returned"] > 20
    assert StockMachine.seen["taken"] > 0


def test_a_return_that_is_only_said_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kiosk tells the hub of a return and goes on selling from it."""
    monkeypatch.setattr(grants, "_net", _lent_ever)
    with pytest.raises(AssertionError):
        play(examples=40)


def _lent_ever(connection: Any, slot: str) -> int:
    total = select(func.coalesce(func.sum(granted.lent.c.lent), 0)).where(granted.lent.c.slot == slot)
    return int(connection.scalar(total))


def test_a_lease_that_a_new_journal_gets_back_unseen_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub forgets what an earlier journal of the device was lent: it may have sold it."""
    real = reckoning.stand_of

    def forgetful(units: int, accounts: Any) -> reckoning.Stand:
        lent_once = {root: replace(one, lent=min(one.lent, one.returned + one.sold)) for root, one in accounts.items()}
        return real(units, lent_once)

    monkeypatch.setattr(reckoning, "stand_of", forgetful)
    with pytest.raises(AssertionError):
        play(examples=40)
