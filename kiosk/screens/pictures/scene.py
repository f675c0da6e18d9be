"""The venue by the sea: the attract screen and the products' stage. Made-up, as the venue is."""

from __future__ import annotations

import math

from kiosk.screens.pen import Pen, curve

GONDOLAS = ("coral", "yama", "#FFFFFF", "leaf")


def wheel_at(pen: Pen, x: float, y: float, radius: float, *, line: float, ground: float) -> None:
    """A Ferris wheel of sixteen gondolas on its two legs."""
    pen.stroke([(x, y), (x - radius * 0.52, ground)], "deep", line * 2.1)
    pen.stroke([(x, y), (x + radius * 0.52, ground)], "deep", line * 2.1)
    pen.ring((x, y), radius, "deep", line * 1.3)
    pen.ring((x, y), radius * 0.82, "deep", line * 0.7)
    for index in range(16):
        angle = math.radians(index * 22.5)
        pen.stroke([(x, y), (x + radius * math.sin(angle), y - radius * math.cos(angle))], "deep", line * 0.7)
    pen.disc((x, y), radius * 0.11, "deep")
    side = radius * 0.21
    for index in range(16):
        angle = math.radians(index * 22.5)
        cx, cy = x + radius * math.sin(angle), y - radius * math.cos(angle)
        pen.box(
            cx - side / 2, cy - side / 2, side, side, GONDOLAS[index % 4], radius=side * 0.28, edge="deep", line=line
        )


def tree(pen: Pen, x: float, ground: float, size: float) -> None:
    pen.stroke([(x, ground), (x, ground - size)], "deep", size * 0.2)
    pen.disc((x, ground - size * 1.15), size * 0.72, "leaf_dark")


def bird(pen: Pen, x: float, y: float, size: float, line: float) -> None:
    left = curve((x - size, y), (x - size * 0.7, y - size * 0.32), (x - size * 0.3, y - size * 0.32), (x, y))
    right = curve((x, y), (x + size * 0.3, y - size * 0.32), (x + size * 0.7, y - size * 0.32), (x + size, y))
    pen.stroke([*left, *right], "deep", line)


def waves(pen: Pen, left: float, right: float, y: float, *, length: float, height: float, line: float) -> None:
    points = [
        (
            left + (right - left) * index / 400,
            y + height * math.sin((right - left) * index / 400 / length * 2 * math.pi),
        )
        for index in range(401)
    ]
    pen.stroke(points, "#FFFFFF", line)


def scene(width_px: int, height_px: int, _note: str) -> Pen:
    """240 x 100 in its own units, the horizon at 71; sky above and sea below go on as far as the crop does."""
    tall = height_px / width_px > 0.55
    view = (0.0, -76.0, 240.0, 176.0) if tall else (-2.0, -5.0, 244.0, 97.6)
    pen = Pen(width_px, height_px, view=view, ground="sky", cover=True)
    line = 1.5
    pen.disc((45, 27), 22, "yama")
    # the mountain far off
    pen.poly([(138, 70), (160, 42), (166, 35.5), (174, 33.5), (182, 35.5), (188, 42), (216, 70)], "#B9D3E9")
    pen.poly(
        [(157.5, 45), (166, 35.5), (174, 33.5), (182, 35.5), (191, 45.5), (183, 43), (174.5, 48.5), (166, 44)],
        "#FFFFFF",
    )
    # hills
    pen.poly(
        [
            (-120, 110),
            *curve((-120, 60), (-40, 46), (20, 44), (60, 58)),
            *curve((60, 58), (95, 69), (120, 64), (145, 54)),
            *curve((145, 54), (175, 43), (230, 43), (360, 52)),
            (360, 110),
        ],
        "leaf",
    )
    pen.poly([(144, 110), *curve((144, 62), (170, 50), (215, 46), (360, 54)), (360, 110)], "#2E7C5F")
    for x, size in ((8, 8.0), (68, 10.0), (80, 8.0), (160, 9.5), (214, 9.5), (226, 9.0), (-14, 9.0), (258, 9.0)):
        tree(pen, x, 71, size)
    wheel_at(pen, 107, 35.5, 31, line=line, ground=72)
    # the house with its flag
    pen.stroke([(41, 34), (41, 23)], "deep", line)
    pen.poly([(41, 23), (50, 26.5), (41, 30)], "yama", edge="deep", width=line * 0.8)
    pen.box(24, 48, 36, 26, "#FFFFFF", edge="deep", line=line)
    pen.poly([(19.5, 48.5), (41, 33.5), (62.5, 48.5)], "coral", edge="deep", width=line)
    pen.box(34, 55, 14, 20, "deep", radius=7)
    pen.box(34, 62, 14, 13, "deep")
    bird(pen, 149, 20, 8, line)
    bird(pen, 166, 11.5, 6.5, line)
    # the sea
    pen.box(-200, 71, 640, 300, "sea")
    for index in range(8):
        y = 80 + index * 10
        waves(pen, -80, 320, y, length=24, height=1.5, line=line)
    # the boat
    pen.box(205, 52.5, 8.5, 12, "yama", edge="deep", line=line)
    pen.box(197.5, 61.5, 24, 12, "coral", edge="deep", line=line)
    pen.poly([(185, 72.5), (236, 72.5), (228, 85.5), (193.5, 85.5)], "#FFFFFF", edge="deep", width=line)
    return pen
