from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flow.sync.processes import DeviceProcess, HubProcess, Line
from tests.support import postgres


@dataclass
class Place:
    """A hub, a line to it that can be cut, and a kiosk and a gate that were enrolled over that line."""

    hub: HubProcess
    line: Line
    kiosk: DeviceProcess
    gate: DeviceProcess


@pytest.fixture
def engine() -> str:
    """The hub's database: a test that takes it as a parameter runs on both."""
    return "sqlite"


@pytest.fixture
def place(tmp_path: Path, engine: str) -> Iterator[Place]:
    hub = HubProcess(tmp_path, database=postgres.fresh_url() if engine == "postgresql" else None)
    line = Line(hub.port)
    links = hub.seed(line.url)["links"]
    made = Place(
        hub, line, DeviceProcess(tmp_path / "kiosk", links["kiosk"]), DeviceProcess(tmp_path / "gate", links["gate"])
    )
    yield made
    for device in (made.kiosk, made.gate):
        if device.process is not None:
            device.stop(kill=True)
    line.close()
    hub.stop()
