"""The four faces of a gate: being prepared, ready, a verdict, a choice. `draw` picks one.

Each takes a view and draws all of it; nothing is kept from the picture before.
"""

from __future__ import annotations

from scanner.screen import choice, marks, verdicts
from scanner.screen.box import Box
from scanner.screen.marks import RADIUS, Word, draw_row
from scanner.screen.pen import Pen
from scanner.screen.plan import Plan
from scanner.screen.shapes import Shape, draw_shape, shape_of
from scanner.screen.showing import Showing
from scanner.view import GateView, Recent
from scanner.words import label
from tickets.admission import VerdictKind


def draw(pen: Pen, plan: Plan, showing: Showing, *, language: str) -> None:
    """Everything but the head, which ticks, and the bar, which runs."""
    view = showing.view
    if view is None:
        _draw_preparing(pen, plan, language=language)
    elif view.verdict is None:
        _draw_ready(pen, plan, view)
    elif view.verdict is VerdictKind.CHOOSE:
        choice.draw(pen, plan, view, chosen=showing.chosen)
    else:
        verdicts.draw(pen, plan, view)


def head_colour(view: GateView) -> str:
    if view.verdict is None or view.verdict is VerdictKind.CHOOSE:
        return "ink"
    return marks.tones_of(view.verdict, view.reason).on_ground


def _draw_preparing(pen: Pen, plan: Plan, *, language: str) -> None:
    """Calm: nothing is wrong with the guest's ticket, and nobody has to do anything yet."""
    pen.background("paper")
    panel = plan.panel
    lines = label("preparing", language=language).split("\n")
    em = plan.figure if panel.portrait else plan.count * 0.8
    middle = panel.height_mm / 2
    mark = em * 2.6
    _draw_scan_mark(pen, Box((panel.width_mm - mark) / 2, middle - em * 4.2, mark, mark * 0.82), "edge", "line")
    for n, line in enumerate(lines):
        row = Box(plan.margin, middle - em * 0.9 + n * em * 1.4, panel.width_mm - 2 * plan.margin, em * 1.3)
        pen.text(line, row, "ink", em=em, bold=True, align="center", em_min=em * 0.6)
    row = Box(plan.margin, middle + em * 2.3, panel.width_mm - 2 * plan.margin, plan.small * 1.4)
    pen.text(label("preparing_other", language=language), row, "ink2", em=plan.small, align="center")


def _draw_ready(pen: Pen, plan: Plan, view: GateView) -> None:
    pen.background("paper")
    counted = view.inside is not None or view.admitted_today is not None
    card = plan.ready
    pen.fill(card, "ai", radius=RADIUS)
    em = min(plan.count * 0.82, card.height * 0.2)
    mark_height = min(card.height * 0.42, card.width * 0.42)
    top = card.y + (card.height - mark_height - em * 2.0) / 2
    mark = Box(card.x + (card.width - mark_height * 1.22) / 2, top, mark_height * 1.22, mark_height)
    _draw_scan_mark(pen, mark, "surface", "yama")
    words = Box(card.x + 4, mark.bottom + em * 0.65, card.width - 8, em * 1.3)
    pen.text(label("scan", language=view.language), words, "surface", em=em, bold=True, align="center", em_min=em * 0.6)
    recent = plan.recent
    if counted:
        _draw_counts(pen, plan, view)
    else:
        recent = Box(recent.x, plan.counts.y, recent.width, recent.bottom - plan.counts.y)
    pitch = plan.small * 1.55
    for index, item in enumerate(view.recent[: int(recent.height / pitch)]):
        _draw_recent(pen, plan, item, Box(recent.x, recent.y + index * pitch, recent.width, pitch))


