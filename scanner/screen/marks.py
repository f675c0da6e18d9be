"""Pieces that every face uses: the head, a row of text in several sizes, keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, assert_never

from scanner.screen.box import Box
from scanner.screen.icons import OF_KEY, UP, draw_icon, draw_sync
from scanner.screen.pen import Pen
from scanner.screen.plan import Plan
from scanner.view import GateView, Key, ViewKind
from scanner.words import data_age, label
from tickets.admission import Direction, Reason, VerdictKind
from tickets.look import RADIUS_MM

RADIUS: Final = RADIUS_MM["gate"]
KEY_BORDER: Final = 0.3
BASELINE: Final = 0.38
"""From the middle of the em box down to the baseline, in em: rows of several sizes stand on one line."""


@dataclass(frozen=True, slots=True)
class Tones:
    """Colours of a face: `ground` fills the screen, `upper` the block behind shape and word, `word` is drawn on that."""

    ground: str
    on_ground: str
    upper: str
    word: str


READY: Final = Tones("paper", "ink", "paper", "ink")


def tones_of(verdict: VerdictKind, reason: Reason | None) -> Tones:
    match verdict:
        case VerdictKind.ADMIT:
            return Tones("matsu", "surface", "matsu", "surface")
        case VerdictKind.ADMIT_AGAIN:
            return Tones("sora", "surface", "sora", "surface")
        case VerdictKind.ATTENTION:
            return Tones("matsu", "surface", "yama", "ink")
        case VerdictKind.CHOOSE:
            return Tones("paper", "ink", "yama", "ink")
        case VerdictKind.REFUSE if reason is Reason.FORGED:
            return Tones("sumi", "surface", "sumi", "yama")
        case VerdictKind.REFUSE:
            return Tones("shu", "surface", "shu", "surface")
        case _ as never:
            assert_never(never)


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of a row."""

    text: str
    em: float
    colour: str
    bold: bool = False
    gap: float = 0.0
    """Millimetres before it."""


def draw_row(pen: Pen, box: Box, words: list[Word], *, align: str = "center") -> Box:
    """Pieces side by side on one baseline, all smaller together where they are too wide. Returns the box that they take."""
    words = [word for word in words if word.text]
    if not words:
        return replace(box, width=0)
    words = [replace(word, em=pen.step(word.em)) for word in words]
    total = row_width(pen, words)
    while total > box.width and any(word.em > pen.steps_mm[0] for word in words):
        words = [replace(word, em=pen.step(word.em * 0.999), gap=word.gap * 0.9) for word in words]
        total = row_width(pen, words)
    largest = max(word.em for word in words)
    x = {"left": box.x, "center": box.x + (box.width - total) / 2, "right": box.right - total}[align]
    start = x
    for index, word in enumerate(words):
        x += word.gap if index else 0
        width = pen.width_of(word.text, em=word.em, bold=word.bold)
        down = BASELINE * (largest - word.em)
        pen.text(word.text, Box(x, box.y + down, width + 0.2, box.height), word.colour, em=word.em, bold=word.bold)
        x += width
    return Box(start, box.y, total, box.height)


def row_width(pen: Pen, words: list[Word]) -> float:
    """Millimetres that a row takes."""
    return sum(
        (word.gap if index else 0) + pen.width_of(word.text, em=word.em, bold=word.bold)
        for index, word in enumerate(words)
    )


def draw_head(pen: Pen, plan: Plan, view: GateView, *, age_s: float | None, clock: str, colour: str) -> None:
    """Which gate, which way, and how old what it knows is. Offline changes the age and nothing else."""
    box, language = plan.header, view.language
    right = box.right
    if clock:
        drawn = pen.text(clock, Box(right - 30, box.y, 30, box.height), colour, em=plan.text, bold=True, align="right")
        right = drawn.x - 5
    mode = label("exit" if view.direction is Direction.EXIT else "entry", language=language)
    mode_width = pen.width_of(mode, em=plan.small) + 3.4
    unsent = "" if not view.unsent else str(view.unsent) if view.unsent < 100 else "99+"
    icon = plan.small * 0.98
    # What gives way where the room is small: the word for data, then the picture for it; never the age itself.
    name_width = pen.width_of(view.gate, em=plan.small, bold=True)
    for short, drawn_icon in ((bool(unsent), True), (True, True), (True, False)):
        age = data_age(age_s, language=language, short=short)
        age_width = pen.width_of(age, em=plan.small) + 0.3
        unsent_width = 0.0 if not unsent else icon + 1.8 + pen.width_of(unsent, em=plan.small)
        state_width = age_width + unsent_width + (icon + 1.4 if drawn_icon else 0.0)
        if name_width + mode_width + 4.4 + state_width <= right - box.x:
            break
    pen.text(age, Box(right - age_width, box.y, age_width, box.height), colour, em=plan.small, align="right")
    right -= age_width
    if drawn_icon:
        right -= icon + 1.4
        draw_sync(pen, Box(right, box.y + (box.height - icon) / 2, icon, icon), colour)
    if unsent:
        right -= unsent_width
        draw_icon(pen, UP, Box(right, box.y + (box.height - icon) / 2, icon, icon), colour, stroke=2.4)
        pen.text(unsent, Box(right + icon + 0.4, box.y, unsent_width - icon, box.height), colour, em=plan.small)
    name_room = right - box.x - mode_width - 4.2
    name = pen.text(
        view.gate, Box(box.x, box.y, name_room, box.height), colour, em=plan.text, bold=True, em_min=plan.small
    )
    chip = Box(name.right + 2.2, box.y + (box.height - plan.small * 1.5) / 2, mode_width, plan.small * 1.5)
    pen.outline(chip, colour, radius=1.2, width=0.32)
    pen.text(mode, chip, colour, em=plan.small, align="center")


def draw_key(pen: Pen, plan: Plan, key: Key, text: str, box: Box, *, colour: str, ground: str, filled: bool) -> None:
    """A key with its icon above its word, or beside it where it is the way on (`filled`)."""
    strokes = OF_KEY[key]
    if filled:
        pen.fill(box, colour, radius=RADIUS)
        ink, em, icon = ground, pen.step(plan.figure), plan.figure
        text_width = pen.width_of(text, em=em, bold=True)
        room = box.width - icon - 6.0
        while text_width > room and em > pen.steps_mm[0]:
            em = pen.step(em * 0.999)
            text_width = pen.width_of(text, em=em, bold=True)
        x = box.x + (box.width - icon - 2.0 - text_width) / 2
        draw_icon(pen, strokes, Box(x, box.y + (box.height - icon) / 2, icon, icon), ink, stroke=2.6)
        pen.text(text, Box(x + icon + 2.0, box.y, text_width + 0.4, box.height), ink, em=em, bold=True)
    else:
        pen.outline(box, colour, radius=RADIUS, width=KEY_BORDER, alpha=0.75)
        icon = plan.key * 1.4
        top = box.y + (box.height - icon - plan.key * 1.7) / 2
        draw_icon(pen, strokes, Box(box.x + (box.width - icon) / 2, top, icon, icon), colour)
        words = Box(box.x + 1.2, top + icon + plan.key * 0.35, box.width - 2.4, plan.key * 1.35)
        pen.text(text, words, colour, em=plan.key, bold=True, align="center", em_min=plan.key * 0.8)
    pen.target(key, box)


def key_text(key: Key, view: GateView) -> str:
    if key is Key.DISMISS and (view.stays_ms == 0 and view.kind is ViewKind.VERDICT):
        return label("cancel", language=view.language)  # nothing has been decided yet
    return label(str(key), language=view.language)
