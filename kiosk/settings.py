"""Settings of the kiosk process, read from the one JSON file it is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kiosk.terminals import check
from tickets.money import EXPONENT


@dataclass(frozen=True, slots=True)
class Settings:
    """`state_dir` holds journal and cache, `run_dir` what may be lost at a reboot.

    The window: `fullscreen`, else `width_px` x `height_px`; `px_per_mm` 0 means that of the known panel of this size;
    `video_driver` is SDL's (kmsdrm, x11, wayland, offscreen), empty for SDL's own choice. `say_targets`: a file that names the
    present screen and where its keys are, for a pointer that is led from outside; empty for none. `left_px` and `top_px` place a
    window on a desktop, -1 leaves that to it. `terminal` is tcp:HOST:PORT or serial:DEVICE; its password and currency are those
    that its operator set.
    """

    state_dir: Path
    run_dir: Path
    terminal: str
    terminal_password: int = 0
    terminal_currency: str = "JPY"
    fullscreen: bool = True
    width_px: int = 1080
    height_px: int = 1920
    left_px: int = -1
    top_px: int = -1
    px_per_mm: float = 0.0
    video_driver: str = ""
    show_cursor: bool = False
    sound: bool = True
    say_targets: str = ""

    def __post_init__(self) -> None:
        check(self.terminal)
        if not 0 <= self.terminal_password <= 999_999:
            raise ValueError("key 'terminal_password': 0 to 999999 is allowed")
        if self.terminal_currency not in EXPONENT:
            raise ValueError(f"key 'terminal_currency': one of {', '.join(sorted(EXPONENT))} is allowed")
        for name in ("width_px", "height_px"):
            if not 200 <= getattr(self, name) <= 10_000:
                raise ValueError(f"key '{name}': 200 to 10000 is allowed")
