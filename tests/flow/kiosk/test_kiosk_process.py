"""The kiosk as a process of its own, on the days on which it cannot sell: it says so on its screen and in health, and sells nothing."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from script.story.processes import ROOT, Program
from sync.errors import JournalBroken
from sync.service.health import Board, Health, State
from tests.support.device import Device, selling_kiosk
from tickets.clock import SystemClock

pytestmark = [pytest.mark.flow, pytest.mark.screen]

PATIENCE_S = 40.0
"""Only a test that fails waits this long."""


class Shown:
    """A device, and the kiosk process on it, drawn off screen."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.device: Device = selling_kiosk(directory / "device")
        self.targets = directory / "targets.json"
        self.programs: list[Program] = []
        self.kiosk: Program | None = None

    def start(self, name: str, arguments: list[str], *, ready: bool = True) -> Program:
        environment = {"SDL_VIDEODRIVER": "offscreen", "LIBGL_ALWAYS_SOFTWARE": "1", "SDL_AUDIODRIVER": "dummy"}
        program = Program(name, arguments, logs=self.directory, env=environment, notifies=ready)
        self.programs.append(program)
        if ready:
            program.wait_ready()
        return program

    def daemon(self, name: str, **settings: Any) -> Program:
        file = self.directory / f"{name}.json"
        file.write_text(json.dumps(settings))
        return self.start(name, [name, str(file)])

    def open(self, *, terminal_port: int) -> None:
        self.kiosk = self.daemon(
            "kiosk",
            state_dir=str(self.device.state.path),
            run_dir=str(self.device.run_dir),
            terminal_address=f"tcp://127.0.0.1:{terminal_port}",
            terminal_password=123456,
            fullscreen=False,
            width_px=540,
            height_px=960,
            say_targets=str(self.targets),
        )

    def now(self) -> dict[str, Any]:
        try:
            said: dict[str, Any] = json.loads(self.targets.read_text())
        except (FileNotFoundError, ValueError):
            return {"screen": "", "enabled": {}}
        return said

    def health(self, part: str) -> Health:
        board = Board(self.device.run_dir / "health.db")
        try:
            return board.read(part, now=SystemClock().now_utc(), age_s_max=60)
        finally:
            board.close()

    def close(self) -> None:
        for program in reversed(self.programs):
            program.stop()


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    made = Shown(tmp_path)
    yield made
    made.close()


def until(so: Callable[[], bool], why: str) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not so():
        assert time.monotonic() < ends_s, why
        time.sleep(0.03)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def acts(shown: Shown) -> set[str]:
    """What can be touched and would do something."""
    return {name for name, enabled in shown.now()["enabled"].items() if enabled}


def test_a_journal_that_fails_its_chain_stops_the_sales_and_is_told(shown: Shown) -> None:
    """Terminal and printer are there and well; it is the record alone that cannot be kept."""
    shown.device.journal.engine.dispose()
    path = shown.device.state.journal
    with sqlite3.connect(path) as database:
        database.execute("UPDATE operation SET hash = zeroblob(32)")
    database.close()
    before = sqlite3.connect(path).execute("SELECT * FROM operation").fetchall()
    wire = shown.start("terminal", _terminal(shown.directory), ready=False)
    shown.open(terminal_port=wire.wait_line("listening")["port"])
    until(lambda: shown.health("sale").state is State.ERROR, "health does not say it")
    health = shown.health("sale")
    assert (health.stops, health.facts["why"]) == ("sales", JournalBroken.code)
    until(lambda: "kiosk_cannot_sell" in _log(shown), "the log does not say it")
    # The screen is the one for guests, and stays so: nothing on it leads to a sale.
    until(lambda: shown.now()["screen"] == "blocked", "guests are not told")
    seen = _seen_for(shown, 2.0)
    assert {row["screen"] for row in seen} == {"blocked"}
    assert all(not name.startswith(("product", "pay", "next")) for row in seen for name in row["enabled"])
    assert not any(name.startswith("language.") for name in acts(shown)), "a visit could begin"
    assert sqlite3.connect(path).execute("SELECT * FROM operation").fetchall() == before, "left for staff to look at"
    assert "Traceback" not in _log(shown)
    assert shown.kiosk is not None
    assert shown.kiosk.process.poll() is None
    shown.kiosk.stop()
    assert shown.kiosk.process.returncode == 0


def test_a_printer_that_is_not_there_stops_the_sales_until_it_is(shown: Shown) -> None:
    port = free_port()
    wire = shown.start("terminal", _terminal(shown.directory), ready=False)
    terminal_port = wire.wait_line("listening")["port"]
    shown.daemon(
        "printer",
        journal=str(shown.device.state.journal),
        health=str(shown.device.run_dir / "health.db"),
        doorbell=str(shown.device.run_dir / "printer.bell"),
        link="tcp",
        address=f"127.0.0.1:{port}",
    )
    shown.open(terminal_port=terminal_port)
    until(lambda: shown.health("sale").state not in (State.UNKNOWN, State.ERROR), "the engine is not open")
    until(lambda: shown.now()["screen"] == "blocked", "guests are not told")
    assert shown.health("printer").state is State.ERROR
    assert not any(name.startswith("language.") for name in acts(shown))
    paper = str(shown.directory / "paper")
    shown.start("device", ["emulators", "printer", "--listen", f"127.0.0.1:{port}", "--out", paper], ready=False)
    until(lambda: "language.ja" in acts(shown), "it does not sell though the printer has come")
    assert "Traceback" not in _log(shown)


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "kiosk.json"
    good = {"state_dir": "s", "run_dir": "r", "terminal_address": "tcp://127.0.0.1"}
    for wrong, words in (
        ({"terminal_pasword": 1}, ("unknown key 'terminal_pasword'", "terminal_password")),
        ({"terminal_address": "com1"}, ("terminal_address", "serial:///")),
        ({"terminal_hold": "yes"}, ("terminal_hold", "always, auto, never")),
        ({"width_px": "wide"}, ("width_px", "int")),
    ):
        file.write_text(json.dumps({**good, **wrong}))
        done = subprocess.run(
            [sys.executable, "-m", "kiosk", str(file)], cwd=ROOT, capture_output=True, text=True, timeout=30
        )
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert all(word in done.stderr for word in (str(file), *words))


def _terminal(directory: Path) -> list[str]:
    return ["emulators", "terminal", "--listen", "127.0.0.1:0", "--ledger", str(directory / "ledger.jsonl")]


def _log(shown: Shown) -> str:
    assert shown.kiosk is not None
    return shown.kiosk.log.read_text(errors="replace")


def _seen_for(shown: Shown, seconds: float) -> list[dict[str, Any]]:
    """Every state the screen was in for that long."""
    seen, ends_s = [], time.monotonic() + seconds
    while time.monotonic() < ends_s:
        seen.append(shown.now())
        time.sleep(0.05)
    return seen


def test_a_sale_engine_that_ends_ends_the_process_so_that_it_is_started_again(shown: Shown) -> None:
    """A kiosk that only shows that it is out of order would keep a guest's money until somebody passes by."""
    shown.open(terminal_port=free_port())
    until(lambda: shown.now()["screen"] == "blocked", "no terminal and no printer: it does not sell")
    time.sleep(1.5)  # the engine reads its rows once a second; it has read them whole by now
    with sqlite3.connect(shown.device.state.journal, timeout=10) as journal:
        journal.execute("DROP TABLE granted_lease")
    assert shown.kiosk is not None
    assert shown.kiosk.process.wait(PATIENCE_S) == 1
