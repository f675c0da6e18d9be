"""Several processes on one listening socket: a parent that starts them, watches over them and serves nobody.

A worker that dies is started again, each time a little later; SIGTERM to the parent stops all; a worker whose parent is gone stops by
itself. What a worker is to do travels over a socket pair and not in its arguments, which everyone on the machine can read.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import structlog

from sync.service import notify

WORKERS_MAX = 32
AGAIN_FIRST_S, AGAIN_LAST_S = 0.1, 5.0
STEADY_S = 10.0
"""Who has lived so long is started again at once should it die."""
BEAT_PATIENCE_S = 45.0
STOP_S = 8.0
LINE_ENV = "KAISATSU_WORKER_FDS"
READY, BEAT = b"r", b"b"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """What each worker serves."""

    database_url: str
    key_file: str
    tls_cert: str | None
    tls_key: str | None


@dataclass(slots=True)
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    line: socket.socket
    began_s: float
    heard_s: float
    is_ready: bool = False


class Parent:
    """The workers of one hub. `ready` is called once, when all of them answer for the first time."""

    def __init__(self, listener: socket.socket, order: WorkOrder, *, count: int, ready: Callable[[], None]) -> None:
        self._listener, self._order, self._count, self._ready = listener, order, count, ready
        self._workers: dict[int, _Worker] = {}
        self._again_s: dict[int, float] = dict.fromkeys(range(count), 0.0)
        self._pause_s: dict[int, float] = dict.fromkeys(range(count), AGAIN_FIRST_S)
        self._selector = selectors.DefaultSelector()
        self._said = False
        self.stopping = False

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers.values()]

    def turn(self, *, wait_s: float) -> None:
        """Start who is missing, hear who speaks, note who died. One turn of the loop."""
        now_s = time.monotonic()
        for number in range(self._count):
            if number not in self._workers and now_s >= self._again_s[number] and not self.stopping:
                self._start(number)
        for key, _ in self._selector.select(wait_s):
            worker: _Worker = key.data
            try:
                heard = worker.line.recv(64)
            except OSError:
                heard = b""
            if not heard:
                self._gone(worker)
                continue
            worker.heard_s = time.monotonic()
            worker.is_ready = True
            if BEAT in heard:
                self._beat()
        if (
            not self._said
            and len(self._workers) == self._count
            and all(item.is_ready for item in self._workers.values())
        ):
            self._said = True
            self._ready()

    def stop(self) -> None:
        """SIGTERM to all; who does not go in STOP_S is killed."""
        self.stopping = True
        for worker in self._workers.values():
            worker.process.terminate()
        deadline_s = time.monotonic() + STOP_S
        for worker in list(self._workers.values()):
            try:
                worker.process.wait(timeout=max(0.1, deadline_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("worker_killed", worker=worker.number)
                worker.process.kill()
                worker.process.wait()
            worker.line.close()
        self._workers.clear()
        self._selector.close()

    def _start(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            fds = (self._listener.fileno(), theirs.fileno())
            environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
            process = subprocess.Popen(
                [sys.executable, "-m", "hub", "worker"],
                pass_fds=fds,
                env=environment | {LINE_ENV: f"{fds[0]},{fds[1]}"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        ours.sendall(json.dumps(asdict(self._order)).encode() + b"\n")
        now_s = time.monotonic()
        worker = _Worker(number, process, ours, now_s, now_s)
        self._workers[number] = worker
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _gone(self, worker: _Worker) -> None:
        self._selector.unregister(worker.line)
        worker.line.close()
        worker.process.kill()  # it has closed its line: whatever is left of it serves nobody who is watched
        status = worker.process.wait()
        del self._workers[worker.number]
        now_s = time.monotonic()
        if now_s - worker.began_s > STEADY_S:
            self._pause_s[worker.number] = AGAIN_FIRST_S
        self._again_s[worker.number] = now_s + self._pause_s[worker.number]
        self._pause_s[worker.number] = min(self._pause_s[worker.number] * 2, AGAIN_LAST_S)
        if not self.stopping:
            log.error("worker_ended", worker=worker.number, status=status)

    def _beat(self) -> None:
        """The whole is alive while every worker was heard of lately."""
        oldest_s = min(worker.heard_s for worker in self._workers.values())
        if len(self._workers) == self._count and time.monotonic() - oldest_s < BEAT_PATIENCE_S:
            notify.alive()


def run_workers(listener: socket.socket, order: WorkOrder, *, count: int, ready: Callable[[], None]) -> None:
    """Until SIGTERM or SIGINT."""
    parent = Parent(listener, order, count=count, ready=ready)
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    while not told.is_set():
        parent.turn(wait_s=0.2)
    notify.stopping()
    parent.stop()


class Line:
    """A worker's end of the line to its parent."""

    def __init__(self, order: WorkOrder, listener: socket.socket, line: socket.socket) -> None:
        self.order, self.listener, self._line = order, listener, line

    def ready(self) -> None:
        self._say(READY)

    def beat(self) -> None:
        self._say(BEAT)

    def watch(self) -> None:
        """Stop this process when the parent is gone."""
        threading.Thread(target=self._wait_for_end, name="parent", daemon=True).start()

    def _wait_for_end(self) -> None:
        try:
            while self._line.recv(64):
                pass
        except OSError:
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    def _say(self, what: bytes) -> None:
        try:
            self._line.send(what)
        except OSError:
            return  # the parent is gone; `watch` ends this process


@contextmanager
def open_line() -> Iterator[Line]:
    """What this worker was started for. Raises KeyError where nobody started it as one."""
    listening_fd, line_fd = (int(part) for part in os.environ.pop(LINE_ENV).split(","))
    listener, line = socket.socket(fileno=listening_fd), socket.socket(fileno=line_fd)
    text = b""
    while not text.endswith(b"\n"):
        more = line.recv(65536)
        if not more:
            raise SystemExit(1)
        text += more
    made = Line(WorkOrder(**json.loads(text)), listener, line)
    made.watch()
    yield made
