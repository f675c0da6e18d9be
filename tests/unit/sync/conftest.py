from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.node import HubNode
from sync.state import Role
from tests import hubkit
from tests.hubkit import Device
from tickets.clock import FixedClock


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(hubkit.NOON)


@pytest.fixture(params=hubkit.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Whoever takes a node takes it on either database."""
    return str(request.param)


@pytest.fixture
def node(tmp_path: Path, clock: FixedClock, engine: str) -> Iterator[HubNode]:
    made = hubkit.make_node(tmp_path, clock=clock, random_bytes=hubkit.seeded(1), engine=engine)
    yield made
    made.engine.dispose()


@pytest.fixture
def kiosk(node: HubNode, tmp_path: Path, clock: FixedClock) -> Device:
    return hubkit.make_device(node, tmp_path, role=Role.KIOSK, label="K2", clock=clock, random_bytes=hubkit.seeded(2))


@pytest.fixture
def gate(node: HubNode, tmp_path: Path, clock: FixedClock) -> Device:
    return hubkit.make_device(node, tmp_path, role=Role.GATE, label="A", clock=clock, random_bytes=hubkit.seeded(3))


@pytest.fixture
def gate_b(node: HubNode, tmp_path: Path, clock: FixedClock) -> Device:
    return hubkit.make_device(node, tmp_path, role=Role.GATE, label="B", clock=clock, random_bytes=hubkit.seeded(4))
