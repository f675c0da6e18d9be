"""An engine that is still being opened: the first picture must not wait for a journal's chain to be verified.

Stands before the real one from the first frame on. Opening happens on a thread of its own; until it is done the kiosk says that it is
getting ready, and what guests ask for (staff, nothing else is on offer) waits.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import structlog

from kiosk.visit.effect import EngineEffect
from kiosk.visit.event import EngineEvent
from kiosk.visit.port import INBOX_MAX, Engine, EngineStopped
from kiosk.visit.situation import Situation

log = structlog.get_logger()


class LateEngine:
    """Behaves as `kiosk.visit.port.Engine`. `open_engine` runs once, on a thread of its own."""

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        self._open = open_engine
        self._waiting: queue.Queue[EngineEffect] = queue.Queue(INBOX_MAX)
        self._engine: Engine | None = None
        self._failed = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="opening", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def perform(self, effect: EngineEffect) -> None:
        if self._failed.is_set():
            raise EngineStopped("the sale engine could not be opened")
        if self._engine is not None:
            self._engine.perform(effect)
            return
        try:
            self._waiting.put_nowait(effect)
        except queue.Full as error:
            raise EngineStopped("the sale engine is not open yet and takes no more effects") from error

    def take(self) -> Situation | EngineEvent | None:
        if self._failed.is_set():
            raise EngineStopped("the sale engine could not be opened")
        engine = self._engine
        if engine is None:
            return None
        while not self._waiting.empty():
            engine.perform(self._waiting.get_nowait())
        return engine.take()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._engine is not None:
            self._engine.stop()

    def _run(self) -> None:
        try:
            engine = self._open()
            if not self._stopping.is_set():
                engine.start()
                self._engine = engine
        except Exception:
            log.exception("engine_not_opened")
            self._failed.set()
