"""kill -9 at any moment of a download: what is in force afterwards is whole, and the next start goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from sync import cache as cache_file
from sync import granted
from sync.cache import Cache
from sync.journal import open_journal
from sync.store import open_engine
from tests import hubkit
from tests.flow.sync.processes import DeviceProcess, HubProcess, until
from tickets.clock import FixedClock, SystemClock

pytestmark = [pytest.mark.flow]

SALES, TICKETS = 8, 15


def rows_in(path: Path) -> int:
    if not path.exists():
        return 0
    engine = open_engine(path, read_only=True)
    try:
        with engine.begin() as connection:
            names = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
            return 0 if "ticket" not in names else len(connection.execute(select(cache_file.ticket.c.ticket)).all())
    except OperationalError:
        return 0  # it is just being made
    finally:
        engine.dispose()


def test_killed_in_the_middle_of_a_page(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path)
    devices = []
    try:
        links = hub.seed()["links"]
        kiosk = DeviceProcess(tmp_path / "kiosk", links["kiosk"])
        gate = DeviceProcess(tmp_path / "gate", links["gate"], page_rows=2)
        devices = [kiosk, gate]
        clock = FixedClock(SystemClock().now_utc())
        journal = open_journal(kiosk.state, clock=clock, random_bytes=os.urandom)
        who = hubkit.Device(kiosk.state, kiosk.identity, journal, None, clock, os.urandom)  # type: ignore[arg-type]
        who.append(*(who.sale(count=TICKETS) for _ in range(SALES)))
        kiosk.start()
        until(lambda: kiosk.health().get("unsent") == 0)
        seen = []
        for enough in (
            10,
            40,
            90,
        ):  # two rows a page: the kill falls between or into pages, before the generation is whole
            gate.start()
            until(lambda enough=enough: rows_in(gate.state.cache(1)) >= enough)
            gate.stop(kill=True)
            seen.append(rows_in(gate.state.cache(1)))
            engine = open_engine(gate.state.journal, read_only=True)
            with engine.begin() as connection:
                assert granted.generation(connection) is None, "half a cache is not in force"
            engine.dispose()
        assert all(10 <= count < SALES * TICKETS for count in seen)
        file = gate.file.read_text().replace('"page_rows": 2,', '"page_rows": 1000,')
        gate.file.write_text(file)
        gate.start()
        until(lambda: gate.health().get("generation") == 1)
        assert rows_in(gate.state.cache(1)) == SALES * TICKETS
        gate.stop(kill=True)
        held = Cache.open(gate.state.cache(1))
        held.check()
        held.close()
    finally:
        for device in devices:
            if device.process is not None:
                device.stop(kill=True)
        hub.stop()
