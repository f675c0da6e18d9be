"""Settings of the gate's screen, as `kaisatsu config write` leaves them for `python -m scanner.screen FILE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """`view_socket` is the SOCK_SEQPACKET socket at which the gate listens; `runtime_dir` a folder that may be lost (Kivy's home,
    sounds). `left_px` and `top_px` place a window on a desktop, -1 leaves that to it. `volume` 0 to 1; 0 is silent.
    """

    view_socket: Path
    runtime_dir: Path
    width_px: int = 720
    height_px: int = 1280
    fullscreen: bool = False
    left_px: int = -1
    top_px: int = -1
    language: str = "ja"
    volume: float = 1.0
    font_regular: Path = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
    font_bold: Path = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc")

    def __post_init__(self) -> None:
        for name in ("width_px", "height_px"):
            if not 200 <= getattr(self, name) <= 10_000:
                raise ValueError(f"key '{name}': 200 to 10000 is allowed")
        if not 0 <= self.volume <= 1:
            raise ValueError("key 'volume': 0 to 1 is allowed")
        for name in ("font_regular", "font_bold"):
            if not getattr(self, name).is_file():
                raise ValueError(f"key '{name}': there is no font {getattr(self, name)} (Debian: fonts-noto-cjk)")
