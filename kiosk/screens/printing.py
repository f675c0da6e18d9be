"""Printing: n of m, and every piece of paper as a box that gets its tick when the printer has confirmed it."""

from __future__ import annotations

from kivy.graphics import Color, Rectangle
from kivy.properties import ListProperty, NumericProperty, StringProperty

from kiosk.screens.frame import Screen
from kiosk.screens.icons import Icon
from kiosk.screens.metric import pick, px
from kiosk.screens.patches import Box, draw_patch
from kiosk.screens.placed import Placed
from kiosk.screens.text import Run, Text, Written
from kiosk.visit.views import PartView

CELLS_A_ROW = (5, 10)


class Count(Written):
    """6／13枚: the first figure is read from three metres."""

    figure = StringProperty("")
    of = StringProperty("")

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.align = "right"
        self.fbind("figure", self._again)
        self.fbind("of", self._again)

    def lines(self) -> list[list[Run]]:
        large, small = pick(36.0, 16.0), pick(17.0, 9.0)
        if len(self.figure) > 1:
            large = pick(30.0, 16.0)
        return [[Run(self.figure, large, bold=True), Run("／", small), Run(self.of.strip(), small)]]


class Progress(Placed):
    share = NumericProperty(0.0)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("share", "pos", "size"):
            self.fbind(name, self._draw)

    def _draw(self, *_: object) -> None:
        self.canvas.clear()
        if self.width <= 1:
            return
        done = round(self.width * min(1.0, max(0.0, self.share)))
        with self.canvas:
            Color(1, 1, 1, 1)
            Color(0.847, 0.824, 0.769, 1)
            Rectangle(pos=self.pos, size=self.size)
            if done:
                Color(0.122, 0.247, 0.478, 1)
                Rectangle(pos=self.pos, size=(done, self.height))


class Cells(Placed):
    """The pieces of one product."""

    part = ListProperty([])

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        for name in ("part", "pos", "size"):
            self.fbind(name, self._lay)

    def _lay(self, *_: object) -> None:
        self.canvas.before.clear()
        self.clear_widgets()
        if not self.part or self.width <= 1:
            return
        part: PartView = self.part[0]
        a_row, w, h, gap = cell_size(part.of, self.at[2], self.at[3])
        with self.canvas.before:
            Color(1, 1, 1, 1)
            for index in range(part.of):
                x = (index % a_row) * (w + gap)
                y = (index // a_row) * (h + gap)
                kind = "done" if index < part.done else "doing" if index == part.at else "to_do"
                draw_patch(kind, self.x + px(x), self.top - px(y + h), px(w), px(h))
        side = min(h, w) * 0.62
        for index in range(part.done):
            x = (index % a_row) * (w + gap) + (w - side) / 2
            y = (index // a_row) * (h + gap) + (h - side) / 2
            self.add_widget(Icon(at=[x, y, side, side], name="tick", tone="surface", stroke=2.8))


def cell_size(count: int, width: float, height: float) -> tuple[int, float, float, float]:
    """(cells a row, width, height, gap) so that all fit, each as large as it may be."""
    for a_row in (*CELLS_A_ROW, 15, 20, 25, 34):
        gap = 3.4 if a_row <= 5 else 2.0
        w = min(27.2, (width - gap * (a_row - 1)) / a_row)
        lines = -(-count // a_row)
        h = min(17.0, w * 0.62, (height - gap * (lines - 1)) / lines)
        if lines * h + (lines - 1) * gap <= height + 0.1 and h >= min(6.0, w * 0.5):
            return a_row, w, h, gap
    return 34, width / 36, height / 8, 1.0


class Parts(Placed):
    """One line a product: its name and its pieces."""

    parts = ListProperty([])

    def __init__(self, **kwargs: object) -> None:
        self._lines: list[tuple[Text, Cells]] = []
        super().__init__(**kwargs)
        self.fbind("parts", self._lay)
        self.fbind("at", self._lay)
        self._lay()

    def _lay(self, *_: object) -> None:
        count = len(self.parts)
        while len(self._lines) < count:
            title, cells = Text(em=pick(7.5, 6.6), bold=True, fit=True), Cells()
            self._lines.append((title, cells))
            self.add_widget(title)
            self.add_widget(cells)
        _, _, width, height = self.at
        weights = [max(1, -(-part.of // pick(*CELLS_A_ROW))) for part in self.parts]
        pad = pick(8.0, 3.0)
        gap = pick(7.0, 2.0)
        unit = (height - 2 * pad - gap * max(0, count - 1)) / max(1, sum(weights))
        unit = min(unit, pick(20.4, 12.0))
        top = (height - unit * sum(weights) - gap * max(0, count - 1)) / 2
        for index, (title, cells) in enumerate(self._lines):
            title.shown = cells.shown = index < count
            if not title.shown:
                continue
            line = unit * weights[index]
            left = pick(80.0, 58.0)
            title.text = self.parts[index].title
            title.at = [pick(9.0, 4.0), top, left - pick(13.0, 6.0), line - pick(3.4, 2.0)]
            cells.at = [left, top, width - left - pick(8.0, 4.0), line]
            cells.part = [self.parts[index]]
            top += line + gap


class PrintingScreen(Screen):
    pass


__all__ = ["Box", "Count", "Parts", "PrintingScreen", "Progress"]
