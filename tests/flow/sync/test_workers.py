"""Several workers on one socket: all answer, a dead one is replaced, none is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from hub.command import make_link
from hub.opening import open_node
from hub.workers import Parent, WorkOrder
from sync.client import HttpHub
from sync.enrol import enrol
from sync.protocol import Telemetry
from sync.state import Role, StateDir
from tickets.clock import FixedClock, SystemClock

DEADLINE_S = 30.0


@pytest.fixture
def order(tmp_path: Path) -> WorkOrder:
    """On SQLite, which `serve` refuses more than one worker for: here it is about processes, not about speed."""
    database, key = f"sqlite:///{tmp_path / 'hub.db'}", tmp_path / "hub.key"
    node = open_node(database, key_file=key)
    node.engine.dispose()
    return WorkOrder(database, str(key), None, None)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def turn_until(parent: Parent, done: object) -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not done():  # type: ignore[operator]
        assert time.monotonic() < ends_s
        parent.turn(wait_s=0.05)


def test_a_dead_worker_is_replaced_and_sigterm_stops_all(
    order: WorkOrder, listener: socket.socket, tmp_path: Path
) -> None:
    said: list[str] = []
    parent = Parent(listener, order, count=2, ready=lambda: said.append("ready"))
    try:
        turn_until(parent, lambda: said)
        before = parent.pids
        assert len(before) == 2
        node = open_node(order.database_url, key_file=Path(order.key_file))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        link = make_link(node, role=Role.KIOSK, label="K1", base_url=url)
        state = StateDir(tmp_path / "kiosk")
        identity = enrol(link, state, clock=SystemClock(), random_bytes=os.urandom)
        hub = HttpHub(
            url,
            device=identity.device,
            key=state.identity_key(),
            clock=FixedClock(datetime(1996, 2, 29, tzinfo=UTC)),  # thirty years off: nobody judges by it
            random_bytes=os.urandom,
        )
        telemetry = Telemetry(SystemClock().now_utc(), "test", 0)
        for _ in range(12):  # a nonce of one worker is good at the other
            hub.telemetry(telemetry)
            hub.close()
        os.kill(before[0], signal.SIGKILL)
        turn_until(parent, lambda: len(parent.pids) == 2 and before[0] not in parent.pids)
        turn_until(parent, lambda: all(worker.is_ready for worker in parent._workers.values()))
        hub.telemetry(telemetry)
        node.engine.dispose()
        assert said == ["ready"]
        last = parent.pids
    finally:
        parent.stop()
    assert not any(psutil.pid_exists(pid) for pid in (*before, *last))


def test_workers_do_not_outlive_their_parent(order: WorkOrder, tmp_path: Path) -> None:
    script = (
        "import sys, socket, time\n"
        "from hub.workers import Parent, WorkOrder\n"
        f"order = WorkOrder({order.database_url!r}, {order.key_file!r}, None, None)\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "parent = Parent(listener, order, count=1, ready=lambda: print(parent.pids[0], flush=True))\n"
        "while True:\n"
        "    parent.turn(wait_s=0.1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    worker = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.wait()
    process.stdout.close()
    psutil.wait_procs([worker], timeout=DEADLINE_S)
    assert not worker.is_running()
