"""Where the three windows stand on a display. Pure but for asking the display how large it is.

Kiosk and gate keep the shape of their panels (9:16), the table takes what is left between them: the eye goes from left to right as
the paper does.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from script.story.venue import GATE_PX, KIOSK_PX, Placed

TITLE_PX: Final = 36
"""Room above each window for the title bar that a desktop draws around it."""
GAP_SHARE: Final = 0.009
GATE_SHARE: Final = 0.72
"""The gate's height as a share of the kiosk's: its own panel is far smaller, but it is to be read from the same chair."""
TABLE_WIDTH_MIN_PX: Final = 420
TABLE_PX_MAX: Final = (1500, 1600)
GATE_WIDTH_MIN_PX: Final = 200
KIOSK_WIDTH_MIN_PX: Final = 240


@dataclass(frozen=True, slots=True)
class Area:
    """The part of a display that windows may use, in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Places:
    kiosk: Placed
    table: Placed
    gate: Placed


def arrange(area: Area) -> Places:
    """Three windows side by side within `area`; on a narrow display kiosk and gate give way until the table has its least width.

    Raises ValueError for a display on which nobody could read them.
    """
    gap = max(4, round(area.width * GAP_SHARE))
    height = min(area.height - TITLE_PX - gap, KIOSK_PX[1])
    while True:
        kiosk = _panel(height, KIOSK_PX)
        gate = _panel(min(round(height * GATE_SHARE), GATE_PX[1]), GATE_PX)
        room = area.width - kiosk[0] - gate[0] - 4 * gap
        if room >= TABLE_WIDTH_MIN_PX:
            break
        height -= 8
        if kiosk[0] < KIOSK_WIDTH_MIN_PX or gate[0] < GATE_WIDTH_MIN_PX:
            raise ValueError(
                f"a display of {area.width}x{area.height} is too small for three windows; 1024x600 is enough"
            )
    table = (min(room, TABLE_PX_MAX[0]), min(area.height - TITLE_PX - gap, TABLE_PX_MAX[1]))
    left = area.left + (area.width - kiosk[0] - table[0] - gate[0] - 2 * gap) // 2
    top = area.top + TITLE_PX
    return Places(
        kiosk=Placed(left, top, *kiosk),
        table=Placed(left + kiosk[0] + gap, top, *table),
        gate=Placed(left + kiosk[0] + table[0] + 2 * gap, top, *gate),
    )


def _panel(height: int, like: tuple[int, int]) -> tuple[int, int]:
    return height * like[0] // like[1], height


class _Rect(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_int), ("w", ctypes.c_int), ("h", ctypes.c_int))


_SDL_INIT_VIDEO: Final = 0x20


def usable_area() -> Area:
    """Of the first display, without docks and panels: as the SDL that will open the windows sees it. Where it cannot be asked, the
    whole X display. Raises OSError when there is none.
    """
    return _by_sdl() or _by_picture()


def _by_sdl() -> Area | None:
    spec = importlib.util.find_spec("kivy")
    if spec is None or spec.origin is None:
        return None
    found = sorted(Path(spec.origin).parent.parent.glob("[Kk]ivy.libs/libSDL2-2*.so*"))
    if not found:
        return None
    sdl = ctypes.CDLL(str(found[0]))
    if sdl.SDL_InitSubSystem(_SDL_INIT_VIDEO) != 0:
        return None
    rect = _Rect()
    failed = sdl.SDL_GetDisplayUsableBounds(0, ctypes.byref(rect))
    sdl.SDL_QuitSubSystem(_SDL_INIT_VIDEO)
    return None if failed or rect.w <= 0 else Area(rect.x, rect.y, rect.w, rect.h)


def _by_picture() -> Area:
    from PIL import ImageGrab

    width, height = ImageGrab.grab(xdisplay=os.environ.get("DISPLAY", "")).size
    return Area(0, 0, width, height)
