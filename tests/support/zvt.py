"""A terminal emulator as a process of its own, a driver on a real wire to it, and a sale that is journalled as the engine does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kiosk.payment import (
    AttemptId,
    Baseline,
    Evidence,
    Method,
    OrderRef,
    Outcome,
    PayRequest,
    Progress,
    State,
    journal,
    recovery,
    state_after,
)
from kiosk.payment.errors import TerminalLinkError
from kiosk.payment.zvt import Timers, ZvtTerminal
from kiosk.payment.zvt.apdu import Apdu
from kiosk.payment.zvt.link import Link
from sync.store import reading
from tickets.clock import FixedClock
from tickets.money import Money

PASSWORD = 123456
PATIENCE_S = 20.0
QUICK = Timers(t2_s=0.5, t3_s=1.0, t4_s=2.0, after_confirm_s=2.0, poll_s=0.02)
FAST = ("--pause-ms", "10", "--host-ms", "5", "--repeat-ms", "1100", "--t2-ms", "500")  # later options win


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
        """The next event of that name with these values, out of the process's own output; within PATIENCE_S."""
        assert self.process is not None
        assert self.process.stdout is not None
        watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        watchdog.start()
        try:
            for line in self.process.stdout:
                told = json.loads(line)
                if told["event"] == event and all(told.get(name) == value for name, value in values.items()):
                    return told
        finally:
            watchdog.cancel()
        raise AssertionError(f"the emulator ended without {event} {values}")

    def do(self, **command: Any) -> dict[str, Any]:
        """A line on its standard input, and wait until it is done; how many frames and payments there were by then."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.wait_for("done", do=command["do"])

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

    def charged(self, *, ours_only: bool = False) -> int:
        """The ledger's own sum: stored, less what was reversed afterwards, by itself or by a 06 30; without other tills' if so."""
        stored: dict[int, int] = {}
        for entry in self.entries():
            match entry["event"]:
                case "stored" if not (ours_only and entry.get("till") == "other"):
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
    order: str = "o1"
    tries: int = 1
    """How often the terminal is asked for a baseline: on a serial line it may still be busy with a dead process's payment."""

    def request(self, amount: int = 3300, deadline_s: int = 30) -> PayRequest:
        self.attempts += 1
        name = AttemptId(f"a{self.attempts}")
        return PayRequest(name, OrderRef(self.order), Money(amount, "JPY"), Method.CARD, deadline_s, self.baseline())

    def baseline(self) -> Baseline:
        for _ in range(self.tries - 1):
            try:
                return self.terminal.baseline()
            except TerminalLinkError:
                time.sleep(0.05)  # the terminal's own time, which nobody can ask it for
        return self.terminal.baseline()

    def authorise(self, request: PayRequest) -> Evidence:
        self.progress.clear()
        return self.terminal.authorise(request, self.progress.append)

    def query(self, request: PayRequest, seen: Evidence | None = None) -> Evidence:
        """Ask until the terminal can be asked; `seen` goes through its JSON as it would through the journal."""
        seen = None if seen is None else Evidence.from_json(seen.to_json())
        kept = PayRequest.from_json(request.to_json())
        for _ in range(max(20, self.tries)):
            found = self.terminal.query(kept, seen=seen)
            if found.code not in {"terminal_absent", "terminal_link", "terminal_silent", "in_progress"}:
                return found
            if self.tries > 1:
                time.sleep(0.05)
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


AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
CLOCK = FixedClock(AT)
PLANS = {
    "confirm": ("begin", "sent", "authorise", "held", "confirm_sent", "confirm", "confirmed"),
    "void": ("begin", "sent", "authorise", "held", "void_sent", "void", "voided"),
    "reverse": (
        *("begin", "sent", "authorise", "held", "confirm_sent", "confirm", "confirmed"),
        "back_sent",
        "back",
        "reversed",
    ),
}


