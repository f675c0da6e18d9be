"""A terminal emulator as a process of its own, the driver on a real wire to it, and the emulator's ledger beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kiosk.payment import AttemptId, Evidence, Method, OrderRef, Outcome, PayRequest, Progress
from kiosk.payment.zvt import Options, TcpLink, Timers, ZvtTerminal
from kiosk.payment.zvt.serial_link import SerialLink
from tickets.money import Money

PASSWORD = 123456
QUICK = Timers(t2_s=0.5, t3_s=1.0, t4_s=2.0, after_confirm_s=2.0, poll_s=0.02)
FAST = ("--pause-ms", "10", "--host-ms", "5", "--repeat-ms", "1100", "--t2-ms", "500")


@dataclass
class Emulator:
    """One emulator process; `restart` starts another one on the same ledger and the same wire."""

    ledger_file: Path
    pty: Path | None = None
    port: int = 0
    process: subprocess.Popen[str] | None = None
    options: tuple[str, ...] = ()

    def start(self, *options: str) -> Emulator:
        self.options = options or self.options
        where = ["--pty", str(self.pty)] if self.pty else ["--listen", f"127.0.0.1:{self.port}"]
        command = [sys.executable, "-m", "emulators", "terminal", *where, "--ledger", str(self.ledger_file)]
        self.process = subprocess.Popen(
            [*command, *FAST, *self.options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        self.port = self.wait_for("listening").get("port", 0)
        return self

    def wait_for(self, event: str, **values: Any) -> dict[str, Any]:
        """The next event of that name with these values, out of the process's own output."""
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if told["event"] == event and all(told.get(name) == value for name, value in values.items()):
                return told
        raise AssertionError(f"the emulator ended without {event}")

    def do(self, **command: Any) -> None:
        """A line on its standard input, and wait until it is done."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        self.wait_for("done", do=command["do"])

    def fault(self, spec: str) -> None:
        self.do(do="fault", spec=spec)

    def heal(self, name: str) -> None:
        self.do(do="heal", fault=name)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def end(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.terminate()
            self.process.communicate(timeout=10)
            self.process = None

    def entries(self) -> list[dict[str, Any]]:
        text = self.ledger_file.read_text() if self.ledger_file.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def charged(self) -> int:
        """The ledger's own sum: stored, less what was reversed afterwards, by itself or by a 06 30."""
        stored: dict[int, int] = {}
        for entry in self.entries():
            match entry["event"]:
                case "stored":
                    stored[entry["trace"]] = entry["amount"]
                case "reversed":
                    stored.pop(entry["trace"], None)
                case "reversal":
                    stored.pop(entry["orig_trace"], None)
        return sum(stored.values())


@dataclass
class Till:
    """The driver with what a sale engine would remember of one guest."""

    terminal: ZvtTerminal
    emulator: Emulator
    fresh: Callable[[], ZvtTerminal]
    """A driver as a restarted process makes it: without any memory."""
    attempts: int = 0
    progress: list[Progress] = field(default_factory=list)

    def request(self, amount: int = 3300, deadline_s: int = 30) -> PayRequest:
        self.attempts += 1
        name = AttemptId(f"a{self.attempts}")
        return PayRequest(name, OrderRef("o1"), Money(amount, "JPY"), Method.CARD, deadline_s, self.terminal.baseline())

    def authorise(self, request: PayRequest) -> Evidence:
        self.progress.clear()
        return self.terminal.authorise(request, self.progress.append)

    def query(self, request: PayRequest, seen: Evidence | None = None) -> Evidence:
        """Ask until the terminal can be asked; `seen` goes through its JSON as it would through the journal."""
        seen = None if seen is None else Evidence.from_json(seen.to_json())
        kept = PayRequest.from_json(request.to_json())
        for _ in range(20):
            found = self.terminal.query(kept, seen=seen)
            if found.code not in {"terminal_absent", "terminal_link", "terminal_silent", "in_progress"}:
                return found
        return found

    def crash(self) -> None:
        """The kiosk's process is gone: the wire breaks, a hold is neither confirmed nor refused."""
        self.terminal._session.wire.close()
        self.terminal = self.fresh()

    def paid(self, amount: int = 3300) -> tuple[PayRequest, Evidence]:
        """A payment that goes well, down to its proof."""
        request = self.request(amount)
        proof = self.terminal.confirm(self.authorise(request))
        assert proof.outcome is Outcome.APPROVED_FINAL
        return request, proof


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
