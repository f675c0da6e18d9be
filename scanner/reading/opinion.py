"""The second opinion: zbar, a few times a second, on frames in which the first decoder saw nothing.

It takes 20 to 50 ms a frame, so it works on a thread of its own (zbar is C and drops the interpreter's lock) and never delays the
next frame. It is offered frames and may be too busy for them; nothing waits for it.
"""

from __future__ import annotations

import contextvars
import threading
from dataclasses import dataclass

import structlog

from scanner.reading.decode import Code, decode_zbar
from scanner.reading.frame import Frame
from scanner.reading.variants import grey

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opinion:
    frame: Frame
    codes: list[Code]


class SecondOpinion:
    """One thread, one frame at a time, at most one each `interval_s`."""

    def __init__(self, *, interval_s: float = 0.2) -> None:
        self._interval_s = interval_s
        self._next_s = float("-inf")
        self._lock = threading.Condition()
        self._frame: Frame | None = None
        self._opinions: list[Opinion] = []
        self._stopped = False
        context = contextvars.copy_context()  # the log's: which daemon speaks
        self._thread = threading.Thread(target=lambda: context.run(self._work), name="second-opinion", daemon=True)
        self._thread.start()

    def offer(self, frame: Frame) -> None:
        """Ask about `frame`, unless an earlier one is still being looked at or the interval has not passed."""
        with self._lock:
            if self._frame is None and frame.seen_s >= self._next_s:
                self._next_s = frame.seen_s + self._interval_s
                self._frame = frame
                self._lock.notify()

    def take(self) -> list[Opinion]:
        """What was found since the last call."""
        with self._lock:
            opinions, self._opinions = self._opinions, []
            return opinions

    def close(self) -> None:
        with self._lock:
            self._stopped = True
            self._lock.notify()
        self._thread.join(timeout=1)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._stopped or self._frame is not None)
                frame = self._frame
                if self._stopped or frame is None:
                    return
            codes: list[Code] = []
            try:
                codes = decode_zbar(grey(frame.picture))
            except Exception as error:  # noqa: BLE001  (top of this thread's loop)
                _log.error("second_opinion_failed", error=type(error).__name__)
            with self._lock:
                self._frame = None
                if codes:
                    self._opinions.append(Opinion(frame, codes))
