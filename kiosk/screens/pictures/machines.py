"""Instructions: what to do at the terminal, at the printer, at the gate. 240 x 150 in their own units on a stage that shows behind."""

from __future__ import annotations

import math
from functools import lru_cache

from kivy.graphics.texture import Texture

from kiosk.screens.pen import Pen, arc, texture_of, turned

LINE = 3.4


def _pen(width_px: int, height_px: int, *, height: float = 150.0) -> Pen:
    return Pen(width_px, height_px, view=(0, 0, 240, height), ground="ai_tint", cover=False, clear=True)


def _arrow(pen: Pen, x: float, from_y: float, to_y: float) -> None:
    way = 1 if to_y > from_y else -1
    pen.stroke([(x, from_y), (x, to_y)], "arrow", 6)
    pen.stroke([(x - 12, to_y - 13 * way), (x, to_y), (x + 12, to_y - 13 * way)], "arrow", 6)


def _terminal(pen: Pen, x: float, y: float) -> None:
    pen.box(x, y, 90, 84, "deep", radius=10)
    pen.box(x + 9, y + 13, 72, 26, "#FFFFFF", radius=4)
    pen.ring((x + 45, y + 62), 15, "yama", 3)
    for radius in (4.0, 8.5, 13.0):
        pen.stroke(arc((x + 35, y + 62), radius + 3, -38, 38, steps=14), "yama", 2.6)


def _screen_dots(pen: Pen, x: float, y: float) -> None:
    for index in range(4):
        pen.disc((x + 27 + index * 12, y + 26), 3.2, "deep")


