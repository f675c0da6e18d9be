"""Frames from a video file, every one of them, timed by their place in the film: a recorded lane can be read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from scanner.reading.errors import SourceEndedError, SourceGoneError
from scanner.reading.frame import Frame
from tickets.clock import Clock


class Video:
    name = "video"
    live = False

    def __init__(self, *, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._capture: Any = None
        self._position = 0
        self._frames_per_s = 30.0

    def open(self) -> None:
        self.close()
        if not self._path.is_file():
            raise SourceGoneError(f"there is no video file {self._path}")
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            capture.release()
            raise SourceGoneError(f"{self._path} is no video that can be played")
        rate = capture.get(cv2.CAP_PROP_FPS)
        self._frames_per_s = rate if 0.1 <= rate <= 1000 else 30.0
        self._capture = capture
        self._position = 0

    def next(self) -> Frame | None:
        if self._capture is None:
            raise SourceGoneError("the video is not open")
        good, picture = self._capture.read()
        if not good or picture is None:
            raise SourceEndedError(f"{self._path} ended after {self._position} frames")
        seen_s = self._position / self._frames_per_s
        self._position += 1
        return Frame(np.asarray(picture, np.uint8), at=self._clock.now_utc(), seen_s=seen_s)

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None
