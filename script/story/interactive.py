"""The demo on a display: kiosk, table and gate in three windows, ready to be played with, until the table is closed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from script.story.processes import StoryError
from script.story.report import say
from script.story.table.places import Places, arrange, usable_area
from script.story.venue import Venue

if TYPE_CHECKING:
    from script.story.table.window import Table

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CARD_MS, HOST_MS = "1500", "500"
"""The guest takes this long to present the card, and the card's host to answer: long enough to be seen."""


class Ended(BaseException):
    """The visitor wants to stop. No Exception, so that nothing on the way up takes it for a failure."""


def open_to_play() -> int:
    """Open the venue and play until the table's window is closed, or until Ctrl-C. Leaves no process and no file behind; only where
    it could not open, the logs stay. Returns the exit status.
    """
    ending = _Ending()
    directory = Path(tempfile.mkdtemp(prefix="kaisatsu-demo-"))
    started = time.monotonic()
    status = 1
    venue: Venue | None = None
    try:
        places = arrange(usable_area())
        venue = Venue(
            directory, display=os.environ.get("DISPLAY", ""), kiosk=places.kiosk, gate=places.gate, headless=False
        )
        _open(venue)
        say(
            f"5/5 table; open after {time.monotonic() - started:.0f} s. Close the table, or press Ctrl-C, to end it all."
        )
        _play(venue, places, ending)
        status = 0
    except Ended:
        status = 0
    except (StoryError, OSError, ValueError, subprocess.SubprocessError) as error:
        say(f"the demo cannot go on: {error}")
        say(f"what its programs said stands in {directory / 'logs'}")
    finally:
        ending.no_more()
        if venue is not None:
            say("closing")
            venue.close()
        if status == 0:
            shutil.rmtree(directory, ignore_errors=True)
    return status


def _open(venue: Venue) -> None:
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("1/5 hub, with a made-up amusement park", venue.open_hub),
        ("2/5 kiosk and gate enrol with their one-time links", lambda: _enrol(venue)),
        ("3/5 card terminal, printer, kiosk", lambda: _open_kiosk(venue)),
        ("4/5 gate", venue.open_gate),
    )
    for title, do in steps:
        say(title)
        do()


def _enrol(venue: Venue) -> None:
    roles = ("kiosk", "gate")
    with ThreadPoolExecutor(len(roles)) as technicians:
        for role, done in zip(roles, technicians.map(venue.enrol, roles), strict=True):
            if done.returncode != 0:
                raise StoryError(f"the {role} could not enrol: {done.stderr.strip()}")


def _open_kiosk(venue: Venue) -> None:
    venue.open_counter(terminal=["--pause-ms", CARD_MS, "--host-ms", HOST_MS], printer=[])
    venue.open_kiosk()


def _play(venue: Venue, places: Places, ending: _Ending) -> None:
    from script.story.table.hands import Hands
    from script.story.table.prepare import prepare

    run_dir = venue.directory / "table-run"
    prepare(run_dir / "kivy", places.table)
    from script.story.table.window import open_window

    hands = Hands(venue)
    try:
        table = open_window(hands, say_targets=run_dir / "targets.json")
        ending.table = table
        table.run()
    finally:
        ending.table = None
        hands.close()


class _Ending:
    """Ctrl-C, a closed terminal and SIGTERM end the demo: by closing the table if it is open, else on the spot."""

    def __init__(self) -> None:
        self.table: Table | None = None
        for number in ENDING:
            signal.signal(number, self._end)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if self.table is None:
            raise Ended
        self.table.stop()

    def no_more(self) -> None:
        """Everything is being closed: a second Ctrl-C must not leave half of it behind."""
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
