"""Small line icons on a 24-unit grid, stroke 2, round ends; always beside a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from scanner.screen.box import Box
from scanner.screen.pen import Pen
from scanner.screen.shapes import arc
from scanner.view import Key

GRID: Final = 24
STROKE: Final = 2.0

Strokes = tuple[tuple[tuple[float, float], ...], ...]

CHECK: Final[Strokes] = (((4, 12.5), (9.5, 18), (20, 6)),)
CROSS: Final[Strokes] = (((5, 5), (19, 19)), ((5, 19), (19, 5)))
UNDO: Final[Strokes] = (
    ((8, 4), (3, 9), (8, 14)),
    ((3, 9), (14, 9), (18.5, 11), (20, 14.5), (18.5, 18), (14, 20), (8, 20)),
)
UP: Final[Strokes] = (((12, 20), (12, 4)), ((6, 10), (12, 4), (18, 10)))

OF_KEY: Final[Mapping[Key, Strokes]] = {
    Key.CHOOSE: CHECK,
    Key.SEEN: CHECK,
    Key.DISMISS: CROSS,
    Key.NOT_SEEN: CROSS,
    Key.UNDO: UNDO,
}


def draw_icon(pen: Pen, strokes: Strokes, box: Box, colour: str, *, stroke: float = STROKE) -> None:
    unit = box.width / GRID
    for points in strokes:
        pen.line([(box.x + x * unit, box.y + y * unit) for x, y in points], colour, width=stroke * unit)


def draw_sync(pen: Pen, box: Box, colour: str) -> None:
    """Two arrows around a circle: when this was last brought up to date."""
    unit = box.width / GRID
    for start in (-70, 110):
        pen.line(arc(box, start=start, end=start + 140, radius=36, steps=14), colour, width=STROKE * unit)
    for points in (((20.5, 3.5), (20.5, 9), (15, 9)), ((3.5, 20.5), (3.5, 15), (9, 15))):
        pen.line([(box.x + x * unit, box.y + y * unit) for x, y in points], colour, width=STROKE * unit)
