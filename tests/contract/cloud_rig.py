"""A payment service's emulator as a process of its own, its ledger, and a driver that can be killed at any exchange with it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from kiosk.payment import Evidence, Outcome, PayRequest, Row, State, Terminal, journal, recovery, state_after
from sync.store import open_engine, reading
from tickets.clock import FixedClock

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
AGAIN = {"terminal_absent", "terminal_link", "terminal_silent", "terminal_busy", "in_progress"}


@dataclass
class Service:
    """`python -m emulators NAME`, with its ledger in a file."""

    name: str
    ledger_file: Path
    process: subprocess.Popen[str] | None = None
    url: str = ""
    told_before: int = 0

    def fresh(self, *faults: str) -> Service:
        """The same process as a new merchant, with these faults: a process of its own for each test would cost half a second."""
        self.do(do="reset")
        self.told_before = len(self.ledger_file.read_text().splitlines())
        for spec in faults:
            self.fault(spec)
        return self

    def start(self, *options: str) -> Service:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "emulators", self.name, "--ledger", str(self.ledger_file), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            cwd=ROOT,
        )
        self.url = self.wait_for("listening")["url"]
        return self

    def wait_for(self, event: str, **values: Any) -> dict[str, Any]:
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
        raise AssertionError(f"the service ended without {event} {values}")

    def do(self, **command: Any) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        self.wait_for("done", do=command["do"])

    def fault(self, spec: str) -> None:
        self.do(do="fault", spec=spec)

    def heal(self, name: str) -> None:
        self.do(do="heal", fault=name)

    def end(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.communicate(timeout=10)
            self.process = None

    def entries(self, event: str | None = None) -> list[dict[str, Any]]:
        text = self.ledger_file.read_text() if self.ledger_file.exists() else ""
        return [row for row in map(json.loads, text.splitlines()[self.told_before :]) if event in (None, row["event"])]

    def charged(self) -> int:
        """The service's own sum: captured less given back."""
        taken = sum(row["amount"] for row in self.entries("captured"))
        return taken - sum(row["amount"] for row in self.entries("refunded"))

    def standing(self) -> int:
        """Authorised, neither captured nor cancelled: what is still held on a guest's card."""
        ended = {row["payment"] for event in ("captured", "cancelled") for row in self.entries(event)}
        return sum(row["amount"] for row in self.entries("authorised") if row["payment"] not in ended)


@contextlib.contextmanager
def services(name: str, folder: Path, *common: str) -> Iterator[Callable[..., Service]]:
    """`begin("--fault", SPEC, ...)`: a service without history; processes are shared where only faults are asked for."""
    shared: list[Service] = []
    own: list[Service] = []

    def begin(*options: str) -> Service:
        if set(options[::2]) <= {"--fault"}:
            if not shared or shared[0].process is None:
                shared[:] = [Service(name, folder / f"shared{len(own)}-{os.urandom(4).hex()}.jsonl").start(*common)]
            return shared[0].fresh(*options[1::2])
        own.append(Service(name, folder / f"own{len(own)}.jsonl").start(*common, *options))
        return own[-1]

    yield begin
    for service in [*shared, *own]:
        service.end()


class Cut(requests.Session):
    """Kills this process with SIGKILL just before the n-th request leaves, or just after its answer came; n counts from 1."""

    def __init__(self, n: int, *, after: bool) -> None:
        super().__init__()
        self._left = n
        self._after = after

    def send(self, request: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            os.kill(os.getpid(), 9)
        answer = super().send(request, **options)
        if self._left == 0:
            os.kill(os.getpid(), 9)
        return answer


def in_a_victim(work: Callable[[], None]) -> bool:
    """Run `work` in a forked process; True if it was killed on the way, False if it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


AT = datetime(2026, 11, 21, 10, tzinfo=UTC)


def sell(database: Path, terminal: Terminal, request: PayRequest, *, give_back: bool) -> None:
    """One attempt as the sale engine takes it: a synced row before each call, then a row with its answer."""
    engine = open_engine(database)

    def row(state: State, evidence: Evidence | None = None) -> None:
        with engine.begin() as connection:
            journal.append(connection, attempt_id=request.attempt_id, state=state, at=AT, boot="b1", evidence=evidence)

    def after(answer: Evidence) -> State:
        with reading(engine) as connection:
            rows = journal.rows(connection, request.attempt_id)
        state = state_after(rows, answer)
        row(state, answer)
        return state

    with engine.begin() as connection:
        journal.begin(connection, request=request, at=AT, boot="b1")
    row(State.SENT)
    answer = terminal.authorise(request, lambda _progress: None)
    state = after(answer)
    if state is State.HELD:
        row(State.CONFIRM_SENT, answer)
        answer = terminal.confirm(answer)
        state = after(answer)
    if state is State.CONFIRMED and give_back:
        row(State.REVERSAL_SENT, answer)
        after(terminal.reverse(answer, key=f"{request.attempt_id}/r"))


def cleared(database: Path, terminal: Terminal, request: PayRequest) -> Row:
    """What another process makes of the journal, asked again and again as the kiosk does before it is ready."""
    engine = open_engine(database)
    for _ in range(200):
        recovery.resolve_all(engine, terminal, clock=FixedClock(AT), boot="b2")
        with reading(engine) as connection:
            rows = journal.rows(connection, request.attempt_id)
        if not rows or rows[-1].state is not State.UNKNOWN:
            break
        threading.Event().wait(0.01)
    engine.dispose()
    return rows[-1]


def asked(terminal: Terminal, request: PayRequest, seen: Evidence | None = None, *, times: int = 40) -> Evidence:
    """Ask as recovery does, from what the journal would hold, until the answer is one."""
    kept = PayRequest.from_json(request.to_json())
    seen = None if seen is None else Evidence.from_json(seen.to_json())
    for _ in range(times):
        found = terminal.query(kept, seen=seen)
        if found.outcome is not Outcome.IN_PROGRESS and found.code not in AGAIN:
            return found
        threading.Event().wait(0.02)
    return found


def agrees(service: Service, evidence: Evidence, amount: int) -> None:
    """The evidence is proven, and it is what the service's ledger holds."""
    proven = evidence.outcome is Outcome.APPROVED_FINAL or evidence.outcome.is_proven_uncharged
    assert proven, (evidence.outcome, evidence.code, evidence.raw)
    assert service.charged() == (amount if evidence.outcome is Outcome.APPROVED_FINAL else 0), evidence.code
