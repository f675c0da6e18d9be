"""How many? The one question that a gate asks: numbers large enough for a glove, and the answer in one key that says it in words."""

from __future__ import annotations

from scanner.screen.box import Box
from scanner.screen.marks import RADIUS, Word, draw_key, draw_row, key_text
from scanner.screen.pen import Pen
from scanner.screen.plan import Plan
from scanner.screen.shapes import person
from scanner.view import Counted, GateView, Key
from scanner.words import label

KEYS_MAX = 9
GAP = 1.2


def numbers(view: GateView) -> list[int]:
    """One key a number up to nine; of more: one to eight, and all of them."""
    if view.choose_max <= KEYS_MAX:
        return list(range(1, view.choose_max + 1))
    return [*range(1, KEYS_MAX), view.choose_max]


def _grid(view: GateView) -> tuple[tuple[int, ...], int]:
    """(how many keys each row has, columns): two or three of a kind are large, four are a square."""
    count = len(numbers(view))
    columns = 2 if count in (2, 4) else min(count, 3)
    return tuple(min(columns, count - first) for first in range(0, count, columns)), columns


def draw(pen: Pen, plan: Plan, view: GateView, *, chosen: int) -> None:
    pen.background("paper")
    rows = len(_grid(view)[0])
    sheet = plan.choose_sheet
    head = plan.choose_head
    if plan.panel.portrait:
        lift = 21.2 if rows > 2 else 0.0  # a third row of keys takes the place of the people
        sheet = Box(sheet.x, sheet.y - lift, sheet.width, sheet.height + lift)
        head = Box(head.x, head.y, head.width, head.height - lift + RADIUS * 2)
        pen.fill(head, "yama")
        pen.fill(Box(sheet.x, sheet.y, sheet.width, RADIUS * 3), "paper", radius=RADIUS * 1.6)
        pen.fill(Box(sheet.x, sheet.y + RADIUS * 1.6, sheet.width, sheet.height), "paper")
        body = Box(sheet.x + 2.6, sheet.y + 0.6, sheet.width - 5.2, plan.keys.y - GAP - sheet.y - 0.6)
        word = Box(plan.margin, head.y + 10.4 if rows > 2 else head.y + 15.6, 62.4, plan.word_em)
        people = Box(plan.margin + 0.9, word.bottom + 5.2, 60.6, 9.0)
        actions = plan.keys
        pen.text(view.word, word, "ink", em=plan.word_em, bold=True)
    else:
        pen.fill(head, "yama")
        body = Box(sheet.x + 6.0, sheet.y + 15.0, sheet.width - 13.0, 88.0)
        word = Box(plan.margin, 40.0, head.width - plan.margin - 4.0, plan.word_em * 1.1)
        people = Box(plan.margin, word.bottom + 6.0, head.width - 2 * plan.margin, 12.0)
        actions = Box(body.x, plan.keys.y, body.width, plan.keys.height)
        pen.text(view.word, word, "ink", em=plan.word_em * 0.88, bold=True, em_min=plan.word_em * 0.6)
    if view.counted is Counted.PEOPLE and view.choose_max <= KEYS_MAX and not (plan.panel.portrait and rows > 2):
        _draw_people(pen, people, view.choose_max, chosen)
    _draw_sums(pen, plan, view, Box(body.x + 0.4, body.y, body.width - 0.8, plan.text * 1.2))
    top = body.y + plan.text * 1.2 + 0.4
    _draw_numbers(pen, plan, view, Box(body.x, top, body.width, body.bottom - top), rows=rows, chosen=chosen)
    _draw_actions(pen, plan, view, actions, chosen=chosen)


def _draw_people(pen: Pen, box: Box, total: int, chosen: int) -> None:
    pitch = min(box.width / total, 10.0)
    width = min(pitch * 0.77, box.height / 1.14)
    for n in range(total):
        place = Box(box.x + n * pitch, box.y, width, width * 1.14)
        person(pen, place, "ink" if n < chosen else "yama_shade")


def _draw_sums(pen: Pen, plan: Plan, view: GateView, row: Box) -> None:
    language, em = view.language, plan.text * 0.96
    words = [Word(view.who, em, "ink", bold=True)]
    for name, count in (("used", view.used), ("left", view.left if view.left is not None else view.choose_max)):
        if count is not None:
            words.append(Word(f"{label(name, language=language)} {count}", em * 0.94, "ink", gap=em * 0.95))
    draw_row(pen, row, words, align="left")


def _draw_numbers(pen: Pen, plan: Plan, view: GateView, box: Box, *, rows: int, chosen: int) -> None:
    columns = _grid(view)[1]
    places = [place for row in box.rows(rows, gap=GAP) for place in row.columns((1,) * columns, gap=GAP)]
    for number, place in zip(numbers(view), places, strict=False):
        picked = number == chosen
        if picked:
            pen.fill(place, "ai", radius=RADIUS)
        else:
            pen.card(place, "surface", "edge", radius=RADIUS, width=0.4)
        pen.text(
            str(number),
            place.inset(2.0, 0),
            "surface" if picked else "ink",
            em=plan.count,
            bold=True,
            align="center",
            em_min=plan.count * 0.5,
        )
        pen.target(Key.CHOOSE, place, count=number)


def _draw_actions(pen: Pen, plan: Plan, view: GateView, box: Box, *, chosen: int) -> None:
    cancel = Key.DISMISS in view.keys
    places = box.columns((0.48, 1.0), gap=1.4) if cancel else [box]
    if cancel:
        pen.fill(places[0], "surface", radius=RADIUS)
        draw_key(
            pen, plan, Key.DISMISS, key_text(Key.DISMISS, view), places[0], colour="ink", ground="surface", filled=False
        )
    go = places[-1]
    if chosen:
        text = label(f"choose_{view.counted}", language=view.language).format(count=chosen)
        draw_key(pen, plan, Key.CHOOSE, text, go, colour="matsu", ground="surface", filled=True)
    else:
        pen.fill(go, "sunken", radius=RADIUS)
        pen.text(
            label("choose_first", language=view.language),
            go.inset(3, 0),
            "ash",
            em=plan.key * 1.2,
            bold=True,
            align="center",
        )
