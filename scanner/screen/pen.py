"""Draws in millimetres from the top left corner, which is how the look is specified; Kivy counts pixels from the bottom.

Every text that is drawn is noted with the box that it had, so that a test can ask whether all of them fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from kivy.core.text import Label as CoreLabel
from kivy.graphics import Color, Rectangle, SmoothEllipse, SmoothLine, SmoothRoundedRectangle

from scanner.screen.box import Box
from scanner.view import Key
from tickets.look import Panel, rgb

Align: TypeAlias = Literal["left", "center", "right"]

EM_BOX_SHIFT: Final = 0.056
"""Noto Sans CJK's line is 1.448 em high (ascent 1.16), its em box lies 0.056 em below the middle of that: lift by as much."""
LINE_HEIGHT: Final = 1.448


@dataclass(frozen=True, slots=True)
class Fonts:
    regular: Path
    bold: Path


@dataclass(frozen=True, slots=True)
class Placed:
    """A text as it stands: the box it was given and the room it takes, in pixels; `em_mm` what it was drawn at."""

    text: str
    box_width_px: float
    box_height_px: float
    text_width_px: float
    text_height_px: float
    em_mm: float
    shortened: bool


@dataclass(frozen=True, slots=True)
class Target:
    """Something to tap. `count` for the numbers of a choice."""

    key: Key
    count: int | None
    box: Box


