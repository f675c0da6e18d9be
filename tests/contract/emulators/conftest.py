"""Starts the emulators as processes, as they run for real, and speaks bytes to them by hand."""

import contextlib
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 10.0


class Process:
    """A running emulator: its events in order, its standard input, its end."""

    def __init__(self, *arguments: object) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "emulators", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        self.events: list[dict] = []
        self._queue: queue.Queue[dict] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.listening = self.wait("listening")

    def _read(self) -> None:
        for line in self._child.stdout:
            event = json.loads(line)
            self.events.append(event)
            self._queue.put(event)

    @property
    def address(self) -> tuple[str, int]:
        return self.listening["host"], self.listening["port"]

    def wait(self, name: str, **fields: object) -> dict:
        """The next event of this name with these fields; events before it are passed over."""
        end = time.monotonic() + DEADLINE_S
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                event = self._queue.get(timeout=left)
                if event["event"] == name and all(event.get(k) == v for k, v in fields.items()):
                    return event
        raise AssertionError(f"no {name} {fields} among {self.events}")

    def seen(self, name: str) -> list[dict]:
        return [event for event in self.events if event["event"] == name]

    def do(self, **command: object) -> None:
        """A command on standard input, and wait until it is done."""
        self._child.stdin.write(json.dumps(command) + "\n")
        self._child.stdin.flush()
        self.wait("done", do=command["do"])

    def connect(self) -> "Tcp":
        return Tcp(socket.create_connection(self.address, timeout=DEADLINE_S))

    def kill(self) -> None:
        self._child.send_signal(signal.SIGKILL)
        self._child.wait(DEADLINE_S)

    def ended(self) -> int:
        """Wait for its end; the exit code."""
        return self._child.wait(DEADLINE_S)

    def close(self) -> int:
        if self._child.poll() is None:
            self._child.terminate()
        code = self._child.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        self._child.stdin.close()
        self._child.stdout.close()
        return code


class Tcp:
    """One end of a TCP connection, with exact reads."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def take(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            got = self.sock.recv(n - len(data))
            if not got:
                raise ConnectionError(f"closed after {data.hex(' ')}")
            data += got
        return data

    def quiet(self, seconds: float = 0.15) -> bool:
        """Whether nothing comes for a while (which no event can prove)."""
        return not select.select([self.sock], [], [], seconds)[0]

    def gone(self) -> bool:
        """Whether the other end closes or resets, within the deadline."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.sock.close()


class Pty:
    """Our end of a pseudo-terminal."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)

    def send(self, data: bytes) -> None:
        os.write(self.fd, data)

    def take(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            ready, _, _ = select.select([self.fd], [], [], DEADLINE_S)
            if not ready:
                raise TimeoutError(f"only {data.hex(' ')}")
            data += os.read(self.fd, n - len(data))
        return data

    def quiet(self, seconds: float = 0.15) -> bool:
        return not select.select([self.fd], [], [], seconds)[0]

    def close(self) -> None:
        os.close(self.fd)


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Start an emulator: `start("printer", "--speed", 0, ...)`. All end with the test."""
    running: list[Process] = []

    def begin(*arguments: object) -> Process:
        running.append(Process(*arguments))
        return running[-1]

    yield begin
    for process in running:
        process.close()


@pytest.fixture
def pty() -> Iterator[Callable[[Path], Pty]]:
    """Open the other end of a pseudo-terminal."""
    opened: list[Pty] = []

    def begin(path: Path) -> Pty:
        opened.append(Pty(str(path)))
        return opened[-1]

    yield begin
    for end in opened:
        end.close()


@pytest.fixture
def printer(start: Callable[..., Process], tmp_path: Path) -> Callable[..., Process]:
    """Start a printer on a free port with its pictures in tmp_path/out; at once unless --speed is given."""

    def begin(*arguments: object) -> Process:
        speed = () if "--speed" in arguments else ("--speed", 0)
        return start("printer", "--listen", "127.0.0.1:0", "--out", tmp_path / "out", *speed, *arguments)

    return begin


@pytest.fixture
def terminal(start: Callable[..., Process], tmp_path: Path) -> Callable[..., Process]:
    """Start a terminal on a free port with its ledger in tmp_path/ledger.jsonl, quick by default."""

    def begin(*arguments: object) -> Process:
        quick = ("--pause-ms", 20, "--host-ms", 5, "--repeat-ms", 30)
        return start("terminal", "--listen", "127.0.0.1:0", "--ledger", tmp_path / "ledger.jsonl", *quick, *arguments)

    return begin
