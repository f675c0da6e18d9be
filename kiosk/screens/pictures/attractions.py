"""What the venue sells, one picture each: 100 x 120 in its own units, the subject between 10 and 110 down, all else bleed.

A wide crop (a card with the picture on top) shows the same subject between more sky and ground on both sides.
"""

from __future__ import annotations

from kiosk.screens.pen import Pen, curve, turned
from kiosk.screens.pictures.scene import tree, wheel_at

LINE = 2.0


def _pen(width_px: int, height_px: int, *, ground: str, subject: tuple[float, float, float, float]) -> Pen:
    """All of the subject is in the picture, whatever the crop; the rest is bleed."""
    return Pen(width_px, height_px, view=subject, ground=ground, cover=False)


def castle(width_px: int, height_px: int, _note: str) -> Pen:
    pen = _pen(width_px, height_px, ground="sky", subject=(0, 6, 100, 104))
    pen.disc((84, 32), 17, "yama")
    pen.poly(
        [
            (-300, 400),
            *curve((-300, 60), (-120, 66), (-40, 68), (10, 74)),
            *curve((10, 74), (40, 84), (70, 84), (110, 76)),
            *curve((110, 76), (160, 66), (240, 66), (400, 60)),
            (400, 400),
        ],
        "leaf",
    )
    for x in (-6.0, -26.0, -50.0, -82.0, 106.0, 128.0, 152.0, 186.0):
        pen.disc((x, 92), 11, "leaf_dark")
    pen.poly([(36, 95), (64, 95), (80, 400), (20, 400)], "sand")
    pen.box(28, 46, 44, 22, "#FFFFFF", edge="deep", line=LINE)
    for index in range(5):
        left = 30.5 + index * 7.8
        pen.poly(
            [*curve((left, 68), (left + 0.5, 75), (left + 7.3, 75), (left + 7.8, 68))],
            "yama",
            edge="deep",
            width=LINE * 0.7,
        )
    pen.disc((50, 55), 6.4, "yama", edge="deep", width=LINE)
    for x in (8, 70):
        pen.box(x, 44, 22, 54, "#FFFFFF", edge="deep", line=LINE)
        pen.box(x + 7.5, 56, 7, 11, "deep", radius=3.5)
        pen.stroke([(x + 11, 27), (x + 11, 10)], "deep", LINE)
        pen.poly([(x + 11, 10), (x + 24, 15), (x + 11, 20)], "yama", edge="deep", width=LINE * 0.8)
        pen.poly([(x - 3.5, 44.5), (x + 11, 25), (x + 25.5, 44.5)], "coral", edge="deep", width=LINE)
    return pen


def wheel(width_px: int, height_px: int, _note: str) -> Pen:
    pen = _pen(width_px, height_px, ground="sky", subject=(2, 8, 96, 104))
    pen.disc((93, 26), 15, "coral")
    pen.poly(
        [
            (-300, 400),
            *curve((-300, 84), (-60, 96), (20, 92), (70, 97)),
            *curve((70, 97), (160, 104), (240, 92), (400, 84)),
            (400, 400),
        ],
        "leaf",
    )
    for x, size in ((-34, 9.0), (-62, 11.0), (136, 10.0), (166, 8.0), (-96, 8.0), (204, 11.0)):
        tree(pen, x, 99, size)
    wheel_at(pen, 50, 54, 38, line=1.7, ground=104)
    return pen


