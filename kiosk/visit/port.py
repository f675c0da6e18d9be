"""The port to the sale engine: effects go in, events come out, and nobody waits for anybody.

The screen's thread calls these methods and must never block in them: an engine owns a thread (or a process) behind a bounded inbox
and leaves its answers in an outbox. There are no callbacks, so no code of the engine ever runs on the screen's thread.
"""

from __future__ import annotations

from typing import Protocol

from kiosk.visit.effect import EngineEffect
from kiosk.visit.event import EngineEvent
from kiosk.visit.situation import Situation

INBOX_MAX = 64
"""Effects that may wait. A guest cannot make so many while one is worked on; beyond it the engine hangs, and the kiosk says so."""


class EngineStopped(Exception):
    """The engine does not take effects any more: its inbox is full or its thread has ended. The kiosk stops selling."""

    code = "engine_stopped"


class Engine(Protocol):
    """What sells: holds stock, talks to terminal and printer, keeps the journal. `kiosk.sale` has the real one."""

    def start(self) -> None:
        """Begin work. Called once, from the screen's thread, after the first frame."""

    def perform(self, effect: EngineEffect) -> None:
        """Take one effect and return at once. Raises EngineStopped."""

    def take(self) -> Situation | EngineEvent | None:
        """The next thing the engine has to say, oldest first, or None. Never waits.

        A Situation replaces the one before it whole; it comes once after `start` and then after every change. Raises EngineStopped.
        """

    def stop(self) -> None:
        """Finish what must be finished, then end. Called once, on SIGTERM; may take as long as the terminal does."""
