"""Draws the table: three layers of canvas (ground and switches, the strip of paper, a piece looked at large).

Lengths are units of the table's own: 640 across at least, as large as the window allows. What can be touched is noted as
(name, box) while it is drawn, so that what is seen is what is touched.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from kivy.graphics import Canvas, Color, Rectangle
from kivy.graphics.texture import Texture
from kivy.uix.widget import Widget
from PIL import Image

from scanner.screen.box import Box
from scanner.screen.pen import Fonts, Pen
from script.story.table import words
from script.story.table.standing import GONE_IN, Answer, Card, Piece, Standing, Step
from script.story.table.words import Both
from tickets.admission import VerdictKind
from tickets.look import Panel, rgb

WIDTH, HEIGHT = 640.0, 720.0
SIDE: Final = 16.0
STEPS: Final = (12.0, 14.0, 16.0, 18.0)
PIECE_WIDTH: Final = 164.0
PIECE_GAP: Final = 14.0
LARGER_HEIGHT: Final = 36.0
SWITCHES_HEIGHT: Final = 186.0
STRIP_TOP: Final = 180.0
LIFT: Final = 8.0
HANG: Final = 10.0
"""From the strip's top to a piece's."""
TEXTURES_KEPT: Final = 80

Target = tuple[str, Box]


class TableFace(Widget):  # type: ignore[misc]  # Kivy carries no types
    """Draws a Standing, the strip of paper moved left by `scroll` units, and one piece large over everything (or None)."""

    def __init__(self, *, fonts: Fonts, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._fonts = fonts
        self._ground, self._strip, self._large = (Canvas() for _ in range(3))
        for layer in (self._ground, self._strip, self._large):
            self.canvas.add(layer)
        self._ground_targets: list[Target] = []
        self._strip_targets: list[Target] = []
        self._large_targets: list[Target] = []

    # --- what can be touched

    @property
    def targets(self) -> list[Target]:
        """What a finger can do now; a piece looked at large hides all else."""
        return self._large_targets or [*self._ground_targets, *self._strip_targets]

    def target_at(self, pos: tuple[float, float]) -> str | None:
        x, y = self.pen().mm_of(pos)
        for name, box in reversed(self.targets):
            if box.x <= x <= box.right and box.y <= y <= box.bottom:
                return name
        return None

    def in_strip(self, pos: tuple[float, float]) -> bool:
        _, y = self.pen().mm_of(pos)
        return not self._large_targets and STRIP_TOP <= y <= self._switches_top

    def scroll_max(self, standing: Standing) -> float:
        """How far the strip can be moved until its oldest piece is in sight."""
        return max(0.0, 2 * SIDE + len(standing.pieces) * (PIECE_WIDTH + PIECE_GAP) - PIECE_GAP - self._units_wide)

    # --- drawing

    def pen(self) -> Pen:
        scale = max(0.3, min(self.width / WIDTH, self.height / HEIGHT))
        panel = Panel("table", int(self.width), int(self.height), scale)
        return Pen(panel, STEPS, self._fonts, self.width, self.height)

    @property
    def _units_wide(self) -> float:
        return float(self.width / self.pen().px_per_mm)

    @property
    def _units_high(self) -> float:
        return float(self.height / self.pen().px_per_mm)

    @property
    def _switches_top(self) -> float:
        return self._units_high - SWITCHES_HEIGHT - 14

    def draw(self, standing: Standing, *, scroll: float, large: Path | None) -> None:
        self.draw_ground(standing)
        self.draw_strip(standing, scroll=scroll)
        self.draw_large(standing, large)

    def draw_ground(self, standing: Standing) -> None:
        pen, targets = self.pen(), self._ground_targets
        targets.clear()
        self._ground.clear()
        with self._ground:
            pen.background("paper")
            _stations(pen, Box(SIDE, 14, self._units_wide - 2 * SIDE, 74), standing.done)
            _hint(pen, Box(SIDE, 96, self._units_wide - 2 * SIDE, 50), words.HINTS[standing.hint])
            rail = Box(0, STRIP_TOP - 26, self._units_wide, self._switches_top - STRIP_TOP + 18)
            pen.fill(rail, "sunken")
            across = rail.width - 2 * SIDE
            title, english = words.PAPER
            taken = pen.text(title, Box(SIDE, rail.y + 5, across, 18), "ink", em=14, bold=True)
            pen.text(english, Box(taken.right + 10, rail.y + 5, across - taken.width - 10, 18), "ink2", em=12)
            area = Box(SIDE, self._switches_top, self._units_wide - 2 * SIDE, SWITCHES_HEIGHT)
            left, right = area.columns((1, 1), gap=10)
            for column, cards in ((left, (_line, _card)), (right, (_roll, _office))):
                for box, draw in zip(column.rows(2, gap=10), cards, strict=True):
                    pen.card(box, "surface", "line", radius=8, width=1)
                    draw(pen, box.inset(12, 9), standing, targets)

    def draw_strip(self, standing: Standing, *, scroll: float) -> None:
        pen, targets = self.pen(), self._strip_targets
        targets.clear()
        self._strip.clear()
        room = self._switches_top - STRIP_TOP - 24 - LARGER_HEIGHT
        with self._strip:
            if not standing.pieces:
                _empty(pen, Box(SIDE, STRIP_TOP + HANG, PIECE_WIDTH, min(room, PIECE_WIDTH * 1.65)), self._units_wide)
            for index, piece in enumerate(standing.pieces):
                x = SIDE + index * (PIECE_WIDTH + PIECE_GAP) - scroll
                if -PIECE_WIDTH < x < self._units_wide:
                    number = len(standing.pieces) - index
                    self._piece(pen, piece, number, x=x, room=room, held=standing.held == piece.paper)

    def _piece(self, pen: Pen, piece: Piece, number: int, *, x: float, room: float, held: bool) -> None:
        size = _size_of(piece.paper)
        if size is None:
            return
        width, height = _fit(size, PIECE_WIDTH, room)
        box = Box(x + (PIECE_WIDTH - width) / 2, STRIP_TOP + HANG - (LIFT if held else 0), width, height)
        if held:
            pen.fill(box.inset(-4), "ai", radius=4)
        else:
            pen.fill(Box(box.x + 1.5, box.y + 2.5, box.width, box.height), "edge", alpha=0.35)
        _paper(pen, piece.paper, box)
        self._strip_targets.append((f"piece.{number}", box))
        if held:
            _chip(pen, box, " ".join(words.HELD), "ai", "surface")
        elif piece.answer is not None:
            _answer(pen, box, piece.answer)
        key = Box(x, STRIP_TOP + HANG + height + 6, PIECE_WIDTH, LARGER_HEIGHT - 6)
        pen.card(key, "surface", "edge", radius=6, width=1)
        pen.text("／".join(words.LARGER), key.inset(4, 0), "ai", em=12, bold=True, align="center")
        self._strip_targets.append((f"larger.{number}", key))

    def draw_large(self, standing: Standing, large: Path | None) -> None:
        pen = self.pen()
        self._large_targets.clear()
        self._large.clear()
        size = _size_of(large) if large is not None else None
        if large is None or size is None:
            return
        whole = Box(0, 0, self._units_wide, self._units_high)
        with self._large:
            pen.fill(whole, "deep", alpha=0.94)
            width, height = _fit(size, whole.width - 2 * 40, whole.height - 20 - 96)
            box = Box((whole.width - width) / 2, 20 + (whole.height - 116 - height) / 2, width, height)
            _paper(pen, large, box)
            self._large_targets.append(("close", whole))
            row = Box(whole.width / 2 - 230, whole.height - 78, 460, 60)
            hold, close = row.columns((1, 1), gap=14)
            free = standing.held is None
            _key(pen, hold, words.HOLD, self._large_targets, "hold" if free else "", ground="yama", colour="ink")
            _key(pen, close, words.CLOSE, self._large_targets, "close", ground="surface", colour="ai")


# --- parts


def _stations(pen: Pen, box: Box, done: frozenset[Step]) -> None:
    """A line with three stations: passed ones ticked, the present one yellow and larger, those ahead hollow."""
    columns = box.columns((1, 1, 1), gap=0)
    y, ahead = box.y + 17, [step for step in Step if step not in done]
    first, last = columns[0].middle[0], columns[-1].middle[0]
    pen.line([(first, y), (last, y)], "edge", width=5)
    for column, step in zip(columns, Step, strict=True):
        x = column.middle[0]
        if step in done:
            pen.ellipse(Box(x - 12, y - 12, 24, 24), "ai")
            pen.line([(x - 5, y + 0.5), (x - 1.5, y + 4), (x + 5, y - 4)], "surface", width=3)
        elif step is ahead[0]:
            pen.ellipse(Box(x - 17, y - 17, 34, 34), "deep")
            pen.ellipse(Box(x - 14, y - 14, 28, 28), "yama")
        else:
            pen.ellipse(Box(x - 12, y - 12, 24, 24), "edge")
            pen.ellipse(Box(x - 9, y - 9, 18, 18), "paper")
        japanese, english = words.STATIONS[step]
        pen.text(japanese, Box(column.x, y + 20, column.width, 20), "ink", em=16, bold=True, align="center", em_min=12)
        pen.text(english, Box(column.x, y + 41, column.width, 16), "ink2", em=12, align="center")


def _hint(pen: Pen, box: Box, both: Both) -> None:
    pen.fill(box, "yama_tint", radius=8)
    inner = box.inset(14, 6)
    pen.text(both[0], Box(inner.x, inner.y, inner.width, 21), "ink", em=16, bold=True, em_min=12)
    pen.text(both[1], Box(inner.x, inner.y + 22, inner.width, 16), "ink2", em=14, em_min=12)


def _empty(pen: Pen, box: Box, width: float) -> None:
    pen.outline(box, "edge", radius=4, width=1.2)
    pen.line([(box.x + 10, box.y + box.height * 0.3), (box.right - 10, box.y + box.height * 0.3)], "line", width=2)
    square = Box(box.middle[0] - 32, box.y + box.height * 0.4, 64, 64)
    pen.outline(square, "edge", radius=3, width=1.2)
    pen.text("QR", square, "edge", em=14, bold=True, align="center")
    beside = Box(box.right + 20, box.y + box.height / 2 - 24, width - box.right - 20 - SIDE, 24)
    pen.text(words.EMPTY[0], beside, "ink", em=16, bold=True, em_min=12)
    pen.text(words.EMPTY[1], Box(beside.x, beside.bottom, beside.width, 20), "ink2", em=14, em_min=12)


def _answer(pen: Pen, box: Box, answer: Answer) -> None:
    """What the gate said, over the lower end of the paper: shape, word and colour as on the gate."""
    if answer.verdict is None:
        _chip(pen, box, "－ " + " ".join(words.SILENT), "edge", "surface")
    elif answer.verdict is VerdictKind.REFUSE:
        _chip(pen, box, f"× {answer.word}", "shu", "surface")
    elif answer.verdict in GONE_IN:
        _chip(pen, box, f"○ {answer.word}", "matsu", "surface")
    else:
        _chip(pen, box, f"？ {answer.word}", "yama", "ink")


def _chip(pen: Pen, box: Box, text: str, ground: str, colour: str) -> None:
    chip = Box(box.x, box.bottom - 28, box.width, 28)
    pen.fill(chip, ground)
    pen.text(text, chip.inset(4, 0), colour, em=14, bold=True, align="center", em_min=12)


def _key(
    pen: Pen, box: Box, both: Both, targets: list[Target], name: str, *, ground: str = "ai", colour: str = "surface"
) -> None:
    """A key with two lines; without a name it is there but cannot act."""
    if not name:
        ground, colour = "sunken", "ash"
    pen.card(box, ground, "edge" if ground in ("surface", "sunken") else ground, radius=8, width=1.2)
    middle = box.middle[1]
    pen.text(
        both[0], Box(box.x + 4, middle - 20, box.width - 8, 20), colour, em=16, bold=True, align="center", em_min=12
    )
    pen.text(both[1], Box(box.x + 4, middle + 1, box.width - 8, 16), colour, em=12, align="center")
    if name:
        targets.append((name, box))


def _titled(pen: Pen, box: Box, both: Both) -> None:
    taken = pen.text(both[0], Box(box.x, box.y, box.width, 18), "ink", em=14, bold=True)
    pen.text(both[1], Box(taken.right + 8, box.y, box.right - taken.right - 8, 18), "ink2", em=12)


def _switch(
    pen: Pen, box: Box, title: Both, state: Both, key: tuple[Both, str], targets: list[Target], *, well: bool
) -> None:
    """What it is, how it stands (shape, word and colour), and the key that changes it."""
    left, right = Box(box.x, box.y, box.width - 106, box.height), Box(box.right - 98, box.y, 98, box.height)
    tone = "matsu" if well else "kaki"
    pen.text(title[0], Box(left.x, left.y, left.width, 18), "ink", em=14, bold=True)
    pen.text(title[1], Box(left.x, left.y + 18, left.width, 14), "ink2", em=12)
    mark = Box(left.x + 1, left.y + 44, 14, 14)
    if well:
        pen.ellipse(mark, tone)
    else:
        pen.line([(mark.x + 2, mark.y + 2), (mark.right - 2, mark.bottom - 2)], tone, width=3)
        pen.line([(mark.x + 2, mark.bottom - 2), (mark.right - 2, mark.y + 2)], tone, width=3)
    taken = pen.text(state[0], Box(mark.right + 6, mark.y - 2, left.width - 22, 18), tone, em=14, bold=True)
    pen.text(state[1], Box(taken.right + 6, mark.y - 2, left.right - taken.right - 6, 18), tone, em=12)
    both, name = key
    _key(pen, right, both, targets, name)


def _line(pen: Pen, box: Box, standing: Standing, targets: list[Target]) -> None:
    up = standing.line_up
    key = (words.CUT, "line.cut") if up else (words.MEND, "line.mend")
    _switch(pen, box, words.LINE, words.LINE_UP if up else words.LINE_DOWN, key, targets, well=up)


def _roll(pen: Pen, box: Box, standing: Standing, targets: list[Target]) -> None:
    there = standing.paper_in
    key = (words.TAKE_OUT, "roll.out") if there else (words.LOAD, "roll.load")
    _switch(pen, box, words.ROLL, words.ROLL_IN if there else words.ROLL_OUT, key, targets, well=there)


def _card(pen: Pen, box: Box, standing: Standing, targets: list[Target]) -> None:
    _titled(pen, box, words.CARD)
    row = Box(box.x, box.y + 24, box.width, box.height - 24)
    for card, key in zip(Card, row.columns((1, 1, 1), gap=6), strict=True):
        chosen = card is standing.card
        pen.card(
            key, "ai_tint" if chosen else "surface", "ai" if chosen else "edge", radius=6, width=2 if chosen else 1
        )
        japanese, english = words.CARDS[card]
        pen.text(japanese, Box(key.x + 3, key.y + 4, key.width - 6, 19), "ai", em=14, bold=True, align="center")
        pen.text(english, Box(key.x + 3, key.y + 24, key.width - 6, 16), "ai", em=12, align="center")
        targets.append((f"card.{card}", key))


def _office(pen: Pen, box: Box, standing: Standing, targets: list[Target]) -> None:
    _titled(pen, box, words.OFFICE)
    wide = box.width - (78 if standing.browser else 0)
    for index, text in enumerate((standing.url, f"{standing.user}　{standing.password}")):
        pen.text(text, Box(box.x, box.y + 24 + index * 22, wide, 20), "ink", em=14, em_min=12)
    if standing.browser:
        _key(pen, Box(box.right - 70, box.y + 22, 70, box.height - 22), words.OPEN, targets, "office.open")


# --- paper


def _fit(size: tuple[int, int], width: float, height: float) -> tuple[float, float]:
    scale = min(width / size[0], height / size[1])
    return size[0] * scale, size[1] * scale


def _paper(pen: Pen, paper: Path, box: Box) -> None:
    pos, (width, height) = pen.rectangle(box)
    Color(*rgb("surface"))
    Rectangle(texture=_texture(paper, max(1, int(width)), max(1, int(height))), pos=pos, size=(int(width), int(height)))


@lru_cache(maxsize=256)
def _open_size(paper: Path) -> tuple[int, int]:
    with Image.open(paper) as picture:
        return int(picture.width), int(picture.height)


def _size_of(paper: Path) -> tuple[int, int] | None:
    """None for paper of which there is no picture (any more)."""
    try:
        return _open_size(paper)
    except OSError:
        return None


@lru_cache(maxsize=TEXTURES_KEPT)
def _texture(paper: Path, width: int, height: int) -> Texture:
    """The emulator's picture, dot for dot where it is large enough, else averaged: what is thin stays to be seen."""
    with Image.open(paper) as picture:
        small = picture.convert("L").resize((width, height), Image.Resampling.LANCZOS)
    texture = Texture.create(size=(width, height), colorfmt="luminance")
    texture.blit_buffer(small.tobytes(), colorfmt="luminance", bufferfmt="ubyte")
    texture.flip_vertical()
    return texture
