"""Real processes for these tests: a hub, sync daemons, and a line between them that can be cut."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hub.command import seed
from sync.enrol import enrol
from sync.service.health import Board
from sync.state import StateDir
from tickets.clock import SystemClock

ROOT = Path(__file__).parents[3]
DEADLINE_S = 15.0


def until(what: Callable[[], Any], *, timeout_s: float = DEADLINE_S, why: str = "it did not happen") -> Any:
    """Poll until `what` is true; the value. A deadline, not a sleep, decides."""
    ends_s = time.monotonic() + timeout_s
    while time.monotonic() < ends_s:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{why} within {timeout_s} s")


def line_of(process: subprocess.Popen[str], *, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout_s)
    assert ready, "no line on standard output"
    return json.loads(process.stdout.readline())


class HubProcess:
    def __init__(self, folder: Path, *, port: int = 0, database: str | None = None) -> None:
        self.database = database or f"sqlite:///{folder / 'hub.db'}"
        self.key_file = folder / "hub.db.key"
        self._log = (folder / "hub.log").open("a")
        self.port = port
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "hub", "serve", "--database", self.database),
                *("--key-file", str(self.key_file), "--listen", f"127.0.0.1:{self.port}"),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.url = line_of(self.process)["url"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self, *, kill: bool = False) -> None:
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait(timeout=10)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def seed(self, base_url: str | None = None) -> dict[str, Any]:
        return seed(database_url=self.database, base_url=base_url or self.url, key_file=self.key_file)


class DeviceProcess:
    """An enrolled device and its sync daemon."""

    def __init__(self, folder: Path, link: str, **settings: Any) -> None:
        self.state = StateDir(folder / "state")
        self.run_dir = folder / "run"
        self.run_dir.mkdir(parents=True)
        self.identity = enrol(link, self.state, clock=SystemClock(), random_bytes=os.urandom)
        self.file = folder / "sync.json"
        values = {"backoff_s_max": 0.5, "connect_timeout_s": 1.0, "read_timeout_s": 1.5, "wait_s": 2.0, **settings}
        values |= {"state_dir": str(self.state.path), "run_dir": str(self.run_dir)}
        self.file.write_text(json.dumps(values))
        self.log_file = folder / "sync.log"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self.log_file.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sync", str(self.file)], cwd=ROOT, stderr=log, text=True
            )

    def stop(self, *, kill: bool = False) -> int:
        assert self.process is not None
        (self.process.kill if kill else self.process.terminate)()
        code = self.process.wait(timeout=10)
        self.process = None
        return code

    def health(self) -> dict[str, Any]:
        """The daemon's own row as it stands: state and facts together."""
        board = Board(self.run_dir / "health.db")
        try:
            rows = [part for part in board.parts() if part["part"] == "hub"]
        finally:
            board.close()
        return {} if not rows else {"state": rows[0]["state"], "stops": rows[0]["stops"], **rows[0]["facts"]}

    def log(self) -> str:
        return self.log_file.read_text()


class Line:
    """A TCP line to the hub that can be cut and mended, or answer nonsense instead."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.is_cut = False
        self.nonsense: bytes | None = None
        """Sent instead of the hub's answer; b"" keeps silent."""
        self.seen = 0
        self.asked: list[str] = []
        """Paths of the requests that reached the hub, in order."""
        self.silent_for = ""
        """Requests of this path get no answer."""
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.is_cut = True
        self._drop()

    def mend(self) -> None:
        self.is_cut, self.nonsense = False, None
        self._drop()

    def answer_with(self, nonsense: bytes) -> None:
        self.nonsense = nonsense
        self._drop()

    def close(self) -> None:
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            for held in self._open:
                with contextlib.suppress(OSError):
                    held.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_cut:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open.add(client)
        if self.nonsense is not None:
            with contextlib.suppress(OSError):
                client.recv(65536)
                self.seen += 1
                if self.nonsense:
                    client.sendall(self.nonsense)
                    client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            client.close()
            return
        try:
            hub = socket.create_connection(("127.0.0.1", self._to), timeout=5)
        except OSError:
            client.close()
            return
        hub.settimeout(None)  # a long poll is silent for longer than a connection may take
        with self._lock:
            self._open.add(hub)
        for source, target in ((client, hub), (hub, client)):
            asks = source is client
            threading.Thread(target=self._pump, args=(source, target), kwargs={"asks": asks}, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, *, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asks and data.startswith((b"GET /", b"POST /")):
                    path = data.split(b" ", 2)[1].decode().partition("?")[0]
                    self.asked.append(path)
                    if path == self.silent_for:
                        continue
                target.sendall(data)
        for held in (source, target):
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def stopping(*things: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for thing in things:
            with contextlib.suppress(AssertionError):
                thing.stop()
