"""The shapes of the verdicts: each says its meaning without colour and without words, from across the hall.

Drawn into a square box (mm), in one colour on one ground; a hole is the ground's colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from kivy.graphics import Color, Mesh, Quad, SmoothLine

from scanner.screen.box import Box
from scanner.screen.pen import Pen
from tickets.admission import Reason, VerdictKind
from tickets.look import rgb


class Shape(StrEnum):
    RING = "ring"
    AGAIN = "again"
    TRIANGLE = "triangle"
    CROSS = "cross"
    CALENDAR = "calendar"
    CLOCK = "clock"
    SIGNPOST = "signpost"
    YEN = "yen"
    SWAP = "swap"
    QUESTION = "question"
    SHIELD = "shield"


_REFUSALS: Final[Mapping[Reason, Shape]] = {
    Reason.NOT_TODAY: Shape.CALENDAR,
    Reason.TOO_EARLY: Shape.CLOCK,
    Reason.TOO_LATE: Shape.CLOCK,
    Reason.WRONG_GATE: Shape.SIGNPOST,
    Reason.UNPAID: Shape.YEN,
    Reason.PAYMENT_UNKNOWN: Shape.YEN,
    Reason.REFUNDED: Shape.YEN,
    Reason.TRANSFERRED: Shape.SWAP,
    Reason.TRANSFER_PENDING: Shape.SWAP,
    Reason.UNKNOWN: Shape.QUESTION,
    Reason.NO_ANSWER: Shape.QUESTION,
    Reason.NOT_INSIDE: Shape.QUESTION,
    Reason.DATA_OLD: Shape.QUESTION,
    Reason.FORGED: Shape.SHIELD,
}


def shape_of(verdict: VerdictKind, reason: Reason | None) -> Shape:
    """Refusals without a shape of their own are the cross."""
    match verdict:
        case VerdictKind.ADMIT:
            return Shape.RING
        case VerdictKind.ADMIT_AGAIN:
            return Shape.AGAIN
        case VerdictKind.ATTENTION:
            return Shape.TRIANGLE
        case _:
            return _REFUSALS.get(reason, Shape.CROSS) if reason is not None else Shape.CROSS


def draw_shape(pen: Pen, shape: Shape, box: Box, colour: str, ground: str) -> None:
    _DRAW[shape](pen, box, colour, ground)


def _at(box: Box, x: float, y: float) -> tuple[float, float]:
    """A point in hundredths of the box."""
    return box.x + box.width * x / 100, box.y + box.height * y / 100


def _part(box: Box, x: float, y: float, width: float, height: float) -> Box:
    left, top = _at(box, x, y)
    return Box(left, top, box.width * width / 100, box.height * height / 100)


def _ring(pen: Pen, box: Box, colour: str, ground: str) -> None:
    pen.ellipse(_part(box, 1, 1, 98, 98), colour)
    pen.ellipse(_part(box, 14.3, 14.3, 71.4, 71.4), ground)


def _cross(pen: Pen, box: Box, colour: str, _ground: str) -> None:
    for points in ([_at(box, 9.5, 9.5), _at(box, 90.5, 90.5)], [_at(box, 9.5, 90.5), _at(box, 90.5, 9.5)]):
        pen.line(points, colour, width=box.width * 0.155)


def arc(box: Box, *, start: float, end: float, radius: float, steps: int = 72) -> list[tuple[float, float]]:
    """Points on a circle around the box's middle; degrees clockwise from the top, `radius` in hundredths of the width."""
    x, y = box.middle
    points = []
    for n in range(steps + 1):
        angle = math.radians(start + (end - start) * n / steps)
        points.append((x + box.width * radius / 100 * math.sin(angle), y - box.height * radius / 100 * math.cos(angle)))
    return points


def _again(pen: Pen, box: Box, colour: str, _ground: str) -> None:
    """Three quarters of a circle with an arrow head: in again."""
    circle = _part(box, 1, 7, 98, 98)
    pen.line(arc(circle, start=72, end=354, radius=37.5), colour, width=box.width * 0.145)
    # The head points on along the circle, clockwise past the top.
    _polygon(pen, [_at(box, 80, 19.3), _at(box, 47, 0), _at(box, 47, 38.6)], colour)


