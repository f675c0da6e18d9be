"""A verdict: colour fills the screen, shape and word say it, a white card says why or whom.

Staff look for a second at arm's length: the word is what decides, everything that decides is larger than everything that explains.
"""

from __future__ import annotations

from scanner.screen.box import Box
from scanner.screen.marks import RADIUS, Word, draw_key, draw_row, key_text, row_width, tones_of
from scanner.screen.pen import Align, Pen
from scanner.screen.plan import Plan
from scanner.screen.shapes import Shape, draw_shape, hazard_stripes, person, shape_of
from scanner.view import Counted, GateView, Key
from scanner.words import label

PEOPLE_DRAWN_MAX = 6


def draw(pen: Pen, plan: Plan, view: GateView) -> None:
    assert view.verdict is not None
    tones = tones_of(view.verdict, view.reason)
    portrait = plan.panel.portrait
    pen.background(tones.ground)
    if tones.upper != tones.ground:
        pen.fill(plan.upper, tones.upper)
    shape = shape_of(view.verdict, view.reason)
    box = plan.shape if tones.upper == tones.ground else plan.shape_in_upper
    if shape is Shape.SHIELD:
        _draw_stripes(pen, plan, tones.word)
        box = Box(box.x, box.y + 2.4, box.width, box.height - 1.6) if portrait else box
    draw_shape(pen, shape, box, tones.word, tones.upper)
    align: Align = "center" if portrait else "left"
    pen.text(view.word, plan.word, tones.word, em=plan.word_em, bold=True, align=align, em_min=plan.word_em * 0.6)
    keys = tuple(key for key in view.keys if key is not Key.CHOOSE)
    card = plan.card_short if keys else plan.card_tall
    pen.fill(card, "surface", radius=RADIUS)
    _draw_facts(pen, plan, view, card, tall=not keys, accent=tones.ground)
    if keys:
        # The way on is filled and wide; the way back is an outline.
        shares = tuple(1.85 if key is Key.SEEN else 1.0 for key in keys)
        for key, place in zip(keys, plan.keys.columns(shares, gap=1.4), strict=True):
            filled = key is Key.SEEN
            draw_key(
                pen, plan, key, key_text(key, view), place, colour=tones.on_ground, ground=tones.ground, filled=filled
            )


def bar_box(plan: Plan, view: GateView) -> Box:
    """Where the bar runs that shows how long the verdict stays."""
    return plan.bar_short if any(key is not Key.CHOOSE for key in view.keys) else plan.bar_tall


def _draw_stripes(pen: Pen, plan: Plan, colour: str) -> None:
    top = plan.header.bottom - (0.3 if plan.panel.portrait else -1.0)
    height = 3.2 if plan.panel.portrait else 4.0
    hazard_stripes(pen, Box(0, top, plan.panel.width_mm, height), colour)


def _draw_facts(pen: Pen, plan: Plan, view: GateView, card: Box, *, tall: bool, accent: str) -> None:
    inner = card.inset(plan.margin if plan.panel.portrait else 6.0, 2.2 if not tall else 3.4)
    admits = view.when == "" and not view.lines and (view.who != "" or view.count is not None)
    number_row = bool(view.number) and tall
    if number_row:
        height = plan.figure * 1.5
        row = Box(inner.x, inner.bottom - height, inner.width, height)
        pen.fill(Box(inner.x, row.y - 0.8, inner.width, 0.28), "line")
        name = pen.text(label("number", language=view.language), row, "ink2", em=plan.small)
        room = Box(name.right + 2, row.y, row.right - name.right - 2, row.height)
        pen.text(view.number, room, "ink", em=plan.figure * 1.25, bold=True, align="right")
        inner = Box(inner.x, inner.y, inner.width, inner.height - height - 1.6)
    if admits:
        _draw_whom(pen, plan, view, inner, tall=tall, accent=accent)
    elif view.when:
        _draw_when(pen, plan, view, inner, tall=tall)
    else:
        _draw_lines(pen, plan, view, inner, tall=tall)


def _draw_whom(pen: Pen, plan: Plan, view: GateView, box: Box, *, tall: bool, accent: str) -> None:
    """Type and count, as large as they go: staff count heads against it."""
    people = view.count or 0 if view.counted is Counted.PEOPLE else 0
    unit = label(str(view.counted), language=view.language)
    em = plan.count * (1.2 if tall else 1.0)
    count = [] if view.count is None else [Word(str(view.count), em, "ink", bold=True, gap=em * 0.3)]
    if count:
        count.append(Word(unit, em * 0.64, "ink", bold=True, gap=0.5))
    words = [Word(view.who, em, "ink", bold=True), *count]
    times = label("times", language=view.language)
    left = "" if view.left is None else f"{label('left', language=view.language)} {view.left}{times}"
    if view.who and count and row_width(pen, words) * 0.72 > box.width:
        # A long name (a ride book) has a line for itself; what it costs and leaves stands under it.
        left = f"{view.count}{unit}　{left}".strip()
        words = words[:1]
    lower = left or (view.note if tall else "")
    rows = _rows(box, [1.0 if people and tall else 0.0, em * 0.12, 0.62 if lower else 0.0], em=em)
    icons, middle, last = rows
    if people and tall and people <= PEOPLE_DRAWN_MAX:
        _draw_people(pen, icons, people, accent, align="center")
        draw_row(pen, middle, words)
    elif people and people <= 3:
        width = min(middle.height * 0.5, 6.6) * (1.0 if plan.panel.portrait else 1.6)
        room = people * width + (people - 1) * width * 0.28
        group = Box(middle.x, middle.y + (middle.height - width * 1.14) / 2, room, width * 1.14)
        _draw_people(pen, Box(group.x + 1.5, group.y, group.width, group.height), people, accent, align="left")
        draw_row(pen, Box(group.right + 4, middle.y, middle.right - group.right - 4, middle.height), words)
    else:
        draw_row(pen, middle, words)
    if lower:
        strong = lower == left
        pen.text(
            lower,
            last,
            "ink" if strong else "ink2",
            em=plan.figure if strong else plan.small,
            bold=strong,
            align="center",
        )