class Sale:
    """What a sale engine does with one attempt: a row, synced, then the call, then a row with its answer."""

    def __init__(self, till, engine) -> None:
        self.till, self.engine = till, engine
        self.request = till.request()
        self.answer = None

    def do(self, step: str) -> None:
        terminal = self.till.terminal
        match step:
            case "begin":
                with self.engine.begin() as connection:
                    journal.begin(connection, request=self.request, at=AT, boot="b1")
            case "authorise":
                self.answer = self.till.authorise(self.request)
            case "confirm":
                self.answer = terminal.confirm(self.answer)
            case "void":
                self.answer = terminal.void(self.answer)
            case "back":
                self.answer = terminal.reverse(self.answer, key="k")
            case "sent":
                self.row(State.SENT)
            case "confirm_sent":
                self.row(State.CONFIRM_SENT, self.answer)
            case "void_sent":
                self.row(State.VOID_SENT, self.answer)
            case "back_sent":
                self.row(State.REVERSAL_SENT, self.answer)
            case "held" | "confirmed" | "voided" | "reversed":
                with reading(self.engine) as connection:
                    rows = journal.rows(connection, self.request.attempt_id)
                self.row(state_after(rows, self.answer), self.answer)
                assert step == state_after(rows, self.answer)

    def row(self, state: State, evidence=None) -> None:
        with self.engine.begin() as connection:
            journal.append(
                connection,
                attempt_id=self.request.attempt_id,
                state=state,
                at=AT,
                boot="b1",
                evidence=evidence,
            )


def clear_up(till, engine, *, passes: int = 100):
    """As the kiosk does before it says it is ready: again and again until nothing waits."""
    left = ()
    for _ in range(passes):
        left = recovery.resolve_all(engine, till.terminal, clock=CLOCK, boot="b2")
        if not any(row.state is State.UNKNOWN for row in left):
            break
        time.sleep(0.1)  # the terminal is busy with its own end of it
    return left


def confirmed(engine) -> int:
    """What the journal says is charged."""
    with reading(engine) as connection:
        rows = [row for order in ("o1",) for row in journal.last_of_order(connection, order)]
        return sum(
            journal.rows(connection, row.attempt_id)[0].request.amount.minor
            for row in rows
            if row.state is State.CONFIRMED
        )


def last_state(engine, attempt="a1") -> State:
    with reading(engine) as connection:
        return journal.rows(connection, AttemptId(attempt))[-1].state


class Cut(BaseException):
    """The power is gone: nothing of this process goes on."""


class CutLink:
    """A wire whose process dies at its n-th frame from `arm` on, before or after the frame is sent or taken.

    Nobody catches a `Cut` and goes on; another thread of the dead process finds the line dead.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._at, self._after = 0, False
        self.frames = 0
        self.is_armed = self.is_dead = False

    def arm(self, *, at: int = 0, after: bool = False) -> None:
        self._at, self._after, self.frames, self.is_armed = at, after, 0, True

    @property
    def is_open(self) -> bool:
        return not self.is_dead and self._link.is_open

    def open(self) -> None:
        self._alive()
        self._link.open()

    def close(self) -> None:
        self._link.close()

    def send(self, unit: Apdu) -> None:
        self._alive()
        self._due(after=False)
        self._link.send(unit)
        self._passed()

    def receive(self, timeout_s: float) -> Apdu | None:
        self._alive()
        self._due(after=False)
        unit = self._link.receive(timeout_s)
        if unit is not None:
            self._passed()
        return unit

    def _passed(self) -> None:
        self.frames += self.is_armed
        self._due(after=True)

    def _due(self, *, after: bool) -> None:
        reached = self.frames if after else self.frames + 1
        if self.is_armed and self._at and after == self._after and reached == self._at:
            self.is_dead = True
            self._link.close()
            self._alive()

    def _alive(self) -> None:
        if self.is_dead:
            if threading.current_thread() is threading.main_thread():
                raise Cut
            raise TerminalLinkError("the process is dead")
