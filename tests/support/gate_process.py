"""The real gate process, and the peers it meets: a reader and a screen that speak its sockets, and listen at its sync bell."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scanner.view import GateView, KeyPress, ViewKind
from sync.service.doorbell import Doorbell
from sync.service.health import Board, Health
from tests.support.gate_device import ROOT, GateDevice
from tickets.clock import SystemClock
from tickets.read import Read

PATIENCE_S = 30.0
"""Only a test that fails waits this long."""


def now_day() -> tuple[datetime, datetime]:
    """A window around now: the process under test has the machine's own clock."""
    now = datetime.now(UTC).replace(microsecond=0)
    return now - timedelta(hours=1), now + timedelta(hours=1)


class Peer:
    """The connecting end of a SOCK_SEQPACKET socket, patient until somebody listens."""

    def __init__(self, path: Path) -> None:
        until = time.monotonic() + PATIENCE_S
        while True:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self.socket.settimeout(PATIENCE_S)
            try:
                self.socket.connect(str(path))
                return
            except OSError:
                self.socket.close()
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def close(self) -> None:
        self.socket.close()


class FakeReader(Peer):
    def show(self, text: str, *, at: datetime | None = None, source: str = "camera") -> None:
        self.socket.send(Read(text=text, at=at or datetime.now(UTC), source=source).to_packet())


class FakeScreen(Peer):
    def next(self, kind: ViewKind = ViewKind.VERDICT) -> GateView:
        """The next view of a kind. Raises TimeoutError, or ConnectionResetError when the gate is gone."""
        while True:
            packet = self.socket.recv(1 << 17)
            if not packet:
                raise ConnectionResetError
            view = GateView.from_packet(packet)
            if view.kind is kind:
                return view

    def press(self, press: KeyPress) -> None:
        self.socket.send(press.to_packet())


class GateProcess:
    """`python -m scanner.gate FILE` on a device in a folder, granted for today."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.device = GateDevice(path / "state")
        self.device.clock.now = datetime.now(UTC)
        self.run_dir = Path(tempfile.mkdtemp(prefix="gate-"))  # a socket's path must be short
        journal = self.device.journal()
        self.device.grant(journal, at=datetime.now(UTC) - timedelta(seconds=30))
        journal.engine.dispose()
        self.feed = self.device.cache()
        self.sync_bell = Doorbell(self.run_dir / "sync.bell")
        self.settings = path / "gate.json"
        self.settings.write_text(
            json.dumps({"state_dir": str(self.device.path), "run_dir": str(self.run_dir), **settings}), encoding="utf-8"
        )
        self.log = (path / "log").open("a+")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> GateProcess:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scanner.gate", str(self.settings)], cwd=ROOT, stderr=self.log, stdout=self.log
        )
        return self

    def reader(self) -> FakeReader:
        return FakeReader(self.run_dir / "gate.sock")

    def screen(self) -> FakeScreen:
        return FakeScreen(self.run_dir / "gate-screen.sock")

    def health(self) -> Health:
        board = Board(self.run_dir / "health.db")
        try:
            return board.read("gate", now=SystemClock().now_utc(), age_s_max=60)
        finally:
            board.close()

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_S)

    def log_text(self) -> str:
        self.log.flush()
        return Path(self.log.name).read_text(encoding="utf-8")

    def said(self) -> list[dict[str, Any]]:
        self.log.flush()
        lines = Path(self.log.name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.sync_bell.close()
        self.feed.close()
        self.log.close()
        for file in self.run_dir.iterdir():
            file.unlink()
        self.run_dir.rmdir()
