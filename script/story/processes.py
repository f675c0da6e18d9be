"""Starting the venue's programs and waiting until each says that it is ready, as systemd would."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class StoryError(Exception):
    """The demo cannot go on. The message says which program and where its log is."""


class Program:
    """One process: its log in a file, its JSON lines (if it prints any) in a queue, its READY caught on a notify socket."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        *,
        logs: Path,
        env: Mapping[str, str] | None = None,
        notifies: bool = False,
    ) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self.lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._ready_at = 0.0
        self._notify: socket.socket | None = None
        environment = {**os.environ, **(env or {})}
        if notifies:
            address = f"\0kaisatsu-story-{os.getpid()}-{name}-{time.monotonic_ns()}"
            self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._notify.bind(address)
            environment["NOTIFY_SOCKET"] = "@" + address[1:]
            threading.Thread(target=self._listen, daemon=True).start()
        self._log_file = self.log.open("ab")
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log_file,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                self.lines.put(json.loads(line))

    def _listen(self) -> None:
        assert self._notify is not None
        with contextlib.suppress(OSError):
            while True:
                if b"READY=1" in self._notify.recv(4096) and not self._ready.is_set():
                    self._ready_at = time.monotonic()
                    self._ready.set()

    def wait_ready(self, *, timeout_s: float = 60) -> None:
        """Raises StoryError when it ended or did not get ready in time."""
        deadline = time.monotonic() + timeout_s
        while not self._ready.wait(0.05):
            self._check_alive()
            if time.monotonic() > deadline:
                raise StoryError(f"{self.name} was not ready after {timeout_s:.0f} s; its log: {self.log}")

    @property
    def ready_after_s(self) -> float:
        """From the start of the process to its READY, which has come."""
        assert self._ready.is_set(), "wait_ready comes first"
        return self._ready_at - self.started_at

    def wait_line(self, event: str, *, timeout_s: float = 60) -> dict[str, Any]:
        """The next JSON line whose "event" is `event`; those before it are passed over."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                line = self.lines.get(timeout=0.1)
            except queue.Empty:
                self._check_alive()
                continue
            if line.get("event") == event:
                return line
        raise StoryError(f"{self.name} did not say '{event}' within {timeout_s:.0f} s; its log: {self.log}")

    def tell(self, command: Mapping[str, Any]) -> None:
        """Send one JSON line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def _check_alive(self) -> None:
        if self.process.poll() is not None:
            self._log_file.flush()
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["(nothing)"]
            raise StoryError(f"{self.name} ended with status {self.process.returncode}: {last[0]}; its log: {self.log}")

    def stop(self, *, timeout_s: float = 10) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log_file.close()
        if self._notify is not None:
            self._notify.close()


def run(arguments: list[str], *, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """A command of ours that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
    )