def _triangle(pen: Pen, box: Box, colour: str, ground: str) -> None:
    corners = [_at(box, 50, 3), _at(box, 98, 95), _at(box, 2, 95)]
    _polygon(pen, corners, colour)
    pen.line([*corners, corners[0]], colour, width=box.width * 0.05, close=True)
    pen.line([_at(box, 50, 33), _at(box, 50, 62)], ground, width=box.width * 0.115)
    pen.ellipse(_part(box, 43, 72.5, 14, 14), ground)


def _calendar(pen: Pen, box: Box, colour: str, ground: str) -> None:
    pen.fill(_part(box, 5, 12, 90, 86), colour, radius=box.width * 0.08)
    pen.fill(_part(box, 13, 37, 74, 53), ground, radius=box.width * 0.03)
    for x in (27, 73):
        pen.line([_at(box, x, 7), _at(box, x, 21)], ground, width=box.width * 0.17)
        pen.line([_at(box, x, 6), _at(box, x, 20)], colour, width=box.width * 0.09)
    for points in ([_at(box, 36, 50), _at(box, 64, 77)], [_at(box, 36, 77), _at(box, 64, 50)]):
        pen.line(points, colour, width=box.width * 0.1)


def _clock(pen: Pen, box: Box, colour: str, ground: str) -> None:
    pen.ellipse(_part(box, 1, 1, 98, 98), colour)
    pen.ellipse(_part(box, 12, 12, 76, 76), ground)
    pen.line([_at(box, 50, 26), _at(box, 50, 51), _at(box, 68, 62)], colour, width=box.width * 0.1)


def _signpost(pen: Pen, box: Box, colour: str, ground: str) -> None:
    pen.line([_at(box, 50, 5), _at(box, 50, 95)], colour, width=box.width * 0.1)
    right = [_at(box, 14, 12), _at(box, 78, 12), _at(box, 97, 26), _at(box, 78, 40), _at(box, 14, 40)]
    left = [_at(box, 86, 50), _at(box, 22, 50), _at(box, 3, 64), _at(box, 22, 78), _at(box, 86, 78)]
    for board in (right, left):
        pen.line(board, ground, width=box.width * 0.07, close=True)
        _polygon(pen, board, colour)
        pen.line(board, colour, width=box.width * 0.03, close=True)


def _yen(pen: Pen, box: Box, colour: str, _ground: str) -> None:
    width = box.width * 0.125
    pen.line([_at(box, 15, 8), _at(box, 50, 50), _at(box, 85, 8)], colour, width=width)
    pen.line([_at(box, 50, 50), _at(box, 50, 93)], colour, width=width)
    for y in (54, 73):
        pen.line([_at(box, 20, y), _at(box, 80, y)], colour, width=width * 0.85)


def _swap(pen: Pen, box: Box, colour: str, _ground: str) -> None:
    """To one side and back: this right is on its way to, or with, somebody else."""
    width = box.width * 0.13
    pen.line([_at(box, 8, 30), _at(box, 88, 30)], colour, width=width)
    pen.line([_at(box, 68, 9), _at(box, 91, 30), _at(box, 68, 51)], colour, width=width)
    pen.line([_at(box, 92, 72), _at(box, 12, 72)], colour, width=width)
    pen.line([_at(box, 32, 51), _at(box, 9, 72), _at(box, 32, 93)], colour, width=width)


def _question(pen: Pen, box: Box, colour: str, _ground: str) -> None:
    bowl = _part(box, 0, -21, 100, 100)
    stem = [*arc(bowl, start=-88, end=118, radius=25), _at(box, 51, 56), _at(box, 50, 66)]
    pen.line(stem, colour, width=box.width * 0.145)
    pen.ellipse(_part(box, 41.5, 80, 17, 17), colour)


