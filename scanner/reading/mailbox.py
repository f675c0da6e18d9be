"""One slot between the thread that captures and the loop that decodes: the newest frame wins, an old one is never decoded."""

from __future__ import annotations

import threading

from scanner.reading.frame import Frame


class Mailbox:
    """One frame. `post` overwrites; `post_and_wait` is for files, whose every frame counts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._closed = False

    def post(self, frame: Frame) -> None:
        with self._changed:
            self._frame = frame
            self._changed.notify_all()

    def post_and_wait(self, frame: Frame) -> None:
        """Waits until the slot is free, then posts; returns at once when the box is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is None or self._closed)
            if not self._closed:
                self._frame = frame
                self._changed.notify_all()

    def take(self, *, timeout_s: float) -> Frame | None:
        """The newest frame, at most once each; None after `timeout_s` without one, and at once when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._closed, timeout=timeout_s)
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            return frame

    @property
    def drained(self) -> bool:
        """Closed, and nothing left to take."""
        with self._changed:
            return self._closed and self._frame is None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
