"""The demo on a display, played by a real pointer: bought at the small kiosk, seen as paper on the table, green at the gate; and
whichever way it is ended, no process and no file stays behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageGrab

from script.story.pointer import Pointer
from script.story.processes import ROOT
from script.story.table.places import Area, arrange
from script.story.venue import Display, Placed
from tickets.look import COLOURS

pytestmark = pytest.mark.flow

PLACES = arrange(Area(0, 0, 1366, 768))
START_S = 90.0


class Visitor:
    """Somebody who has started the demo on a display of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.display = Display(width=1366, height=768, logs=folder)
        self.demo = subprocess.Popen(
            [sys.executable, "-m", "script.story"],
            cwd=ROOT,
            env={**os.environ, "DISPLAY": self.display.name, "TMPDIR": str(folder)},
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def wait_said(self, text: bytes) -> None:
        assert self.demo.stderr is not None
        for line in self.demo.stderr:
            if text in line:
                return
        raise AssertionError(f"the demo ended without saying {text!r}")

    def pointer(self, device: str, place: Placed) -> Pointer:
        venue = next(self.folder.glob("kaisatsu-demo-*"))
        return Pointer(self.display.name, venue / f"{device}-run" / "targets.json", left=place.left, top=place.top)

    def share_at_gate(self, colour: str) -> float:
        gate = PLACES.gate
        box = (gate.left, gate.top, gate.left + gate.width, gate.top + gate.height)
        picture = np.asarray(ImageGrab.grab(bbox=box, xdisplay=self.display.name).convert("RGB"))
        wanted = [int(COLOURS[colour][n : n + 2], 16) for n in (1, 3, 5)]
        return float((np.abs(picture.astype(int) - wanted).max(axis=2) <= 6).mean())

    def papers(self) -> list[str]:
        """Pieces that were cut off so far."""
        return sorted(path.name for path in self.folder.glob("kaisatsu-demo-*/paper/*.png"))

    def wait_gate(self, colour: str) -> None:
        deadline = time.monotonic() + 15
        while self.share_at_gate(colour) < 0.4:
            assert time.monotonic() < deadline, f"the gate does not turn {colour}"
            time.sleep(0.03)

    def processes(self) -> list[str]:
        """Of the demo's session, itself among them."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                after_name = stat.read_text().rpartition(")")[2].split()
                if int(after_name[3]) == self.demo.pid and after_name[0] != "Z":
                    found.append(stat.with_name("cmdline").read_text().replace("\0", " "))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def left_behind(self) -> list[str]:
        return [path.name for path in self.folder.glob("kaisatsu-demo-*")]

    def close(self) -> None:
        if self.demo.poll() is None:
            self.demo.terminate()
            self.demo.wait(30)
        assert self.demo.stderr is not None
        self.demo.stderr.close()
        self.display.close()


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    """In a folder with a short name: a Unix socket's path has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="kt-") as folder:
        someone = Visitor(Path(folder))
        try:
            yield someone
        finally:
            someone.close()


def complete(papers: list[str]) -> int:
    """How many were cut as tickets; the piece that a roll ended in is called torn."""
    return sum(name.startswith("ticket-") for name in papers)


def buy(kiosk: Pointer, *, language: str, book: bool) -> None:
    """An adult, and perhaps a book of ten rides, up to the card."""
    kiosk.wait_screen("attract")
    kiosk.touch(f"language.{language}")
    products = ["admission", "rides"] if book else ["admission"]
    for product in products:
        kiosk.wait_screen("products")
        kiosk.touch(f"product.{product}")
        kiosk.wait_screen("people")
        kiosk.touch("next")
        kiosk.wait_screen("basket")
        kiosk.touch("another" if product != products[-1] else "next")
    kiosk.wait_screen("method")
    kiosk.touch("pay.card")


@pytest.mark.slow
def test_paper_comes_on_the_table_and_opens_the_gate_with_the_line_and_without(visitor):
    visitor.wait_said(b"5/5 table")
    kiosk, table = visitor.pointer("kiosk", PLACES.kiosk), visitor.pointer("table", PLACES.table)
    buy(kiosk, language="ja", book=True)

    # The roll ends in the middle of eleven tickets; with a new one the others follow.
    table.wait_target("piece.2")
    table.touch("roll.out")
    table.wait_target("roll.load")
    out = visitor.papers()
    assert 2 <= len(out) < 11
    table.touch("piece.2")
    visitor.wait_gate("matsu")
    assert complete(visitor.papers()) == complete(out), "nothing is printed on no paper"
    table.touch("roll.load")
    kiosk.wait_screen("take")
    kiosk.touch("receipt.no")

    # A ticket that no server has seen.
    table.touch("line.cut")
    buy(kiosk, language="en", book=False)
    kiosk.wait_screen("take")
    papers = visitor.papers()
    assert complete(papers) == 12, "what was torn off has been printed anew"
    newest = len(papers)
    table.touch(f"piece.{newest}")
    visitor.wait_gate("matsu")
    table.wait_screen("table")
    table.touch(f"piece.{newest}")
    visitor.wait_gate("shu")
    table.wait_screen("table")

    # Looked at closely, and closed again.
    table.touch(f"larger.{newest}")
    table.wait_screen("large")
    table.touch("close")
    table.wait_screen("table")

    assert len(visitor.processes()) == 11, (
        "the demo, hub, terminal, printer, three daemons of the kiosk, four of the gate"
    )
    close_window_under_pointer(visitor.display.name)
    assert visitor.demo.wait(30) == 0
    assert (visitor.processes(), visitor.left_behind()) == ([], [])


@pytest.mark.parametrize("said", [b"1/5", b"3/5"])
def test_ctrl_c_while_it_opens_leaves_nothing_behind(visitor, said):
    visitor.wait_said(said)
    deadline = time.monotonic() + START_S
    while len(visitor.processes()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(visitor.demo.pid, signal.SIGINT)  # as a terminal does: to all of them
    assert visitor.demo.wait(30) == 0
    assert (visitor.processes(), visitor.left_behind()) == ([], [])


class _ClientMessage(ctypes.Structure):
    """XClientMessageEvent of Xlib.h, with the room of a whole XEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("room", ctypes.c_long * 12),
    )


CLIENT_MESSAGE = 33


def close_window_under_pointer(display: str) -> None:
    """What a window manager sends when somebody clicks the cross (ICCCM 4.2.8, WM_DELETE_WINDOW)."""
    said = subprocess.run(
        ["xdotool", "getmouselocation", "--shell"],
        env={**os.environ, "DISPLAY": display},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    window = int(dict(line.split("=") for line in said.split())["WINDOW"])
    x = ctypes.CDLL("libX11.so.6")
    x.XOpenDisplay.restype = ctypes.c_void_p
    x.XInternAtom.restype = ctypes.c_ulong
    x.XInternAtom.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)
    x.XSendEvent.argtypes = (ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)
    x.XCloseDisplay.argtypes = (ctypes.c_void_p,)
    connection = x.XOpenDisplay(display.encode())
    event = _ClientMessage(type=CLIENT_MESSAGE, window=window, format=32)
    event.message_type = x.XInternAtom(connection, b"WM_PROTOCOLS", 0)
    event.data[0] = x.XInternAtom(connection, b"WM_DELETE_WINDOW", 0)
    assert x.XSendEvent(connection, window, 0, 0, ctypes.byref(event))
    x.XCloseDisplay(connection)