def _rows(box: Box, extra: list[float], *, em: float) -> tuple[Box, Box, Box]:
    """Icons, words, last line: shares of `box`, the words get what is left."""
    upper = em * 0.95 if extra[0] else 0.0
    lower = em * extra[2]
    upper = min(upper, box.height * 0.4)
    gap = 1.0 if upper else 0.0
    pad = max(0.0, (box.height - upper - lower - gap - em * 1.15) / 2)
    top = box.y + pad
    return (
        Box(box.x, top, box.width, upper),
        Box(box.x, top + upper + gap, box.width, min(em * 1.15, box.height - upper - lower - gap)),
        Box(box.x, box.bottom - pad - lower, box.width, lower),
    )


def _draw_people(pen: Pen, box: Box, count: int, colour: str, *, align: str) -> None:
    width = min(box.height / 1.14, box.width / (count + (count - 1) * 0.28))
    total = width * (count + (count - 1) * 0.28)
    x = box.x if align == "left" else box.x + (box.width - total) / 2
    for n in range(count):
        person(pen, Box(x + n * width * 1.28, box.y + (box.height - width * 1.14) / 2, width, width * 1.14), colour)


def _draw_when(pen: Pen, plan: Plan, view: GateView, box: Box, *, tall: bool) -> None:
    """When and where it was used, or when it may be: the one fact that ends a discussion."""
    right = None
    if view.number and not tall:
        box, right = box.columns((0.6, 0.4), gap=4.0)
    note = (view.note or " ".join(view.lines)) if tall else ""
    around = plan.key * 1.5 + (plan.small * 1.5 if note else 0)
    em = min(plan.count * (1.3 if tall else 1.15), (box.height - around) / 1.1)
    used = around + em * 1.1
    top = box.y + max(0.0, (box.height - used) / 2)
    align: Align = "center" if tall else "left"
    pen.text(
        view.when_label,
        Box(box.x, top, box.width, plan.key * 1.4),
        "ink",
        em=plan.key,
        bold=True,
        align=align,
        em_min=plan.key * 0.7,
    )
    figure = Box(box.x, top + plan.key * 1.5, box.width, em * 1.1)
    pen.text(view.when, figure, "ink", em=em, bold=True, align=align, em_min=em * 0.5)
    if note:
        pen.text(
            note,
            Box(box.x, figure.bottom, box.width, plan.small * 1.5),
            "ink2",
            em=plan.small,
            align=align,
            em_min=plan.small * 0.8,
        )
    if right is not None:
        pen.fill(Box(right.x - 2.1, box.y + 0.8, 0.28, box.height - 1.6), "line")
        pen.text(
            label("number", language=view.language),
            Box(right.x, top, right.width, plan.key * 1.4),
            "ink2",
            em=plan.small,
            em_min=plan.small * 0.8,
        )
        pen.text(
            view.number,
            Box(right.x, figure.y, right.width, figure.height),
            "ink",
            em=plan.figure * 1.15,
            bold=True,
            em_min=plan.figure * 0.6,
        )


def _draw_lines(pen: Pen, plan: Plan, view: GateView, box: Box, *, tall: bool) -> None:
    """What is so, and what staff do."""
    if view.count is not None:
        box, right = box.columns((0.74, 0.26), gap=2.0)
        unit = label(str(view.counted), language=view.language)
        draw_row(
            pen,
            right,
            [
                Word(str(view.count), plan.count, "ink", bold=True),
                Word(unit, plan.count * 0.6, "ink", bold=True, gap=0.4),
            ],
            align="right",
        )
    number = "" if tall or not view.number else f"{label('number', language=view.language)}  {view.number}"
    scale = (1.12 if plan.panel.portrait else 1.4) if tall else 1.0
    rows = [(line, plan.text * scale, True, "ink") for line in view.lines]
    rows += [(line, plan.small * scale, False, "ink2") for line in (view.note,) if line]
    if number:
        rows = [*rows[: 2 if len(rows) < 3 else 1], (number, plan.text, True, "ink")]
    heights = [em * 1.42 for _, em, _, _ in rows]
    y = box.y + max(0.0, (box.height - sum(heights)) / 2)
    for (line, em, bold, colour), height in zip(rows, heights, strict=True):
        pen.text(line, Box(box.x, y, box.width, height), colour, em=em, bold=bold, em_min=em * 0.72)
        y += height
