"""Millimetres to pixels of the panel this process draws on. Chosen once at start, before the first widget."""

from __future__ import annotations

from typing import TypeVar

from tickets.look import KIOSK_PANELS, Panel

T = TypeVar("T")

_panel: Panel = KIOSK_PANELS[0]


def use(panel: Panel) -> None:
    """Draw for `panel` from now on."""
    global _panel  # noqa: PLW0603 one process, one panel
    _panel = panel


def panel() -> Panel:
    return _panel


def panel_of(width_px: int, height_px: int, px_per_mm: float | None = None) -> Panel:
    """The known panel of this size, or one of the given density; a window of another size gets the density that makes the
    nearest known layout fit into it.
    """
    for known in KIOSK_PANELS:
        if (known.width_px, known.height_px) == (width_px, height_px) and px_per_mm in {None, known.px_per_mm}:
            return known
    if px_per_mm is None:
        like = KIOSK_PANELS[0] if height_px > width_px else KIOSK_PANELS[-1]
        px_per_mm = min(width_px / like.width_mm, height_px / like.height_mm)
    return Panel("kiosk", width_px, height_px, px_per_mm)


def px(mm: float) -> int:
    """Whole pixels, so that no edge is blurred."""
    return round(mm * _panel.px_per_mm)


def pick(portrait: T, landscape: T) -> T:
    """The value for the way this panel stands."""
    return portrait if _panel.portrait else landscape


def rows(
    area: tuple[float, float, float, float], count: int, *, columns: int = 1, gap: float = 3.5, height_max: float
) -> list[tuple[float, float, float, float]]:
    """`count` boxes in `area` (mm), row by row, no higher than `height_max`."""
    x, y, width, height = area
    lines = max(1, -(-count // columns))
    row = min(height_max, (height - gap * (lines - 1)) / lines)
    column = (width - gap * (columns - 1)) / columns
    return [
        (x + (index % columns) * (column + gap), y + (index // columns) * (row + gap), column, row)
        for index in range(count)
    ]
