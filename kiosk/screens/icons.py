"""Icons on a grid of 24: lines, arcs and circles, round ends, no fill. Always beside a word."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from kivy.graphics import Color, Rectangle
from kivy.graphics.texture import Texture
from kivy.properties import NumericProperty, StringProperty

from kiosk.screens.pen import Pen, arc, texture_of
from kiosk.screens.placed import Placed
from tickets.look import rgb

Draw = Callable[[Pen, float], None]
INK: Final = "#FFFFFF"


def _lines(*strokes: list[tuple[float, float]]) -> Draw:
    def draw(pen: Pen, width: float) -> None:
        for points in strokes:
            pen.stroke(points, INK, width)

    return draw


def _box(x: float, y: float, w: float, h: float, r: float) -> list[tuple[float, float]]:
    return [
        *arc((x + r, y + r), r, 180, 270, steps=6),
        *arc((x + w - r, y + r), r, 270, 360, steps=6),
        *arc((x + w - r, y + h - r), r, 0, 90, steps=6),
        *arc((x + r, y + h - r), r, 90, 180, steps=6),
        (x, y + r),
    ]


def _circle(x: float, y: float, r: float) -> list[tuple[float, float]]:
    return arc((x, y), r, 0, 360, steps=48)


def _ellipse(x: float, y: float, rx: float, ry: float) -> list[tuple[float, float]]:
    return [(x + (px - x) * rx / ry, py) for px, py in _circle(x, y, ry)]


ICONS: Final[dict[str, Draw]] = {
    "back": _lines([(15, 4), (8, 12), (15, 20)]),
    "next": _lines([(9, 4), (16, 12), (9, 20)]),
    "start_over": _lines([(6, 4), (6, 20)], [(18, 4), (11, 12), (18, 20)]),
    "lower": _lines([(12, 3), (12, 15)], [(6.5, 10), (12, 15.5), (17.5, 10)], [(4, 21), (20, 21)]),
    "raise": _lines([(12, 21), (12, 9)], [(6.5, 14), (12, 8.5), (17.5, 14)], [(4, 3), (20, 3)]),
    "globe": _lines(
        _circle(12, 12, 9), _ellipse(12, 12, 4, 9), [(3, 12), (21, 12)], [(4.6, 7), (19.4, 7)], [(4.6, 17), (19.4, 17)]
    ),
    "bell": _lines(
        [*arc((12, 16.5), 8, 180, 360, steps=24)],
        [(2.5, 20.5), (21.5, 20.5)],
        [(4, 16.5), (20, 16.5)],
        [(12, 8), (12, 5)],
        [(9.5, 4.5), (14.5, 4.5)],
    ),
    "minus": _lines([(5, 12), (19, 12)]),
    "plus": _lines([(5, 12), (19, 12)], [(12, 5), (12, 19)]),
    "tick": _lines([(4, 13), (9.5, 18.5), (20, 6)]),
    "cross": _lines([(5, 5), (19, 19)], [(19, 5), (5, 19)]),
    "clock": _lines(_circle(12, 12, 9), [(12, 6.5), (12, 12), (16, 14)]),
    "pencil": _lines([(4, 20), (5, 15.5), (16, 4.5), (19.5, 8), (8.5, 19), (4, 20)], [(13.5, 7), (17, 10.5)]),
    "receipt": _lines(
        [
            (5, 21),
            (5, 3),
            (19, 3),
            (19, 21),
            (16.7, 19),
            (14.3, 21),
            (12, 19),
            (9.7, 21),
            (7.3, 19),
            (5, 21),
        ],
        [(9, 8), (15, 8)],
        [(9, 13), (15, 13)],
    ),
    "card": _lines(_box(2.5, 5, 19, 14, 2), [(2.5, 10), (21.5, 10)], [(6, 15), (10, 15)]),
    "tap": _lines(_box(2.5, 4, 10, 16, 2), arc((12, 12), 5, -40, 40, steps=12), arc((12, 12), 9, -40, 40, steps=16)),
    "yen": _lines(
        _circle(12, 12, 9),
        [(8, 7), (12, 12), (16, 7)],
        [(12, 12), (12, 17.5)],
        [(8.5, 12.5), (15.5, 12.5)],
        [(8.5, 15), (15.5, 15)],
    ),
    "phone": _lines(
        _box(6, 2, 12, 20, 2),
        [(10.5, 18.5), (13.5, 18.5)],
        [(9.5, 6.5), (14.5, 6.5), (14.5, 11.5), (9.5, 11.5), (9.5, 6.5)],
    ),
    "again": _lines(
        arc((12, 12), 8.5, 190, 340, steps=24),
        [(20.5, 3.5), (20.2, 9), (14.8, 8.8)],
        arc((12, 12), 8.5, 10, 160, steps=24),
        [(3.5, 20.5), (3.8, 15), (9.2, 15.2)],
    ),
    "ticket": _lines(
        [
            (2.5, 5),
            (21.5, 5),
            (21.5, 9),
            *arc((21.5, 12), 3, 270, 90, steps=10),
            (21.5, 19),
            (2.5, 19),
            (2.5, 15),
            *arc((2.5, 12), 3, 90, -90, steps=10),
            (2.5, 5),
        ],
        [(15, 7.5), (15, 9)],
        [(15, 11.3), (15, 12.8)],
        [(15, 15), (15, 16.5)],
    ),
    "plenty": _lines(_circle(12, 12, 8.5)),
    "few": _lines([(12, 3.5), (21.5, 20), (2.5, 20), (12, 3.5)]),
    "sold_out": _lines([(4.5, 4.5), (19.5, 19.5)], [(19.5, 4.5), (4.5, 19.5)]),
    "unknown": _lines([*arc((12, 8.5), 4.5, 180, 400, steps=16), (12, 14.5)], [(12, 19.5), (12, 19.6)]),
}


@lru_cache(maxsize=96)
def _drawn(name: str, side_px: int, stroke: float) -> Texture:
    pen = Pen(side_px, side_px, view=(0, 0, 24, 24), ground=INK, clear=True)
    ICONS[name](pen, stroke)
    return texture_of(pen.finished())


class Icon(Placed):
    """An icon by name, as large as its box, in one colour."""

    name = StringProperty("")
    tone = StringProperty("ink")
    stroke = NumericProperty(2.0)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("name", "tone", "stroke", "pos", "size"):
            self.fbind(name, self._draw)
        self._draw()

    def _draw(self, *_: object) -> None:
        self.canvas.clear()
        side = int(min(self.width, self.height))
        if not self.name or side <= 1:
            return
        with self.canvas:
            Color(*rgb(self.tone))
            Rectangle(
                texture=_drawn(self.name, side, float(self.stroke)),
                pos=(round(self.center_x - side / 2), round(self.center_y - side / 2)),
                size=(side, side),
            )