@dataclass(slots=True)
class Pen:
    """Draws into the canvas that is open. One pen a picture: it remembers texts and targets."""

    panel: Panel
    steps_mm: tuple[float, ...]
    """Sizes of type, rising. Nothing is drawn at any other: SDL keeps 2.5 MB for each size of each font."""
    fonts: Fonts
    width_px: float
    height_px: float
    placed: list[Placed] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    @property
    def px_per_mm(self) -> float:
        """The panel's look, as large as the window allows."""
        return min(self.width_px / self.panel.width_mm, self.height_px / self.panel.height_mm)

    def px(self, mm: float) -> float:
        return mm * self.px_per_mm

    def point(self, x_mm: float, y_mm: float) -> tuple[float, float]:
        left = (self.width_px - self.px(self.panel.width_mm)) / 2
        top = self.height_px - (self.height_px - self.px(self.panel.height_mm)) / 2
        return left + self.px(x_mm), top - self.px(y_mm)

    def rectangle(self, box: Box) -> tuple[tuple[float, float], tuple[float, float]]:
        """(pos, size) for Kivy, on whole pixels so that edges are sharp."""
        left, top = self.point(box.x, box.y)
        right, bottom = self.point(box.right, box.bottom)
        left, bottom, right, top = round(left), round(bottom), round(right), round(top)
        return (left, bottom), (right - left, top - bottom)

    def mm_of(self, pos: tuple[float, float]) -> tuple[float, float]:
        """Millimetres of a touch in pixels."""
        left, top = self.point(0, 0)
        return (pos[0] - left) / self.px_per_mm, (top - pos[1]) / self.px_per_mm

    def background(self, colour: str) -> None:
        Color(*rgb(colour))
        Rectangle(pos=(0, 0), size=(self.width_px, self.height_px))

    def fill(self, box: Box, colour: str, *, radius: float = 0.0, alpha: float = 1.0) -> Any:
        pos, size = self.rectangle(box)
        Color(*rgb(colour), alpha)
        if radius <= 0:
            return Rectangle(pos=pos, size=size)
        return SmoothRoundedRectangle(pos=pos, size=size, radius=[self.px(radius)] * 4, segments=24)

    def card(self, box: Box, ground: str, border: str, *, radius: float, width: float) -> None:
        """A filled card with a border inside its box."""
        self.fill(box, border, radius=radius)
        self.fill(box.inset(width), ground, radius=radius - width)

    def outline(self, box: Box, colour: str, *, radius: float, width: float, alpha: float = 1.0) -> None:
        """A border inside `box`, nothing within."""
        pos, size = self.rectangle(box.inset(width / 2))
        Color(*rgb(colour), alpha)
        SmoothLine(rounded_rectangle=(*pos, *size, self.px(radius), 40), width=max(0.8, self.px(width) / 2))

    def ellipse(self, box: Box, colour: str, *, alpha: float = 1.0) -> None:
        left, bottom = self.point(box.x, box.bottom)
        Color(*rgb(colour), alpha)
        size = (self.px(box.width), self.px(box.height))
        SmoothEllipse(pos=(left, bottom), size=size, segments=_segments(max(size)))

    def line(self, points: list[tuple[float, float]], colour: str, *, width: float, close: bool = False) -> None:
        """A stroke through `points` (mm), opaque, with round ends and corners.

        Kivy's smooth line knows square ends only, so a disc is laid on each end and on each corner that is one.
        """
        ring = [self.point(*point) for point in points]
        flat = [value for pixel in ring for value in pixel]
        stroke_px = self.px(width)
        Color(*rgb(colour))
        SmoothLine(points=flat, width=stroke_px / 2, joint="round", cap="none", close=close)
        if stroke_px < 3:
            return
        for index, (x, y) in enumerate(ring):
            inner = close or 0 < index < len(ring) - 1
            if not inner or _turns(ring[index - 1], ring[index], ring[(index + 1) % len(ring)]):
                SmoothEllipse(
                    pos=(x - stroke_px / 2, y - stroke_px / 2),
                    size=(stroke_px, stroke_px),
                    segments=_segments(stroke_px),
                )

    def text(
        self,
        text: str,
        box: Box,
        colour: str,
        *,
        em: float,
        bold: bool = False,
        align: Align = "left",
        em_min: float | None = None,
    ) -> Box:
        """One line, its em box in the middle of `box`; smaller down to `em_min` where it is too wide, then shortened with "…".

        Returns the box that the text takes.
        """
        if not text:
            return Box(box.x, box.y, 0, box.height)
        em = self.step(em)
        em_min = em if em_min is None else self.step(em_min)
        label = self._label(text, em, bold=bold)
        room_px = self.px(box.width)
        while label.texture.width > room_px + 1 and em > em_min:
            em = self.step(em * 0.999)
            label = self._label(text, em, bold=bold)
        shortened = False
        while label.texture.width > room_px + 1 and len(text) > 1:
            text = text.rstrip("…")[:-1] + "…"
            shortened = True
            label = self._label(text, em, bold=bold)
        width, height = label.texture.size
        x_px, top_px = self.point(box.x, box.y)
        if align != "left":
            x_px += (room_px - width) / (2 if align == "center" else 1)
        y_px = top_px - self.px(box.height) / 2 - height / 2 + EM_BOX_SHIFT * self.px(em)
        Color(*rgb(colour))
        Rectangle(texture=label.texture, pos=(round(x_px), round(y_px)), size=(width, height))
        self.placed.append(
            Placed(text, room_px, self.px(box.height), width, height / LINE_HEIGHT, em, shortened=shortened)
        )
        return Box(box.x + (x_px - self.point(box.x, 0)[0]) / self.px_per_mm, box.y, width / self.px_per_mm, box.height)

    def step(self, em: float) -> float:
        """The largest size of type that is not above `em`; the smallest there is where `em` is below it."""
        return max((step for step in self.steps_mm if step <= em * 1.001), default=self.steps_mm[0])

    def width_of(self, text: str, *, em: float, bold: bool = False) -> float:
        """Millimetres that `text` takes on one line."""
        return float(self._label(text, self.step(em), bold=bold).texture.width / self.px_per_mm) if text else 0.0

    def target(self, key: Key, box: Box, *, count: int | None = None) -> None:
        self.targets.append(Target(key, count, box))

    def _label(self, text: str, em: float, *, bold: bool) -> Any:
        font = self.fonts.bold if bold else self.fonts.regular
        label = CoreLabel(text=text, font_size=max(6, int(self.px(em) + 0.5)), font_name=str(font), color=(1, 1, 1, 1))
        label.refresh()
        return label


def _segments(diameter_px: float) -> int:
    """Corners of a circle that looks round: no more than the eye sees, because software GL keeps memory for each."""
    return max(12, min(120, int(diameter_px**0.5 * 6)))


def _turns(before: tuple[float, float], here: tuple[float, float], after: tuple[float, float]) -> bool:
    """Whether a path bends here by more than fifteen degrees."""
    first = math.atan2(here[1] - before[1], here[0] - before[0])
    second = math.atan2(after[1] - here[1], after[0] - here[0])
    return abs(math.remainder(second - first, 2 * math.pi)) > math.radians(15)
