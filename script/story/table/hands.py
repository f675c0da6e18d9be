"""The visitor's hands: they hold paper up, pull the cable, take the roll out, choose the next card; and the eyes that see what came of it.

Nothing here blocks the window: holding up draws a picture of a doorway and is done by a thread of its own. `look` is called a few
times a second and says what lies on the table now.
"""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from scanner.view import ViewError
from script.story.processes import Program
from script.story.report import say
from script.story.staff import Staff
from script.story.table.standing import Answer, Card, Piece, Standing
from script.story.venue import Venue

SILENT_S: Final = 8.0
"""A piece at which the gate has said nothing for so long has nothing to be read."""
HELD_S: Final = 0.8
"""A piece stays up so long at least, also where the gate is quicker than the eye."""
FALLEN_EVERY_S: Final = 1.0
REFUSED: Final = ("declined", "cancelled")
"""The ledger's words for a payment that charged nothing."""
FAULT_OF: Final = {Card.DECLINED: "decline=05", Card.CANCELLED: "cancel"}


class Hands:
    """Of one visitor at one venue. Call everything from one thread."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._staff: Staff | None = None
        self._arms = ThreadPoolExecutor(max_workers=1, thread_name_prefix="arm")
        self._showing: Future[None] | None = None
        self._held_since_s = 0.0
        self._answer: Answer | None = None
        self._fallen_looked_s = 0.0
        self._refused_before = 0
        office = venue.seeded["office"]
        self.standing = Standing(
            url=venue.hub_url,
            user=office["user"],
            password=office["password"],
            browser=shutil.which("xdg-open") is not None,
        )

    # --- hands

    def hold_up(self, paper: Path) -> None:
        """Hold `paper` before the gate's camera. While another piece is up nothing happens: a visitor has one camera to aim at."""
        if self.standing.held is not None:
            return
        self.standing = replace(self.standing, held=paper)
        self._held_since_s = time.monotonic()
        self._answer = None
        # One frame: each picture in the camera's folder is a presentation of its own to the reader.
        self._showing = self._arms.submit(self._venue.camera.show, paper, frames=1)

    def cut_line(self) -> None:
        assert self._venue.line is not None
        self._venue.line.cut()
        self.standing = replace(self.standing, line_up=False, line_was_cut=True)

    def mend_line(self) -> None:
        assert self._venue.line is not None
        self._venue.line.mend()
        self.standing = replace(self.standing, line_up=True)

    def take_roll_out(self) -> None:
        self._venue.program("printer-device").tell({"do": "fault", "spec": "paper-out"})

    def load_roll(self) -> None:
        self._venue.program("printer-device").tell({"do": "load-paper"})

    def choose_card(self, card: Card) -> None:
        terminal = self._venue.program("terminal")
        for fault in ("decline", "cancel"):
            terminal.tell({"do": "heal", "fault": fault})
        if card is not Card.GOOD:
            terminal.tell({"do": "fault", "spec": FAULT_OF[card]})
        self._refused_before = self._refused()
        self.standing = replace(self.standing, card=card)

    def open_office(self) -> None:
        """In the visitor's own browser, which outlives the demo."""
        subprocess.Popen(
            ["xdg-open", self.standing.url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    # --- eyes

    def look(self) -> Standing:
        """What lies on the table now."""
        self._look_at_printer()
        self._look_at_terminal()
        self._look_at_gate()
        self._raise_fallen()
        return self.standing

    def close(self) -> None:
        self._arms.shutdown(wait=True, cancel_futures=True)
        if self._staff is not None:
            self._staff.close()

    def _look_at_printer(self) -> None:
        for line in _said(self._venue.program("printer-device")):
            match line.get("event"):
                case "state":
                    self.standing = replace(self.standing, paper_in=not line["paper_end"])
                case "cut" | "torn":
                    piece = Piece(Path(line["file"]), offline=not self.standing.line_up)
                    self.standing = replace(self.standing, pieces=(piece, *self.standing.pieces))

    def _look_at_terminal(self) -> None:
        """By its ledger: once a payment has come to nothing, the card that did it is gone."""
        for _ in _said(self._venue.program("terminal")):
            pass  # frames; nobody here reads them, and they shall not pile up
        if self.standing.card is not Card.GOOD and self._refused() > self._refused_before:
            self.standing = replace(self.standing, card=Card.GOOD)

    def _refused(self) -> int:
        """Payments so far that came to nothing."""
        try:
            lines = self._venue.ledger.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return 0
        return sum(json.loads(line)["event"] in REFUSED for line in lines if line.endswith("}"))

    def _look_at_gate(self) -> None:
        """As staff do: by what its screen is told. Only the first verdict after a piece was held up is about that piece."""
        held = self.standing.held
        for view in self._glance():
            if held is not None and view.verdict is not None:
                self._answer = self._answer or Answer(view.verdict, view.word)
        if held is None:
            return
        held_s = time.monotonic() - self._held_since_s
        if self._answer is None and held_s > SILENT_S:
            self._answer = Answer(None)
        if self._answer is not None and held_s >= HELD_S and self._showing is not None and self._showing.done():
            pieces = tuple(piece.told(self._answer) if piece.paper == held else piece for piece in self.standing.pieces)
            self.standing = replace(self.standing, pieces=pieces, held=None)

    def _glance(self) -> list[Any]:
        try:
            if self._staff is None:
                self._staff = Staff(self._venue.directory / "gate-run" / "gate-screen.sock")
            return self._staff.glance()
        except (OSError, ViewError):  # the gate is being started again
            if self._staff is not None:
                self._staff.close()
            self._staff = None
            return []

    def _raise_fallen(self) -> None:
        """A window that was closed, or a daemon that ended, comes back, as its service would bring it back."""
        if time.monotonic() - self._fallen_looked_s < FALLEN_EVERY_S:
            return
        self._fallen_looked_s = time.monotonic()
        for name in self._venue.fallen():
            say(f"{name} has ended and is started again, as its service would do; close the table to end it all")
            self._venue.start_again(name)


def _said(program: Program) -> Iterator[dict[str, Any]]:
    while True:
        try:
            yield program.lines.get_nowait()
        except queue.Empty:
            return