def zipline(width_px: int, height_px: int, _note: str) -> Pen:
    pen = _pen(width_px, height_px, ground="sky", subject=(4, 8, 92, 100))
    pen.disc((20, 28), 13, "yama")
    pen.poly(
        [
            (-300, 400),
            *curve((-300, 70), (-120, 82), (0, 90), (60, 84)),
            *curve((60, 84), (140, 74), (240, 76), (400, 66)),
            (400, 400),
        ],
        "leaf",
    )
    for x, y, size in (
        (86, 96, 30.0),
        (72, 104, 22.0),
        (14, 108, 24.0),
        (112, 104, 26.0),
        (136, 98, 30.0),
        (-12, 104, 28.0),
        (-40, 100, 24.0),
        (164, 106, 24.0),
        (-70, 106, 30.0),
        (196, 100, 28.0),
    ):
        pen.poly(
            [(x, y - size), (x + size * 0.42, y), (x - size * 0.42, y)], "leaf_dark", edge="deep", width=LINE * 0.7
        )
    pen.stroke([(-200, -18.2), (300, 81.8)], "deep", LINE)
    pen.disc((47, 31.5), 5, "deep")
    pen.stroke([(47, 31.5), (44, 45)], "deep", LINE * 1.1)
    # the rider: arms up, legs out
    pen.stroke([(44, 45), (50, 58)], "deep", 11)
    pen.stroke([(44, 45), (50, 58)], "coral", 7.4)
    pen.stroke([(50, 60), (40, 74)], "deep", 14)
    pen.stroke([(40, 74), (56, 84), (70, 80)], "deep", 10.5)
    pen.stroke([(50, 60), (40, 74)], "ai", 10)
    pen.stroke([(40, 74), (56, 84), (70, 80)], "ai", 6.6)
    pen.disc((58, 50), 8.6, "#F3B79C", edge="deep", width=LINE)
    pen.poly([*curve((49.4, 49.5), (49, 37.5), (66.5, 37), (66.8, 49.5))], "yama", edge="deep", width=LINE)
    return pen


def _bottle(pen: Pen, x: float, glass: str, degrees: float) -> None:
    centre = (x, 66.0)
    body = [
        (x - 6, 24),
        (x + 6, 24),
        (x + 6, 38),
        *curve((x + 6, 38), (x + 6.5, 46), (x + 14, 48), (x + 14, 58)),
        (x + 14, 100),
        *curve((x + 14, 100), (x + 14, 106), (x + 10, 106), (x + 8, 106)),
        (x - 8, 106),
        *curve((x - 8, 106), (x - 10, 106), (x - 14, 106), (x - 14, 100)),
        (x - 14, 58),
        *curve((x - 14, 58), (x - 14, 48), (x - 6.5, 46), (x - 6, 38)),
    ]
    pen.poly(turned(body, centre, degrees), glass, edge="deep", width=LINE)
    label = [(x - 14, 64), (x + 14, 64), (x + 14, 88), (x - 14, 88)]
    pen.poly(turned(label, centre, degrees), "#FFFFFF", edge="deep", width=LINE)
    for y in (72, 80):
        wave = [
            *curve((x - 7, y), (x - 4, y - 4), (x - 3, y - 4), (x, y)),
            *curve((x, y), (x + 3, y + 4), (x + 4, y + 4), (x + 7, y)),
        ]
        pen.stroke(turned(wave, centre, degrees), "sea", LINE)
    marble = turned([(x, 52)], centre, degrees)[0]
    pen.disc(marble, 4.6, "#FFFFFF", edge="deep", width=LINE)
    cap = [(x - 9, 15), (x + 9, 15), (x + 9, 24), (x - 9, 24)]
    pen.poly(turned(cap, centre, degrees), "coral", edge="deep", width=LINE)


def ramune(width_px: int, height_px: int, _note: str) -> Pen:
    pen = _pen(width_px, height_px, ground="yama_tint", subject=(2, 8, 96, 104))
    pen.disc((50, 62), 49, "sky")
    _bottle(pen, 30, "#9CCDE6", -9)
    _bottle(pen, 70, "#BFE5DA", 9)
    return pen


def ticket(width_px: int, height_px: int, _note: str) -> Pen:
    """A product whose picture is not known here."""
    pen = _pen(width_px, height_px, ground="yama_tint", subject=(4, 14, 92, 92))
    pen.disc((78, 34), 12, "coral")
    for degrees, fill in ((-24, "#DCE4F3"), (-9, "#FFFFFF"), (8, "yama")):
        shape = [(22, 30), (74, 30), (74, 90), (22, 90)]
        pen.poly(turned(shape, (48, 60), degrees), fill, edge="deep", width=LINE)
    for index in range(7):
        start = turned([(26 + index * 7, 72), (29 + index * 7, 72)], (48, 60), 8)
        pen.stroke(start, "deep", LINE)
    pen.stroke(turned([(32, 46), (62, 46)], (48, 60), 8), "deep", LINE * 2)
    pen.stroke(turned([(32, 57), (50, 57)], (48, 60), 8), "deep", LINE * 2)
    return pen
