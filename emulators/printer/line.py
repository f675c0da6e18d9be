"""The print buffer of one line: cells side by side until a line feed, or until the next cell does not fit."""

import numpy as np

from emulators.printer.glyphs import Dots


class Line:
    """Cells with their places. Cells stand on one bottom line; the paper then moves on by the line spacing."""

    def __init__(self, width_dots: int) -> None:
        self._width_dots = width_dots
        self._cells: list[tuple[int, Dots]] = []
        self._at = 0
        self._end = 0

    @property
    def empty(self) -> bool:
        return not self._cells and self._at == 0

    def fits(self, width: int) -> bool:
        return self._at + width <= self._width_dots

    def add(self, cell: Dots) -> None:
        self._cells.append((self._at, cell))
        self._at += cell.shape[1]
        self._end = max(self._end, self._at)

    def move_to(self, x: int) -> None:
        """The next cell begins at `x` dots from the left."""
        self._at = x

    def forget(self) -> None:
        self._cells.clear()
        self._at = self._end = 0

    def render(self, *, spacing: int, justify: int, upside_down: bool) -> Dots:
        """The finished rows, at least `spacing` of them, and an empty line after that. justify: 0, 1, 2."""
        height = max((cell.shape[0] for _, cell in self._cells), default=0)
        rows = np.zeros((max(spacing, height), self._width_dots), dtype=bool)
        shift = max(0, self._width_dots - self._end) * justify // 2
        for x, cell in self._cells:
            high, wide = cell.shape
            rows[height - high : height, x + shift : x + shift + wide] |= cell[:, : self._width_dots - x - shift]
        if upside_down:
            rows[:height] = rows[:height][::-1, ::-1]
        self.forget()
        return rows
