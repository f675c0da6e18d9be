"""A frame, and the protocol of everything that makes frames.

A source is owned by one thread. It never decides anything about codes, and it never hides that it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Picture: TypeAlias = npt.NDArray[np.uint8]
"""Height x width (grey) or height x width x 3 (BGR, as OpenCV has it), 8 bits."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`at` is the wall clock when it was taken, UTC. `seen_s` measures intervals between frames of one source: monotonic seconds,
    or the position in a video. `still` says that this picture stands alone: no better frame of it will follow.
    """

    picture: Picture
    at: datetime
    seen_s: float
    still: bool = False


class Source(Protocol):
    """Where frames come from."""

    @property
    def name(self) -> str:
        """What `Read.source` says: camera, video, folder, screen."""
        ...

    @property
    def live(self) -> bool:
        """True: only the newest frame counts. False: every frame is waited for (files)."""
        ...

    def open(self) -> None:
        """Raises SourceGoneError when there is nothing to open now."""
        ...

    def next(self) -> Frame | None:
        """The next frame, or None when there is none yet (asked again at once; it waits a little by itself).

        Raises SourceGoneError, and SourceEndedError where a source has an end.
        """
        ...

    def close(self) -> None:
        """Safe to call at any time, also twice."""
        ...
