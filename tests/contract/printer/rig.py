"""The real spool process, a real journal, and the emulated printer as a process of its own, on a real wire."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zxingcpp
from PIL import Image

from printer import spool, templates
from printer.document import Document
from sync.service import doorbell
from sync.service.doorbell import Doorbell
from sync.service.health import Board, Health
from sync.store import open_engine, reading
from tests.unit.printer import papers

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 20.0
AT = datetime(2026, 11, 23, 1, 23, tzinfo=UTC)


class Emulator:
    """`python -m emulators printer`: its events, its standard input, its paper."""

    def __init__(self, out: Path, *options: str, where: Sequence[str] = ("--listen", "127.0.0.1:0")) -> None:
        self.out = out
        self._child = subprocess.Popen(
            [sys.executable, "-m", "emulators", "printer", *where, "--out", str(out), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        self.events: list[dict[str, Any]] = []
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.listening = self.wait("listening")

    @property
    def address(self) -> str:
        return f"{self.listening['host']}:{self.listening['port']}"

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            event = json.loads(line)
            self.events.append(event)
            self._queue.put(event)

    def wait(self, name: str, **fields: object) -> dict[str, Any]:
        end = time.monotonic() + DEADLINE_S
        while (left := end - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                event = self._queue.get(timeout=left)
                if event["event"] == name and all(event.get(key) == value for key, value in fields.items()):
                    return event
        raise AssertionError(f"no {name} {fields} among {self.events}")

    def do(self, **command: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(command) + "\n")
        self._child.stdin.flush()
        self.wait("done", do=command["do"])

    def seen(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == name]

    def sheets(self) -> list[Path]:
        return sorted(self.out.glob("ticket-*.png"))

    def close(self) -> None:
        if self._child.poll() is None:
            self._child.terminate()
        self._child.wait(DEADLINE_S)
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


class Rig:
    """One device: journal, board and bells in a directory, and what a sale engine and a kiosk do with them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = directory / "journal.db"
        self.engine = open_engine(self.journal)
        spool.create(self.engine)
        self.kiosk_bell = Doorbell(directory / "kiosk.bell")
        self.board = Board(directory / "health.db")
        self.boot = "boot-1"
        self._children: list[subprocess.Popen[bytes]] = []

    def start(
        self, address: str, *, link: str = "tcp", profile: str = "generic-80", **more: object
    ) -> subprocess.Popen[bytes]:
        settings = {
            "journal": str(self.journal),
            "health": str(self.directory / "health.db"),
            "doorbell": str(self.directory / "printer.bell"),
            "link": link,
            "address": address,
            "profile": profile,
            "progress_doorbells": [str(self.directory / "kiosk.bell")],
            **more,
        }
        file = self.directory / "printer.json"
        file.write_text(json.dumps(settings), encoding="utf-8")
        with (self.directory / "spool.log").open("ab") as log:
            child = subprocess.Popen([sys.executable, "-m", "printer", str(file)], cwd=ROOT, stderr=log)
        self._children.append(child)
        return child

    def announce(self, boot: str = "boot-1") -> None:
        self.boot = boot
        with self.engine.begin() as connection:
            spool.announce_boot(connection, boot, now=AT)
        doorbell.ring(self.directory / "printer.bell")

    def put_down(self, job: str, documents: Sequence[Document], *, boot: str | None = None) -> None:
        with self.engine.begin() as connection:
            spool.enqueue(connection, job, "tickets", documents, boot=boot or self.boot, now=datetime.now(UTC))
        doorbell.ring(self.directory / "printer.bell")

    def rule(self, job: str, decision: spool.Decision, **more: Any) -> spool.Progress:
        with self.engine.begin() as connection:
            result = spool.rule(connection, job, decision, boot=self.boot, now=AT, **more)
        doorbell.ring(self.directory / "printer.bell")
        return result

    def progress(self, job: str) -> spool.Progress:
        with reading(self.engine) as connection:
            found = spool.progress(connection, job)
        assert found is not None
        return found

    def until(self, what: Callable[[], Any]) -> Any:
        """Wait on the kiosk's bell until `what` holds; its value. The deadline is for a broken program."""
        end = time.monotonic() + DEADLINE_S
        while not (value := what()):
            assert time.monotonic() < end, f"waited in vain; log: {(self.directory / 'spool.log').read_text()[-3000:]}"
            self.kiosk_bell.wait(timeout_s=0.05)
        return value

    def done(self, job: str) -> spool.Progress:
        self.until(lambda: self.progress(job).done == self.progress(job).total)
        return self.progress(job)

    def health(self) -> Health:
        return self.board.read("printer", now=datetime.now(UTC), age_s_max=5)

    def log(self) -> str:
        return (self.directory / "spool.log").read_text(encoding="utf-8")

    def kill(self, child: subprocess.Popen[bytes]) -> None:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(DEADLINE_S)

    def close(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.terminate()
                child.wait(DEADLINE_S)
        self.kiosk_bell.close()
        self.board.close()
        self.engine.dispose()


@contextlib.contextmanager
def rig(directory: Path) -> Iterator[Rig]:
    made = Rig(directory)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def emulator(out: Path, *options: str, where: Sequence[str] = ("--listen", "127.0.0.1:0")) -> Iterator[Emulator]:
    made = Emulator(out, *options, where=where)
    try:
        yield made
    finally:
        made.close()


def sale(*, lang: str = "ja") -> list[Document]:
    """Two adults, a child and a ride book: 13 pieces of paper."""
    tickets = [templates.document(papers.ticket(number, lang=lang)) for number in (1, 2, 3)]
    return tickets + [templates.document(papers.coupon(part, lang=lang)) for part in range(1, 11)]


def book() -> list[Document]:
    return [templates.document(papers.coupon(part)) for part in range(1, 11)]


def codes(documents: Sequence[Document]) -> list[str]:
    return [document.codes()[0] for document in documents]


def scanned(sheet: Path) -> str:
    """The code on a piece of paper, as a scanner reads it."""
    with Image.open(sheet) as picture:
        found = zxingcpp.read_barcodes(picture.convert("L"))
    assert len(found) == 1, f"{sheet}: {len(found)} codes"
    return str(found[0].text)
