"""The real process: a gate's socket on one side, a window and a finger on the other."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gate_samples import ready, verdict
from PIL import Image, ImageGrab

from scanner.view import Key, KeyPress
from tickets.admission import Reason, VerdictKind
from tickets.look import COLOURS

pytestmark = pytest.mark.screen


class Gate:
    """The listening end, as the gate process has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.server.bind(str(path))
        self.server.listen(1)
        self.server.settimeout(20)
        self.peer: socket.socket | None = None

    def accept(self) -> None:
        self.peer, _ = self.server.accept()
        self.peer.settimeout(20)

    def send(self, packet: bytes) -> None:
        assert self.peer is not None
        self.peer.send(packet)

    def receive(self) -> KeyPress:
        assert self.peer is not None
        return KeyPress.from_packet(self.peer.recv(65536))

    def close(self) -> None:
        for end in (self.peer, self.server):
            if end is not None:
                end.close()
        self.path.unlink(missing_ok=True)


class Screen:
    """`python -m scanner.screen FILE` and its log."""

    def __init__(self, folder: Path, **environment: str) -> None:
        settings = folder / "gate-screen.json"
        settings.write_text(
            json.dumps(
                {
                    "view_socket": str(folder / "view"),
                    "runtime_dir": str(folder / "run"),
                    "width_px": 720,
                    "height_px": 1280,
                    "left_px": 0,
                    "top_px": 0,
                }
            )
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scanner.screen", str(settings)],
            stderr=subprocess.PIPE,
            env={**os.environ, "LIBGL_ALWAYS_SOFTWARE": "1", "SDL_AUDIODRIVER": "dummy", **environment},
        )
        self.events: list[dict[str, Any]] = []
        self._unread = b""

    def wait_for(self, event: str, *, timeout_s: float = 20) -> dict[str, Any]:
        """The next log line of that event."""
        assert self.process.stderr is not None
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            while b"\n" in self._unread:
                line, _, self._unread = self._unread.partition(b"\n")
                assert line.startswith(b"{"), f"not a line of JSON: {line!r}"
                self.events.append(json.loads(line))
                if self.events[-1]["event"] == event:
                    return self.events[-1]
            if select.select([self.process.stderr], [], [], 0.2)[0]:
                data = os.read(self.process.stderr.fileno(), 65536)
                assert data, f"the screen ended: {self.events}"
                self._unread += data
        raise AssertionError(f"no {event} within {timeout_s} s: {self.events}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=10)
        finally:
            self.process.kill()
            if self.process.stderr:
                self.process.stderr.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "view")
    yield gate
    gate.close()


def test_it_starts_fast_draws_verdicts_and_outlives_its_gate(tmp_path: Path, gate: Gate) -> None:
    screen = Screen(tmp_path, SDL_VIDEODRIVER="offscreen")
    try:
        gate.accept()
        assert screen.wait_for("first_frame")["ms"] < 10_000  # the bench holds the real figure, on a quiet machine
        gate.send(ready().to_packet())
        gate.send(b"not a view")
        gate.send(b'{"kind": "verdict", "gate": "A", "direction": "entry"}')
        assert "not JSON" in screen.wait_for("view_refused")["why"]
        assert "'verdict'" in screen.wait_for("view_refused")["why"]
        gate.send(verdict(VerdictKind.ADMIT, who="大人", count=2).to_packet())
        assert screen.wait_for("verdict_drawn")["verdict"] == "admit"
        gate.close()
        screen.wait_for("gate_away")
        again = Gate(gate.path)
        again.accept()
        again.send(verdict(VerdictKind.REFUSE, Reason.FORGED).to_packet())
        assert screen.wait_for("verdict_drawn")["verdict"] == "refuse"
        again.close()
        assert screen.stop() == 0
    finally:
        screen.process.kill()


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"view_socket": "/x", "runtime_dir": "/y", "widht_px": 1}')
    done = subprocess.run([sys.executable, "-m", "scanner.screen", str(path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "unknown key 'widht_px'" in done.stderr


@pytest.fixture
def display() -> Iterator[str]:
    """An X server with no window on it."""
    if not shutil.which("Xvfb") or not shutil.which("xdotool"):
        pytest.skip("Xvfb and xdotool are not installed")
    reader, writer = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writer), "-screen", "0", "720x1280x24", "-nolisten", "tcp"],
        pass_fds=(writer,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writer)
    try:
        assert select.select([reader], [], [], 20)[0], "Xvfb did not start"
        yield f":{os.read(reader, 16).decode().strip()}"
    finally:
        os.close(reader)
        server.terminate()
        server.wait(timeout=10)


def pixel(token: str) -> tuple[int, int, int]:
    value = COLOURS[token]
    return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)


def wait_until_shown(display: str, token: str, at: tuple[int, int]) -> Image.Image:
    """The display as soon as the pixel `at` has that colour."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        image = ImageGrab.grab(xdisplay=display)
        if image.getpixel(at) == pixel(token):
            return image
        time.sleep(0.05)
    raise AssertionError(f"the pixel at {at} never became {token}, it is {image.getpixel(at)}")


def tap(display: str, x: int, y: int) -> None:
    subprocess.run(
        ["xdotool", "mousemove", str(x), str(y), "click", "1"], check=True, env={**os.environ, "DISPLAY": display}
    )


def test_a_finger_answers_how_many(tmp_path: Path, gate: Gate, display: str) -> None:
    screen = Screen(tmp_path, DISPLAY=display, SDL_VIDEODRIVER="x11")
    try:
        gate.accept()
        wait_until_shown(display, "paper", (5, 1200))
        gate.send(verdict(VerdictKind.CHOOSE, choose_max=6, left=6, used=0, who="団体券 6名").to_packet())
        wait_until_shown(display, "yama", (5, 5))
        tap(display, 470, 1150)  # the way on, while nothing is chosen: says so, sends nothing
        tap(display, 135, 930)  # 4
        wait_until_shown(display, "ai", (60, 930))
        wait_until_shown(display, "matsu", (300, 1060))
        tap(display, 470, 1150)
        assert gate.receive() == KeyPress(Key.CHOOSE, "1", 4)
        gate.send(verdict(VerdictKind.ADMIT, who="団体券", count=4, keys=(Key.DISMISS,), stays_ms=60_000).to_packet())
        wait_until_shown(display, "matsu", (5, 700))
        gate.send(ready().to_packet())  # waits behind the verdict
        tap(display, 360, 1150)
        assert gate.receive() == KeyPress(Key.DISMISS, "1")
        wait_until_shown(display, "ai", (100, 500))
        gate.send(verdict(VerdictKind.ADMIT, who="大人", count=1, stays_ms=300).to_packet())
        wait_until_shown(display, "ai", (100, 500))  # by itself, without a word from the gate
        assert screen.stop() == 0
    finally:
        screen.process.kill()