def _shield(pen: Pen, box: Box, colour: str, ground: str) -> None:
    outline = [_at(box, 50, 2), _at(box, 91, 15.5), _at(box, 91, 50)]
    # A quarter of an ellipse that comes to a point: two such arcs are the lower half of a shield.
    for n in range(1, 25):
        t = n / 24
        outline.append(_at(box, 91 - 41 * t**1.7, 50 + 48 * (1 - (1 - t) ** 1.55)))
    outline += [
        _at(box, 100 - (x - box.x) * 100 / box.width, (y - box.y) * 100 / box.height)
        for x, y in reversed(outline[1:-1])
    ]
    _polygon(pen, outline, colour)
    pen.line(outline, colour, width=box.width * 0.02, close=True)
    for points in ([_at(box, 33, 32), _at(box, 67, 66)], [_at(box, 33, 66), _at(box, 67, 32)]):
        pen.line(points, ground, width=box.width * 0.125)


def _polygon(pen: Pen, points: list[tuple[float, float]], colour: str) -> None:
    """A filled convex polygon, fanned from its middle."""
    middle = (sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points))
    corners = [pen.point(*point) for point in (middle, *points, points[0])]
    vertices = [value for x, y in corners for value in (x, y, 0.0, 0.0)]
    Color(*rgb(colour))
    Mesh(vertices=vertices, indices=list(range(len(corners))), mode="triangle_fan")
    SmoothLine(points=[value for corner in corners[1:] for value in corner], width=1.0)  # takes the steps off its edges


def hazard_stripes(pen: Pen, box: Box, colour: str) -> None:
    """Slanted bars across the whole of `box`, cut off at its ends."""
    pitch, slant = box.height * 2.35, box.height * 0.95
    Color(*rgb(colour))
    x = box.x - slant
    while x < box.right:
        lower_left, lower_right = max(box.x, x), min(box.right, x + pitch / 2)
        upper_left, upper_right = max(box.x, x + slant), min(box.right, x + pitch / 2 + slant)
        if upper_right > upper_left or lower_right > lower_left:
            lower_right, upper_right = max(lower_left, lower_right), max(upper_left, upper_right)
            points = (
                *pen.point(lower_left, box.bottom),
                *pen.point(lower_right, box.bottom),
                *pen.point(min(upper_right, box.right), box.y),
                *pen.point(min(upper_left, box.right), box.y),
            )
            Quad(points=points)
        x += pitch


def person(pen: Pen, box: Box, colour: str) -> None:
    """Head and shoulders, as on the sign of every lift."""
    head = box.width * 0.52
    pen.ellipse(Box(box.x + (box.width - head) / 2, box.y, head, head), colour)
    shoulders = Box(box.x, box.y + head * 1.18, box.width, box.height - head * 1.18)
    left, bottom = pen.point(shoulders.x, shoulders.bottom)
    points = [(left, bottom)]
    for n in range(33):
        angle = math.pi * (1 - n / 32)
        points.append(
            (
                left + pen.px(shoulders.width) * (1 + math.cos(angle)) / 2,
                bottom + pen.px(shoulders.height) * math.sin(angle),
            )
        )
    Color(*rgb(colour))
    vertices = [value for x, y in ((left + pen.px(shoulders.width) / 2, bottom), *points) for value in (x, y, 0.0, 0.0)]
    Mesh(vertices=vertices, indices=list(range(len(points) + 1)), mode="triangle_fan")
    SmoothLine(points=[value for point in points[1:] for value in point], width=1.0)


_DRAW: Final[Mapping[Shape, Callable[[Pen, Box, str, str], None]]] = {
    Shape.RING: _ring,
    Shape.AGAIN: _again,
    Shape.TRIANGLE: _triangle,
    Shape.CROSS: _cross,
    Shape.CALENDAR: _calendar,
    Shape.CLOCK: _clock,
    Shape.SIGNPOST: _signpost,
    Shape.YEN: _yen,
    Shape.SWAP: _swap,
    Shape.QUESTION: _question,
    Shape.SHIELD: _shield,
}
