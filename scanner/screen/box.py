"""A rectangle in millimetres. Pure: plans are made of these, and tests measure them without a window."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """Millimetres from the panel's top left."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    def inset(self, x: float, y: float | None = None) -> Box:
        dy = x if y is None else y
        return Box(self.x + x, self.y + dy, self.width - 2 * x, self.height - 2 * dy)

    def columns(self, shares: tuple[float, ...], *, gap: float) -> list[Box]:
        """Side by side; `shares` are relative widths."""
        room = self.width - gap * (len(shares) - 1)
        boxes, x = [], self.x
        for share in shares:
            width = room * share / sum(shares)
            boxes.append(Box(x, self.y, width, self.height))
            x += width + gap
        return boxes

    def rows(self, count: int, *, gap: float) -> list[Box]:
        height = (self.height - gap * (count - 1)) / count
        return [Box(self.x, self.y + n * (height + gap), self.width, height) for n in range(count)]
