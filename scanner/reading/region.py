"""Frames from a part of an X display: whatever is shown there is the ticket that is held up.

mss (MIT) takes 4 ms for 1280x720 through shared memory, where Pillow's ImageGrab, which fetches the whole display through a new
connection each time, takes 60; it is loaded only where a screen is the source.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from scanner.reading.errors import SourceGoneError
from scanner.reading.frame import Frame
from tickets.clock import Clock


class ScreenRegion:
    """`display` such as `:0`; empty for the environment's. `region` (left, top, width, height) in pixels, or None for all of it."""

    name = "screen"
    live = True

    def __init__(
        self, *, display: str, region: tuple[int, int, int, int] | None, frames_per_s: float, clock: Clock
    ) -> None:
        self._display = display
        self._region = region
        self._interval_s = 1 / frames_per_s
        self._clock = clock
        self._grabber: Any = None
        self._next_s = 0.0

    def open(self) -> None:
        import mss
        import mss.exception

        self.close()
        try:
            self._grabber = mss.MSS(display=self._display or None)
        except (mss.exception.ScreenShotError, OSError) as error:
            raise SourceGoneError(f"the display {self._display or '(default)'} cannot be opened") from error

    def next(self) -> Frame | None:
        import mss.exception

        if self._grabber is None:
            raise SourceGoneError("the display is not open")
        wait_s = self._next_s - self._clock.monotonic_s()
        if wait_s > 0:
            time.sleep(wait_s)
        self._next_s = self._clock.monotonic_s() + self._interval_s
        try:
            if self._region is None:
                shot = self._grabber.grab(self._grabber.monitors[0])
            else:
                left, top, width, height = self._region
                shot = self._grabber.grab({"left": left, "top": top, "width": width, "height": height})
        except (mss.exception.ScreenShotError, OSError) as error:
            raise SourceGoneError("the display gives no picture of that region") from error
        pixels = np.frombuffer(shot.bgra, np.uint8).reshape(shot.height, shot.width, 4)
        return Frame(np.ascontiguousarray(pixels[:, :, :3]), at=self._clock.now_utc(), seen_s=self._clock.monotonic_s())

    def close(self) -> None:
        if self._grabber is not None:
            self._grabber.close()
            self._grabber = None
