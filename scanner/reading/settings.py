"""Settings of the reader, as `kaisatsu config write` leaves them for `python -m scanner.reading FILE`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class SourceKind(StrEnum):
    CAMERA = "camera"
    VIDEO = "video"
    FOLDER = "folder"
    SCREEN = "screen"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where frames come from and where text goes.

    `reads_socket` is the SOCK_SEQPACKET socket at which the owner of the screen listens. `location` is a V4L2 index or device
    path, a video file, a folder, or an X display such as `:0`. `region` of a screen is `LEFT,TOP,WIDTH,HEIGHT` in pixels, empty
    for all of it. `rearm_ms`: a code must be out of view this long before it counts as shown again.
    """

    reads_socket: Path
    source: SourceKind
    location: str = "0"
    region: str = ""
    width_px: int = 1280
    height_px: int = 720
    frames_per_s: float = 30.0
    rearm_ms: int = 1500
    settle_ms: int = 500
    health_db: Path | None = None

    def __post_init__(self) -> None:
        if not self.location and self.source is not SourceKind.SCREEN:
            raise ValueError(f"key 'location' is empty; a {self.source} needs one")
        for name in ("width_px", "height_px", "rearm_ms", "settle_ms"):
            if not 1 <= getattr(self, name) <= 100_000:
                raise ValueError(f"key '{name}': 1 to 100000 is allowed")
        if not 0.2 <= self.frames_per_s <= 240:
            raise ValueError("key 'frames_per_s': 0.2 to 240 is allowed")
        self.region_px()

    def region_px(self) -> tuple[int, int, int, int] | None:
        """(left, top, width, height) of a screen region, or None for the whole screen."""
        if not self.region:
            return None
        parts = self.region.split(",")
        if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
            raise ValueError(f"key 'region': LEFT,TOP,WIDTH,HEIGHT in pixels is expected, found '{self.region}'")
        left, top, width, height = (int(part) for part in parts)
        if width == 0 or height == 0:
            raise ValueError("key 'region': width and height of at least 1 pixel are expected")
        return left, top, width, height
