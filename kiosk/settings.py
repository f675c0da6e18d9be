"""Settings of the kiosk process, read from the one JSON file it is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """`state_dir` holds journal and cache, `run_dir` what may be lost at a reboot.

    The window: `fullscreen`, else `width_px` x `height_px`; `px_per_mm` 0 means that of the known panel of this size;
    `video_driver` is SDL's (kmsdrm, x11, wayland, offscreen), empty for SDL's own choice. `say_targets`: a file that names the
    present screen and where its keys are, for a pointer that is led from outside; empty for none.
    """

    state_dir: Path
    run_dir: Path
    fullscreen: bool = True
    width_px: int = 1080
    height_px: int = 1920
    px_per_mm: float = 0.0
    video_driver: str = ""
    show_cursor: bool = False
    sound: bool = True
    say_targets: str = ""