def _draw_counts(pen: Pen, plan: Plan, view: GateView) -> None:
    card, language = plan.counts, view.language
    pen.card(card, "surface", "line", radius=RADIUS, width=0.3)
    inner = card.inset(plan.margin, 2.6)
    left, right = inner.columns((0.58, 0.42), gap=4.4)
    pen.text(
        label("inside", language=language),
        Box(left.x, left.y + 1.2, left.width, plan.small * 1.4),
        "ink2",
        em=plan.small,
    )
    figure = Box(left.x, left.y + plan.small * 1.9, left.width, left.height - plan.small * 1.9)
    inside = "–" if view.inside is None else f"{view.inside:,}"
    unit = label("people", language=language)
    draw_row(
        pen,
        figure,
        [Word(inside, plan.count, "ink", bold=True), Word(unit, plan.small * 1.05, "ink", bold=True, gap=0.4)],
        align="left",
    )
    pen.fill(Box(left.right + 2.1, inner.y + 0.4, 0.28, inner.height - 0.8), "line")
    known = [
        (label(name, language=language), count)
        for name, count in (("admitted", view.admitted_today), ("expected", view.expected_today))
        if count is not None
    ]
    share = 0.0
    if view.admitted_today is not None and view.expected_today:
        share = min(1.0, view.admitted_today / view.expected_today)
    bar = Box(right.x, right.bottom - 2.6, right.width, 2.0)
    rows = Box(right.x, right.y + 0.6, right.width, right.height - (4.6 if share else 0.6)).rows(2, gap=0.6)
    for row, (name, count) in zip(rows, known, strict=False):
        drawn = pen.text(name, row, "ink2", em=plan.small)
        room = Box(drawn.right + 0.6, row.y, row.right - drawn.right - 0.6, row.height)
        pen.text(f"{count:,}", room, "ink", em=plan.small * 1.28, bold=True, align="right", em_min=plan.small * 0.8)
    if share:
        pen.fill(bar, "sunken", radius=1.0)
        pen.fill(Box(bar.x, bar.y, max(2.0, bar.width * share), bar.height), "ai", radius=1.0)


def _draw_recent(pen: Pen, plan: Plan, item: Recent, row: Box) -> None:
    size = plan.small * 1.05
    mark = Box(row.x, row.y + (row.height - size) / 2, size, size)
    shape = shape_of(item.verdict, None)
    colours = {Shape.RING: "matsu", Shape.AGAIN: "sora", Shape.TRIANGLE: "kaki"}
    if item.verdict is VerdictKind.REFUSE:
        mark = mark.inset(size * 0.14)
    draw_shape(pen, shape, mark, colours.get(shape, "shu"), "paper")
    at = pen.text(item.at, row, "ink2", em=plan.small, align="right")
    gate_room = plan.small * 3.2
    gate = pen.text(
        item.gate, Box(at.x - 2.6 - gate_room, row.y, gate_room, row.height), "ink2", em=plan.small, align="right"
    )
    words = Box(row.x + size + 2.4, row.y, gate.x - 2.0 - (row.x + size + 2.4), row.height)
    pen.text(item.text, words, "ink", em=plan.small)


def _draw_scan_mark(pen: Pen, box: Box, frame: str, code: str) -> None:
    """Four corners and the squares of a code."""
    stroke, arm = box.height * 0.085, box.height * 0.26
    for x, y, dx, dy in (
        (box.x, box.y, 1, 1),
        (box.right, box.y, -1, 1),
        (box.x, box.bottom, 1, -1),
        (box.right, box.bottom, -1, -1),
    ):
        corner = (x + dx * stroke / 2, y + dy * stroke / 2)
        pen.line([(corner[0] + dx * arm, corner[1]), corner, (corner[0], corner[1] + dy * arm)], frame, width=stroke)
    unit = box.height * 0.235
    middle_x, middle_y = box.middle
    gap = unit * 0.41
    for column, line in ((0, 0), (1, 0), (0, 1)):
        left = middle_x - unit - gap + column * (unit + 2 * gap)
        top = middle_y - unit - gap / 2 + line * (unit + gap)
        pen.fill(Box(left, top, unit, unit), code)
    small = unit * 0.43
    left, top = middle_x + gap, middle_y + gap / 2
    for across, down in ((0.0, 0.0), (0.0, unit - small), (unit - small, unit - small)):
        pen.fill(Box(left + across, top + down, small, small), code)
