"""Frames from a V4L2 camera, which may be unplugged and come back while we run."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from scanner.reading.errors import SourceGoneError
from scanner.reading.frame import Frame
from tickets.clock import Clock


class Camera:
    """`location` is an index ("0") or a device path, which stays the same camera when others come and go."""

    name = "camera"
    live = True

    def __init__(self, *, location: str, width_px: int, height_px: int, frames_per_s: float, clock: Clock) -> None:
        self._location: str | int = int(location) if location.isdecimal() else location
        self._width_px = width_px
        self._height_px = height_px
        self._frames_per_s = frames_per_s
        self._clock = clock
        self._capture: Any = None

    def open(self) -> None:
        self.close()
        capture = cv2.VideoCapture(self._location, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise SourceGoneError(f"there is no camera at {self._location}")
        # MJPEG, because USB 2 carries 720p at 30 frames/s only compressed; one buffer, because an old frame is of no use.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._width_px)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._height_px)
        capture.set(cv2.CAP_PROP_FPS, self._frames_per_s)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._capture = capture

    def next(self) -> Frame | None:
        if self._capture is None:
            raise SourceGoneError("the camera is not open")
        good, picture = self._capture.read()
        if not good or picture is None:
            raise SourceGoneError(f"the camera at {self._location} gives no frames")
        return Frame(np.asarray(picture, np.uint8), at=self._clock.now_utc(), seen_s=self._clock.monotonic_s())

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None
