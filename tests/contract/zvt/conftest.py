"""An emulator for each test, and a driver for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kiosk.payment.tables import create
from kiosk.payment.zvt import Options, TcpLink, Timers, ZvtTerminal
from kiosk.payment.zvt.serial_link import SerialLink
from sync.store import open_engine
from tests.support.zvt import PASSWORD, QUICK, Emulator, Till

Start = Callable[..., Till]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start("--fault", ...)`: an emulator on TCP and a driver for it; `pty=True`: both on a serial line."""
    tills: list[Till] = []

    def begin(*options: str, pty: bool = False, timers: Timers = QUICK, **more: Any) -> Till:
        path = tmp_path / f"tty{len(tills)}" if pty else None
        emulator = Emulator(tmp_path / f"ledger{len(tills)}.jsonl", path).start(*options)

        def fresh() -> ZvtTerminal:
            link = SerialLink(str(path), timers=timers) if pty else TcpLink("127.0.0.1", emulator.port)
            return ZvtTerminal(link, Options(password=PASSWORD, timers=timers, **more))

        till = Till(fresh(), emulator, fresh)
        tills.append(till)
        return till

    yield begin
    for till in tills:
        till.terminal.close()
        till.emulator.end()


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m emulators` is found from the project's root."""
    root = Path(__file__).parents[3]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def engine(tmp_path):
    opened = open_engine(tmp_path / "journal.db")
    create(opened)
    yield opened
    opened.dispose()
