"""The sale engine over real wires, where digits or stock run short."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from hub.command import make_link
from hub.opening import open_node
from hub.services import reckoning, stock, venue
from kiosk.payment.zvt import Options, TcpLink, ZvtTerminal
from kiosk.sale import engine as engine_module
from kiosk.sale.assembly import build
from kiosk.visit import effect, event
from script.story.processes import Program
from sync import granted
from sync.journal import open_journal
from sync.state import Role
from tests.flow.sync.processes import DeviceProcess, HubProcess, Line, until
from tests.support.counter import counter
from tickets.clock import SystemClock

pytestmark = pytest.mark.flow


def test_six_digits_then_nine_then_twelve_and_the_sale_goes_on(tmp_path):
    with counter(tmp_path) as desk:
        with desk.device.journal.write() as connection:
            for length in (6, 8):
                for block in granted.short_blocks(connection, length):
                    rows = [{"length": length, "number": number, "order": "00" * 10} for number in block]
                    connection.execute(insert(granted.short_id_taken), rows)
            free = granted.short_id_taken
            for length in (6, 8):  # one of each is left
                first = granted.short_blocks(connection, length)[0].start
                row = free.update().where(free.c.length == length, free.c.number == first + 5)
                connection.execute(row.values(order=granted.NOBODY))
        desk.start_engine()
        desk.wait_open()
        desk.buy([(1, 3, None)])
        assert isinstance(desk.outcome(), event.Paid)
        desk.wait(event.Printed)
        (sale,) = desk.operations("sale")
        assert [len(row["short_id"]) for row in sale["tickets"]] == [6, 9, 12]
        assert len(desk.papers()) == 3


class Place:
    """A hub, two kiosks with their sync daemons, and the sale engine of the second."""

    def __init__(self, folder: Path) -> None:
        self.hub = HubProcess(folder)
        self.line = Line(self.hub.port)
        self.node = open_node(self.hub.database)
        self.hub.seed(self.line.url)
        self.kiosks = []
        for label in ("K3", "K4"):
            link = make_link(self.node, role=Role.KIOSK, label=label, base_url=self.line.url)
            self.kiosks.append(DeviceProcess(folder / label, link, telemetry_s=1.0))
        self.engine = None
        self.terminal = Program(
            "terminal",
            ["emulators", "terminal", "--listen", "127.0.0.1:0", "--ledger", str(folder / "ledger.jsonl")],
            logs=folder,
        )

    def open_slot(self, capacity: int) -> str:
        """One that is not over for an hour, on the venue's clock."""
        with self.node.write() as connection:
            day = venue.catalogue(connection).venue.day
            now = datetime.now(UTC)
            starts = day.local(now + timedelta(minutes=2))
            venue.open_slots(
                connection,
                "athletics",
                day=starts.date(),
                times=[(starts.hour, starts.minute)],
                minutes=60,
                capacity=capacity,
            )
        return f"athletics-{starts:%Y-%m-%d}-{starts:%H%M}"

    def held(self, number: int, slot: str) -> int | None:
        kiosk = self.kiosks[number]
        journal = open_journal(kiosk.state, clock=SystemClock(), random_bytes=os.urandom)
        try:
            with journal.read() as connection:
                found = [lease.quantity for lease in granted.slot_leases(connection) if lease.slot.slot == slot]
            return found[0] if found else None
        finally:
            journal.engine.dispose()

    def start_engine(self, number: int) -> None:
        port = self.terminal.wait_line("listening")["port"]
        kiosk = self.kiosks[number]
        terminal = ZvtTerminal(TcpLink("127.0.0.1", port), Options(password=123456))
        self.engine = build(state_dir=kiosk.state.path, run_dir=kiosk.run_dir, terminal=terminal)
        self.engine.start()

    def hold(self, turn: int, slot: str, count: int) -> event.EngineEvent:
        self.engine.perform(effect.HoldStock(turn=turn, wanted=((slot, count),)))
        return until(self._answer, why="the engine does not answer", timeout_s=30)

    def _answer(self) -> event.EngineEvent | None:
        said = self.engine.take()
        return said if isinstance(said, event.StockHeld | event.StockRefused) else None

    def close(self) -> None:
        if self.engine is not None:
            self.engine.stop()
        for kiosk in self.kiosks:
            if kiosk.process is not None:
                kiosk.stop(kill=True)
        self.terminal.stop()
        self.line.close()
        self.hub.stop()
        self.node.engine.dispose()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def test_what_a_guest_picks_is_got_from_the_hub_and_then_from_a_neighbour(
    place: Place, monkeypatch: pytest.MonkeyPatch, record_property
) -> None:
    place.kiosks[0].start()
    until(lambda: place.kiosks[0].health().get("line"), why="the first kiosk has a line", timeout_s=40)
    slot = place.open_slot(12)
    until(lambda: place.held(0, slot) == 10, why="it holds its part", timeout_s=40)
    place.kiosks[1].start()
    place.start_engine(1)
    until(
        lambda: place.held(1, slot) is not None and place.kiosks[1].health().get("line"),
        why="the second has a line",
        timeout_s=40,
    )
    # A loaded machine may be slower than a guest's patience; the answer is the same.
    monkeypatch.setattr(engine_module, "LEASE_WAIT_S", 15.0)
    began_s = time.monotonic()
    assert place.hold(1, slot, 2) == event.StockHeld(turn=1), "2 were free at the hub"
    record_property("from_hub_ms", round((time.monotonic() - began_s) * 1000))
    began_s = time.monotonic()
    assert place.hold(2, slot, 7) == event.StockHeld(turn=2), "the neighbour gave back what it did not need"
    record_property("from_neighbour_ms", round((time.monotonic() - began_s) * 1000))
    with place.node.read() as connection:
        told = stock.story(connection, slot)
    assert isinstance(told.stand, reckoning.Stand)
    assert told.stand.leased + told.stand.free == 12
    place.line.cut()
    until(lambda: place.kiosks[1].health().get("line") is False, why="the line is gone", timeout_s=30)
    began_s = time.monotonic()
    refused = place.hold(3, slot, 13)
    assert isinstance(refused, event.StockRefused)
    assert time.monotonic() - began_s < 10, "nobody waits for a line that is not there"


def test_a_kiosk_that_closes_gives_back_what_it_holds(place: Place) -> None:
    place.kiosks[1].start()
    place.start_engine(1)
    slot = place.open_slot(12)
    until(lambda: place.held(1, slot) == 10, why="it holds its part", timeout_s=40)
    place.engine.stop()
    place.engine = None
    place.kiosks[1].stop()
    with place.node.read() as connection:
        stand = stock.story(connection, slot).stand
    assert (stand.leased, stand.free) == (0, 12)
    assert place.held(1, slot) == 0
