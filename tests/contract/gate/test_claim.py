"""The gate's claim against the hub's own code as arbiter: real processes, real HTTP, signed hops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scanner.gate.claim_client import ClaimClient
from scanner.view import ViewKind
from sync.claim import ClaimMessage
from sync.client import HttpHub
from sync.operation import Admission, Mode, Release, from_body
from tests.flow.sync.processes import ROOT, DeviceProcess, HubProcess, Line, until
from tests.support.gate_process import FakeReader, FakeScreen
from tickets.admission import Denied, Granted, Passage, Reason, VerdictKind
from tickets.clock import SystemClock
from tickets.code import TicketCode, parse, sign
from tickets.ids import Kid, TicketId

pytestmark = pytest.mark.flow


@dataclass
class Venue:
    """A hub, a line to it that can be cut, an enrolled kiosk (only its key is needed) and an enrolled gate."""

    hub: HubProcess
    line: Line
    kiosk: DeviceProcess
    gate: DeviceProcess

    def ticket(self, *, variant: int = 1, kid: bytes | None = None) -> str:
        now = int(datetime.now(UTC).timestamp())
        known = self.kiosk.identity.kid
        assert known is not None
        code = TicketCode(Kid(kid or known), TicketId(os.urandom(10)), variant, 1, 0, now - 3600, now + 3600)
        return sign(code, self.kiosk.state.selling_key())

    def client(self, *, deadline_ms: int = 150) -> ClaimClient:
        def connect() -> HttpHub:
            return HttpHub(
                self.line.url,
                device=self.gate.identity.device,
                key=self.gate.state.identity_key(),
                clock=SystemClock(),
                random_bytes=os.urandom,
            )

        return ClaimClient(lambda: [connect()], deadline_ms=deadline_ms)


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    hub = HubProcess(tmp_path)
    line = Line(hub.port)
    links = hub.seed(line.url)["links"]
    made = Venue(
        hub, line, DeviceProcess(tmp_path / "kiosk", links["kiosk"]), DeviceProcess(tmp_path / "gate", links["gate"])
    )
    yield made
    for device in (made.kiosk, made.gate):
        if device.process is not None:
            device.stop(kill=True)
    line.close()
    hub.stop()


def claim(code: str, *, op: bytes | None = None) -> ClaimMessage:
    ticket = parse(code).ticket.ticket_id
    return ClaimMessage((op or os.urandom(16)).hex(), Passage.ENTRY, ticket.hex(), code, 1, "", "A", 1)


def test_the_arbiter_grants_once_and_says_the_same_again(venue: Venue) -> None:
    client = venue.client(deadline_ms=5000)  # the words are tested here, not this busy machine's speed
    first = claim(venue.ticket())
    granted = client.ask(first)
    assert isinstance(granted, Granted)
    assert granted.left == 0
    assert client.ask(first) == granted
    denied = client.ask(claim(first.code or ""))
    assert isinstance(denied, Denied)
    assert denied.reason is Reason.ALREADY_USED
    assert denied.first is not None
    assert denied.first.gate == "A"
    stranger = client.ask(claim(venue.ticket(kid=b"\xff\xff\xff\xff")))
    assert stranger == Denied(Reason.ISSUER_UNKNOWN)
    client.close()


def test_a_cut_line_is_silence_within_the_deadline_and_heals(venue: Venue) -> None:
    client = venue.client()
    until(lambda: client.ask(claim(venue.ticket())), why="no answer within 150 ms, ever")
    venue.line.cut()
    started = time.monotonic()
    assert client.ask(claim(venue.ticket())) is None
    assert time.monotonic() - started < 1.0
    venue.line.mend()
    until(lambda: client.ask(claim(venue.ticket())), why="no answer after the line was back")
    client.close()


def test_a_gate_with_its_arbiter_and_without(venue: Venue) -> None:
    """Confirmed while the line is there; by policy when it is cut; the hub has all of it afterwards."""
    run_dir = venue.gate.run_dir
    if len(str(run_dir)) > 80:  # a socket's path must be short
        short = Path("/tmp") / f"gate-{os.getpid()}"
        short.symlink_to(run_dir)
        run_dir = short
    venue.gate.start()
    file = venue.gate.state.path / "gate.json"
    settings = {
        "state_dir": str(venue.gate.state.path),
        "run_dir": str(run_dir),
        "arbiter_url": venue.line.url,
        "arbiter_deadline_ms": 2000,
    }
    file.write_text(json.dumps(settings), encoding="utf-8")
    process = subprocess.Popen([sys.executable, "-m", "scanner.gate", str(file)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        screen, reader = FakeScreen(run_dir / "gate-screen.sock"), FakeReader(run_dir / "gate.sock")
        until(lambda: screen.next(ViewKind.READY).gate == "ゲート A", why="the catalogue never came")
        confirmed, offline = venue.ticket(), venue.ticket()
        reader.show(confirmed)
        assert screen.next().verdict is VerdictKind.ADMIT
        reader.show(confirmed)
        assert screen.next().reason is Reason.ALREADY_USED
        venue.line.cut()
        reader.show(offline)
        assert screen.next().verdict is VerdictKind.ADMIT
        venue.line.mend()
        until(lambda: venue.gate.health().get("unsent") == 0, timeout_s=20, why="the backlog was not sent")
    finally:
        process.terminate()
        process.wait(timeout=10)
        if run_dir.is_symlink():
            run_dir.unlink()
    from sync.journal import open_journal
    from sync.journal import operation as rows

    journal = open_journal(venue.gate.state, clock=SystemClock(), random_bytes=os.urandom)
    with journal.read() as connection:
        done = [from_body(row.body) for row in connection.execute(rows.select().order_by(rows.c.seq))]
    admissions = [operation for operation in done if isinstance(operation, Admission)]
    assert [operation.mode for operation in admissions] == [Mode.CONFIRMED, Mode.POLICY]
    assert not [operation for operation in done if isinstance(operation, Release)]
    assert timedelta(0) < datetime.now(UTC) - datetime.fromisoformat(admissions[0].at) < timedelta(minutes=5)