def _card(pen: Pen, x: float, y: float, degrees: float) -> None:
    centre = (x + 48, y + 31)

    def at(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return turned(points, centre, degrees)

    corners = [
        *arc((x + 6, y + 6), 6, 180, 270, steps=8),
        *arc((x + 90, y + 6), 6, 270, 360, steps=8),
        *arc((x + 90, y + 56), 6, 0, 90, steps=8),
        *arc((x + 6, y + 56), 6, 90, 180, steps=8),
    ]
    pen.poly(at(corners), "#FFFFFF", edge="deep", width=LINE)
    pen.poly(at([(x + 1.7, y + 14), (x + 94.3, y + 14), (x + 94.3, y + 26), (x + 1.7, y + 26)]), "leaf")
    pen.stroke(at([(x + 13, y + 37), (x + 38, y + 37)]), "line", 5)
    pen.stroke(at([(x + 13, y + 47), (x + 54, y + 47)]), "line", 5)


def present_card(width_px: int, height_px: int, _note: str) -> Pen:
    pen = _pen(width_px, height_px)
    _card(pen, 72, 10, -9)
    _terminal(pen, 75, 60)
    _arrow(pen, 198, 44, 106)
    return pen


def processing(width_px: int, height_px: int, _note: str) -> Pen:
    pen = _pen(width_px, height_px)
    _card(pen, 72, 14, 0)
    _terminal(pen, 75, 54)
    _screen_dots(pen, 75, 54)
    return pen


def enter_pin(width_px: int, height_px: int, _note: str) -> Pen:
    pen = _pen(width_px, height_px)
    pen.box(70, 14, 100, 124, "deep", radius=11)
    pen.box(80, 26, 80, 26, "#FFFFFF", radius=4)
    for index in range(4):
        pen.disc((98 + index * 15, 39), 3.6, "deep")
    for row in range(4):
        for column in range(3):
            pen.box(82 + column * 27, 62 + row * 17.5, 22, 12.5, "ai_tint", radius=3)
    _arrow(pen, 198, 50, 104)
    return pen


def remove_card(width_px: int, height_px: int, _note: str) -> Pen:
    pen = _pen(width_px, height_px)
    _card(pen, 72, 10, 6)
    _terminal(pen, 75, 60)
    pen.stroke([(110, 87), (117, 93), (131, 79)], "matsu", 4.4)
    _arrow(pen, 198, 106, 44)
    return pen


def _slot(pen: Pen, y: float, lamp: str) -> None:
    pen.box(62, y, 116, 26, "deep", radius=7)
    pen.box(74, y + 18, 92, 5, "sumi", radius=2.5)
    pen.disc((167, y + 8.5), 3.2, lamp)


def _paper(pen: Pen, y: float, height: float) -> None:
    pen.box(82, y, 76, height, "#FFFFFF", edge="deep", line=2.4)
    tear = y + height - 19
    pen.stroke([(91, y + 9), (125, y + 9)], "deep", 5)
    pen.stroke([(91, y + 18), (113, y + 18)], "line", 4.4)
    pen.stroke([(91, y + 27), (119, y + 27)], "line", 4.4)
    pen.box(136, y + 5, 16, 16, "deep")
    pen.box(139, y + 8, 10, 10, "#FFFFFF")
    pen.box(141.6, y + 10.6, 4.8, 4.8, "deep")
    for index in range(10):
        pen.stroke([(90 + index * 6.4, tear), (92.6 + index * 6.4, tear)], "deep", 1.6)
    for x, from_deg in ((82.0, -90.0), (158.0, 90.0)):
        pen.disc((x, tear), 5.0, "ai_tint")
        pen.stroke(arc((x, tear), 5.0, from_deg, from_deg + 180, steps=16), "deep", 2.4)
        pen.box(x - 7 if x < 100 else x + 1.3, tear - 6, 5.7, 12, "ai_tint")


def printer(width_px: int, height_px: int, _note: str) -> Pen:
    pen = _pen(width_px, height_px, height=118)
    _paper(pen, 40, 62)
    _slot(pen, 18, "yama")
    _arrow(pen, 190, 54, 92)
    return pen


def printer_empty(width_px: int, height_px: int, _note: str) -> Pen:
    """A roll that has to be put in."""
    pen = _pen(width_px, height_px, height=118)
    _slot(pen, 66, "coral")
    pen.disc((120, 34), 24, "#FFFFFF", edge="deep", width=2.4)
    pen.disc((120, 34), 8, "ai_tint", edge="deep", width=2.4)
    for radius in (13.0, 18.5):
        pen.stroke(arc((120, 34), radius, 20, 200, steps=24), "line", 1.6)
    pen.poly([(120, 56.8), (143.5, 34), (143.5, 62), (120, 62)], "#FFFFFF")
    pen.stroke([(143.9, 34), (143.9, 66)], "deep", 2.4)
    pen.stroke([(120, 58), (120, 66)], "deep", 2.4)
    _arrow(pen, 190, 26, 64)
    return pen


def gate(width_px: int, height_px: int, _note: str) -> Pen:
    """A ticket held to the reader of a gate."""
    pen = _pen(width_px, height_px, height=150)
    pen.box(40, 146, 160, 200, "deep", radius=4)
    pen.box(72, 84, 96, 66, "deep", radius=12)
    pen.box(84, 95, 72, 44, "#FFFFFF", radius=6)
    for x, y, sx, sy in ((93.0, 103.0, 1, 1), (147, 103, -1, 1), (93, 131, 1, -1), (147, 131, -1, -1)):
        pen.stroke([(x, y + 8 * sy), (x, y), (x + 8 * sx, y)], "yama", 3.4)
    pen.stroke([(104, 117), (136, 117)], "arrow", 2.6)
    centre = (112.0, 42.0)
    pen.poly(turned([(66, 18), (158, 18), (158, 70), (66, 70)], centre, -7), "#FFFFFF", edge="deep", width=LINE)
    pen.poly(turned([(118, 26), (150, 26), (150, 58), (118, 58)], centre, -7), "deep")
    pen.poly(turned([(123, 31), (145, 31), (145, 53), (123, 53)], centre, -7), "#FFFFFF")
    pen.poly(turned([(129, 37), (139, 37), (139, 47), (129, 47)], centre, -7), "deep")
    for y, right, tone in ((29.0, 106.0, "deep"), (39.0, 96.0, "line"), (48.0, 101.0, "line")):
        pen.stroke(turned([(76, y), (right, y)], centre, -7), tone, 4.6)
    for index in range(11):
        pen.stroke(turned([(74 + index * 7.4, 63), (77 + index * 7.4, 63)], centre, -7), "deep", 1.6)
    _arrow(pen, 198, 34, 92)
    return pen


@lru_cache(maxsize=4)
def logo_texture(side_px: int) -> Texture:
    """The made-up venue's mark."""
    pen = Pen(side_px, side_px, view=(0, 0, 40, 40), ground="ai", clear=True)
    pen.disc((20, 20), 20, "ai")
    pen.disc((20, 15), 7, "yama")
    for y in (22.0, 28.5):
        pen.poly([(4, y), (36, y), (36, y + 6), (4, y + 6)], "ai") if y < 25 else None
        points = [(6 + index * 0.28, y + 2.2 - 1.9 * math.sin(index / 100 * 6 * math.pi)) for index in range(101)]
        pen.stroke(points, "#FFFFFF", 2.5)
    return texture_of(pen.finished())
