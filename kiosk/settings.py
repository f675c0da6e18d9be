"""Settings of the kiosk process, read from the one JSON file it is started with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """`state_dir` holds journal and cache, `run_dir` what may be lost at a reboot.

    The terminal: `terminal_address` is `tcp://HOST[:PORT]` or `serial:///dev/NAME`, `terminal_password` its cashier password as a
    number, `terminal_hold` auto, always or never, `terminal_charset` a Python codec name, `terminal_kind` standard, mirrored or
    card_complete: what it makes of a lost acknowledgement.

    The window: `fullscreen`, else `width_px` x `height_px`; `px_per_mm` 0 means that of the known panel of this size;
    `video_driver` is SDL's (kmsdrm, x11, wayland, offscreen), empty for SDL's own choice. `say_targets`: a file that names the
    present screen and where its keys are, for a pointer that is led from outside; empty for none. `left_px` and `top_px` place a
    window on a desktop, -1 leaves that to it.
    """

    state_dir: Path
    run_dir: Path
    terminal_address: str
    terminal_password: int = 0
    terminal_currency: str = "JPY"
    terminal_hold: str = "auto"
    terminal_charset: str = "cp437"
    terminal_kind: str = "standard"
    fullscreen: bool = True
    width_px: int = 1080
    height_px: int = 1920
    left_px: int = -1
    top_px: int = -1
    px_per_mm: float = 0.0
    video_driver: str = ""
    show_cursor: bool = False
    say_targets: str = ""

    def __post_init__(self) -> None:
        if not self.terminal_address.startswith(("tcp://", "serial:///")):
            raise ValueError("key 'terminal_address': tcp://HOST[:PORT] or serial:///dev/NAME is allowed")
        if self.terminal_hold not in {"auto", "always", "never"}:
            raise ValueError(f"key 'terminal_hold': '{self.terminal_hold}' is not one of: always, auto, never")
        if self.terminal_kind not in {"standard", "mirrored", "card_complete"}:
            allowed = "card_complete, mirrored, standard"
            raise ValueError(f"key 'terminal_kind': '{self.terminal_kind}' is not one of: {allowed}")
        if self.width_px < 1 or self.height_px < 1 or self.px_per_mm < 0:
            raise ValueError("keys 'width_px', 'height_px', 'px_per_mm': more than 0 is allowed")
