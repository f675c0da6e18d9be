"""Flat shapes with soft edges, drawn once into a texture.

Kivy's own shapes are smooth only where the display gives multisampling, which software GL and some panels do not. So shapes are
drawn here with Pillow, three times too large, and averaged: the same picture everywhere, and a frame is a handful of rectangles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from kivy.graphics.texture import Texture
from PIL import Image, ImageDraw

from tickets.look import COLOURS

SCALE: Final = 3

Point = tuple[float, float]


def colour(token: str) -> str:
    """A token's hex, or the hex itself."""
    return COLOURS.get(token, token)


class Pen:
    """Draws in the units of a picture's own box, y down, into an image of `width_px` x `height_px`.

    The box `view` (x, y, width, height) is laid over the image so that all of it is covered: what the picture has beyond the box
    (its bleed) shows where the image is longer.
    """

    def __init__(
        self,
        width_px: int,
        height_px: int,
        *,
        view: tuple[float, float, float, float],
        ground: str,
        cover: bool = True,
        clear: bool = False,
    ) -> None:
        """`clear`: the ground is only where soft edges run out to; what lies behind the picture shows."""
        self.width_px, self.height_px = max(1, width_px), max(1, height_px)
        size = (self.width_px * SCALE, self.height_px * SCALE)
        mode, fill = ("RGBA", colour(ground) + "00") if clear else ("RGB", colour(ground))
        self.image = Image.new(mode, size, fill)
        self._draw = ImageDraw.Draw(self.image)
        x, y, width, height = view
        choose = max if cover else min
        self.unit = choose(size[0] / width, size[1] / height)
        self._dx = size[0] / 2 - (x + width / 2) * self.unit
        self._dy = size[1] / 2 - (y + height / 2) * self.unit

    def _p(self, point: Point) -> Point:
        return (point[0] * self.unit + self._dx, point[1] * self.unit + self._dy)

    def poly(self, points: Sequence[Point], fill: str | None, *, edge: str = "", width: float = 0.0) -> None:
        """A closed shape; its outline has round corners."""
        if fill is not None:
            self._draw.polygon([self._p(point) for point in points], fill=colour(fill))
        if edge and width:
            self.stroke([*points, points[0]], edge, width)

    def stroke(self, points: Sequence[Point], edge: str, width: float) -> None:
        """A line with round ends and joints."""
        ink, w = colour(edge), width * self.unit
        placed = [self._p(point) for point in points]
        for (x0, y0), (x1, y1) in pairwise(placed):
            length = math.hypot(x1 - x0, y1 - y0)
            if length > 0:
                nx, ny = (y1 - y0) / length * w / 2, (x0 - x1) / length * w / 2
                self._draw.polygon(
                    [(x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny)], fill=ink
                )
        for x, y in placed:
            self._draw.ellipse((x - w / 2, y - w / 2, x + w / 2, y + w / 2), fill=ink)

    def disc(self, centre: Point, radius: float, fill: str | None, *, edge: str = "", width: float = 0.0) -> None:
        if edge and width:
            self._ellipse(centre, radius + width / 2, radius + width / 2, edge)
            if fill is None:
                fill = "#FFFFFF"
            self._ellipse(centre, radius - width / 2, radius - width / 2, fill)
        elif fill is not None:
            self._ellipse(centre, radius, radius, fill)

    def ring(self, centre: Point, radius: float, edge: str, width: float) -> None:
        """A circle's line; what is inside shows."""
        x, y = self._p(centre)
        outer = (radius + width / 2) * self.unit
        self._draw.ellipse(
            (x - outer, y - outer, x + outer, y + outer), outline=colour(edge), width=round(width * self.unit)
        )

    def _ellipse(self, centre: Point, rx: float, ry: float, fill: str) -> None:
        x, y = self._p(centre)
        rx, ry = rx * self.unit, ry * self.unit
        self._draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=colour(fill))

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str | None,
        *,
        radius: float = 0.0,
        edge: str = "",
        line: float = 0.0,
    ) -> None:
        """A rectangle with round corners; its line lies half inside, half outside."""
        if edge and line:
            self._rounded(
                x - line / 2, y - line / 2, width + line, height + line, edge, radius + line / 2 if radius else line / 3
            )
            x, y, width, height = x + line / 2, y + line / 2, width - line, height - line
            radius = max(0.0, radius - line / 2)
        if fill is not None:
            self._rounded(x, y, width, height, fill, radius)

    def _rounded(self, x: float, y: float, width: float, height: float, fill: str, radius: float) -> None:
        x0, y0 = self._p((x, y))
        x1, y1 = self._p((x + width, y + height))
        if x1 - x0 < 1 or y1 - y0 < 1:
            return
        limit = min(x1 - x0, y1 - y0) / 2
        self._draw.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), radius=min(radius * self.unit, limit), fill=colour(fill))

    def finished(self) -> Image.Image:
        """The picture in its own size."""
        return self.image.reduce(SCALE)


def curve(start: Point, one: Point, two: Point, end: Point, *, steps: int = 24) -> list[Point]:
    """A cubic Bezier curve as points."""
    points: list[Point] = []
    for index in range(steps + 1):
        t = index / steps
        a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        points.append(
            (
                a * start[0] + b * one[0] + c * two[0] + d * end[0],
                a * start[1] + b * one[1] + c * two[1] + d * end[1],
            )
        )
    return points


def arc(centre: Point, radius: float, from_deg: float, to_deg: float, *, steps: int = 32) -> list[Point]:
    """Points of an arc; 0 is to the right, 90 below."""
    return [
        (
            centre[0] + radius * math.cos(math.radians(from_deg + (to_deg - from_deg) * index / steps)),
            centre[1] + radius * math.sin(math.radians(from_deg + (to_deg - from_deg) * index / steps)),
        )
        for index in range(steps + 1)
    ]


def turned(points: Sequence[Point], centre: Point, degrees: float) -> list[Point]:
    """The points turned about `centre`, clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [
        (
            centre[0] + (x - centre[0]) * cos - (y - centre[1]) * sin,
            centre[1] + (x - centre[0]) * sin + (y - centre[1]) * cos,
        )
        for x, y in points
    ]


def texture_of(image: Image.Image) -> Texture:
    """The image on the graphics card, alpha as Kivy blends it."""
    image = image.convert("RGBA")
    return texture_from(image.tobytes(), image.size)


def texture_from(rgba: bytes, size: tuple[int, int]) -> Texture:
    """Pixels, upper line first, on the graphics card."""
    texture = Texture.create(size=size, colorfmt="rgba")
    texture.blit_buffer(rgba, colorfmt="rgba", bufferfmt="ubyte")
    texture.flip_vertical()
    return texture


def cached(limit: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Keep the textures used last; a kiosk that runs for months must not collect them."""
    return lru_cache(maxsize=limit)
